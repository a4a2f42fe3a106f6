"""The digest of a source changes when an object is written, and at no other time."""

import datetime

import pytest

from components.spec.schema import Source
from pipelines.cloud import CloudError
from pipelines.data import DataUnknown, data_digest
from tests.emulators import storage as emulator

AT = datetime.datetime(2013, 7, 3, tzinfo=datetime.UTC)


@pytest.fixture
def storage(monkeypatch):
    with emulator.serving() as served:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
        served.add_bucket("b")
        for name in ("t/a.csv", "t/b.csv", "t/deep/c.csv", "d/2013-07-01/x", "d/2013-07-02/x"):
            served.put(f"gs://b/{name}", b"rows")
        yield served


def digest(*uris, at=AT, **settings):
    return data_digest(Source(uri=uris, **settings), at, "my-project")


def test_the_same_objects_give_the_same_digest_however_they_are_named(storage):
    assert digest("gs://b/t/*.csv") == digest("gs://b/t/b.csv", "gs://b/t/a.csv")
    assert digest("gs://b/t/*.csv") != digest("gs://b/t/**/*.csv")


def test_an_object_that_is_written_again_changes_it_even_with_the_same_bytes(storage):
    before = digest("gs://b/t/*.csv")
    storage.put("gs://b/t/deep/c.csv", b"other")
    assert digest("gs://b/t/*.csv") == before
    storage.put("gs://b/t/a.csv", b"rows")
    assert digest("gs://b/t/*.csv") != before


def test_a_window_counts_the_objects_of_its_days_only(storage):
    uri, days = "gs://b/d/{date}/x", datetime.timedelta(days=1)
    both = digest(uri, window="2d")
    storage.put("gs://b/d/2013-07-03/x", b"rows")
    assert digest(uri, window="2d") == both
    assert digest(uri, window="2d", at=AT + days) != both


def test_a_source_of_no_objects_is_refused(storage):
    with pytest.raises(CloudError, match=r"no object is of gs://b/none/\*"):
        digest("gs://b/none/*")


def test_a_bucket_that_may_not_be_listed_says_so(storage):
    with pytest.raises(DataUnknown, match="the job gets no label of its data"):
        digest("gs://gone/x.csv")
