"""The digest of a source changes whenever one of its files is rewritten, and only then."""

import json
import os

import pytest

from quatrain.components.errors import SourceDenied, SourceError
from quatrain.components.preprocess import find_files
from quatrain.components.table.versions import check_unchanged, digest_versions, find_versions
from tests.emulators import storage as emulator

JULY_3 = "2013-07-03T05:00:00Z"


@pytest.fixture
def storage(monkeypatch, tmp_path):
    with emulator.serving() as served:
        key = emulator.write_credentials(tmp_path / "key.json", served.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", served.url)
        served.add_bucket("b")
        for name in ("t/a.csv", "t/b.csv", "t/deep/c.csv", "d/2013-07-01/x", "d/2013-07-02/x"):
            served.put(f"gs://b/{name}", b"rows")
        yield served


def find(*uris, at=JULY_3, **settings):
    spec = {
        "name": "toy",
        "source": {"uri": list(uris), **settings},
        "columns": {"x": "float", "y": "bool"},
        "label": "y",
        "task": "binary",
        "split": {"keys": ["x"]},
        "features": [{"name": "x", "from": "x", "transform": "standardize"}],
    }
    clocks = ("1970-01-01T00:00:00Z", at)
    version = find_files.find(json.dumps(spec), project="my-project", at="", clocks=clocks)
    return version._replace(spec="")  # it names the files, which are found here in several ways


def test_the_same_objects_give_the_same_digest_however_they_are_named(storage):
    assert find("gs://b/t/*.csv") == find("gs://b/t/b.csv", "gs://b/t/a.csv")
    assert find("gs://b/t/*.csv") != find("gs://b/t/**/*.csv")


def test_a_rewritten_object_has_a_new_version_even_with_the_same_bytes(storage):
    before = find("gs://b/t/*.csv")
    storage.put("gs://b/t/deep/c.csv", b"other")
    assert find("gs://b/t/*.csv") == before
    storage.put("gs://b/t/a.csv", b"rows")
    assert find("gs://b/t/*.csv") != before


def test_a_window_counts_the_objects_of_its_days_and_ends_with_a_day(storage):
    uri = "gs://b/d/{date}/x"
    both = find(uri, window="2d")
    assert both.at == "2013-07-03"
    storage.put("gs://b/d/2013-07-03/x", b"rows")
    assert find(uri, window="2d", at="2013-07-03T23:00:00Z") == both
    assert find(uri, window="2d", at="2013-07-04T05:00:00Z").digest != both.digest


def test_a_rewritten_local_file_has_a_new_version(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1,true\n")
    before = find(str(path))
    assert (before.at, before) == ("", find(str(path)))
    os.utime(path, ns=(1, 1))
    assert find(str(path)) != before


def test_a_local_file_with_its_old_size_and_time_has_a_new_version(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1,true\n")
    before, times = find(str(path)), os.stat(path)
    path.write_text("x,y\n2,true\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert find(str(path)) != before


def test_a_bucket_that_may_not_be_listed_says_who_may(storage):
    storage.add_bucket("shut", forbidden=True)
    with pytest.raises(SourceDenied, match=r"roles/storage.objectViewer"):
        find_versions(["gs://shut/x.csv"], "my-project")


def test_a_file_that_has_gone_meanwhile_is_named(storage, tmp_path):
    for uri in (f"{tmp_path}/x.csv", "gs://b/t/z.csv"):
        with pytest.raises(SourceError, match=f"{uri} was there a moment ago"):
            find_versions(["gs://b/t/a.csv", uri], "my-project")


def test_the_digest_is_of_the_files_in_any_order():
    assert (
        digest_versions({"a": "1", "b": "2"})
        == digest_versions({"b": "2", "a": "1"})
        != digest_versions({"a": "1"})
    )


def test_a_file_that_changed_while_it_was_read_is_named():
    check_unchanged({"a": "1", "b": "1"}, {"a": "1", "b": "1"})
    with pytest.raises(SourceError, match="b changed while the run read it"):
        check_unchanged({"a": "1", "b": "1"}, {"a": "1", "b": "2"})
