"""A copied file has the bytes of its source, and lives on without it."""

from __future__ import annotations

import errno
import hashlib
import resource
import signal
from pathlib import Path

import pytest

from quatrain.components.copying import copy_file, show_folders
from quatrain.components.errors import ArtifactError
from quatrain.components.storage import read_file, write_file
from tests.emulators import storage as emulator

DATA = bytes(range(256)) * 9000  # more than two chunks of a stream
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def places(
    served: emulator.Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
    served.add_bucket("other")
    return {"disk": str(tmp_path), "bucket": "gs://b/deep", "another bucket": "gs://other"}


@pytest.mark.parametrize("target", ["disk", "bucket", "another bucket"])
@pytest.mark.parametrize("source", ["disk", "bucket"])
def test_a_copy_has_the_bytes_of_its_source(
    places: dict[str, str], source: str, target: str
) -> None:
    uri, copy = f"{places[source]}/a b/file.bin", f"{places[target]}/copies/c/%41.bin"
    write_file(uri, DATA)
    for _ in range(2):  # a call after one that was killed
        copy_file(uri, copy, SHA256)
    assert read_file(copy) == read_file(uri) == DATA


def test_within_a_bucket_no_byte_passes_this_machine(
    places: dict[str, str], served: emulator.Storage
) -> None:
    served.put("gs://b/file", DATA)
    served.requests.clear()
    copy_file("gs://b/file", "gs://b/copy", SHA256)
    assert [r for r in served.requests if "/o/" in r] == [
        "POST /storage/v1/b/b/o/file/rewriteTo/b/b/o/copy"
    ]
    assert served.get("gs://b/copy") == DATA


def test_a_copy_that_takes_several_calls_is_whole(
    places: dict[str, str], served: emulator.Storage
) -> None:
    served.put("gs://b/file", DATA)
    served.rewrite_bytes = len(DATA) // 4
    copy_file("gs://b/file", "gs://b/copy")
    assert served.get("gs://b/copy") == DATA
    assert len([r for r in served.requests if "rewriteTo" in r]) == 4


def test_a_copy_on_a_disk_is_no_link(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copies/copy"
    source.write_bytes(DATA)
    copy_file(str(source), str(copy))
    with source.open("r+b") as stream:
        stream.write(b"edited in place")
    assert copy.read_bytes() == DATA


def test_another_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(DATA[1:])
    with pytest.raises(ArtifactError, match=r"source is not the file that was exported: its sha"):
        copy_file(f"{tmp_path}/source", f"{tmp_path}/copy", SHA256)
    assert [file.name for file in tmp_path.iterdir()] == ["source"]


def test_a_copy_that_fails_leaves_an_earlier_one_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(DATA[1:])
    (tmp_path / "copy").write_bytes(DATA)
    with pytest.raises(ArtifactError, match="source is not the file"):
        copy_file(f"{tmp_path}/source", f"{tmp_path}/copy", SHA256)
    assert (tmp_path / "copy").read_bytes() == DATA


@pytest.mark.parametrize("source", ["disk", "bucket", "another bucket"])
def test_an_absent_file_is_named(places: dict[str, str], source: str) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        copy_file(f"{places[source]}/gone", f"{places['bucket']}/copy")
    assert raised.value.filename == f"{places[source]}/gone"


def test_a_bucket_that_refuses_is_named(places: dict[str, str], served: emulator.Storage) -> None:
    served.put("gs://b/file", DATA)
    refused = r"gs://b/file cannot be copied to gs://b/copy: .*check the account's rights"
    with served.forbid("PUT b/copy"), pytest.raises(ArtifactError, match=refused):
        copy_file("gs://b/file", "gs://b/copy")
    assert not served.has("gs://b/copy")


def test_folders_are_made_once_and_only_in_a_bucket(
    places: dict[str, str], served: emulator.Storage
) -> None:
    folders = ["gs://b/a", "gs://b/a/b", f"{places['disk']}/none"]
    show_folders(folders)
    (first,) = {served.buckets["b"].objects["a/b/"].generation}
    show_folders(folders)
    assert sorted(served.buckets["b"].objects) == ["a/", "a/b/"]
    assert served.buckets["b"].objects["a/b/"].generation == first
    assert not Path(places["disk"], "none").exists()


def test_a_full_disk_is_named_by_the_copy(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(DATA)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, former[1]))  # EFBIG, as ENOSPC is met
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            copy_file(f"{tmp_path}/source", f"{tmp_path}/copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, f"{tmp_path}/copy")
    assert [file.name for file in tmp_path.iterdir()] == ["source"]
