"""The emulated storage is strict, and the three clients of the project work with it."""

import threading

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from google.api_core import exceptions
from google.cloud import storage as gcs

from tests.emulators import storage as emulator


@pytest.fixture
def storage(monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with emulator.serving() as served:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
        served.add_bucket("b")
        yield served


@pytest.fixture
def bucket(storage):
    return gcs.Client(project="p").bucket("b")


def test_a_bucket_has_its_location(storage):
    storage.add_bucket("wide", "eu", "dual-region", "europe-west1", "europe-west4")
    client = gcs.Client(project="p")
    assert (client.get_bucket("b").location, client.get_bucket("b").location_type) == (
        "EUROPE-WEST1",
        "region",
    )
    wide = client.get_bucket("wide")
    assert (wide.location, wide.data_locations) == ("EU", ["EUROPE-WEST1", "EUROPE-WEST4"])
    with pytest.raises(exceptions.Forbidden, match="nobody creates a bucket"):
        client.create_bucket("new", location="EU")


def test_a_generation_is_written_once_whoever_comes_second(bucket):
    blob = bucket.blob("manifest.json")
    blob.upload_from_string("1", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("manifest.json").upload_from_string("2", if_generation_match=0)
    bucket.blob("manifest.json").upload_from_string("2", if_generation_match=blob.generation)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("manifest.json").delete(if_generation_match=blob.generation)
    assert bucket.blob("manifest.json").download_as_bytes() == b"2"


def test_of_many_writers_with_a_precondition_one_wins(bucket):
    won = []

    def write(number):
        try:
            bucket.blob("lock").upload_from_string(str(number), if_generation_match=0)
        except exceptions.PreconditionFailed:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert bucket.blob("lock").download_as_text() == str(won[0])


def test_listings_come_in_pages_in_order_with_prefixes(storage, bucket):
    names = [f"d/{n:04d}/x" for n in range(7)] + ["d/a", "e"]
    for name in names:
        storage.put(f"gs://b/{name}", b"")
    pages = bucket.list_blobs(prefix="d/", page_size=3).pages
    assert [[blob.name for blob in page] for page in pages] == [names[:3], names[3:6], names[6:8]]
    listing = bucket.list_blobs(prefix="d/", delimiter="/", page_size=2)
    assert [blob.name for blob in listing] == ["d/a"]
    assert listing.prefixes == {f"d/{n:04d}/" for n in range(7)}


def test_a_resumable_upload_takes_multiples_of_256_kib(storage, bucket):
    data = bytes(range(256)) * 2500
    with bucket.blob("large").open("wb", chunk_size=256 << 10) as stream:
        stream.write(data)
    assert storage.get("gs://b/large") == data
    assert sum(line.startswith("PUT") for line in storage.requests) == 3
    assert bucket.blob("large").download_as_bytes(start=10, end=19) == data[10:20]
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        bucket.blob("large").download_as_bytes(start=len(data))
    key = storage.start_upload("b", {"name": "x"}, "text/plain", b"")
    with pytest.raises(emulator.Refused, match="no multiple of 256 KiB"):
        storage.continue_upload(key, "bytes 0-9/*", b"0123456789")


def test_a_fault_is_answered_as_often_as_ordered(storage, bucket):
    storage.put("gs://b/x", b"1")
    storage.fail("GET .*/o/x", 429, times=2)
    assert bucket.blob("x").download_as_bytes() == b"1"
    assert sum("/o/x" in line for line in storage.requests) == 3


def test_pyarrow_reads_globs_and_writes(storage):
    host = storage.url.removeprefix("http://")
    files = pafs.GcsFileSystem(anonymous=True, endpoint_override=host, scheme="http")
    table = pa.table({"a": list(range(1000))})
    with files.open_output_stream("b/d/t.parquet") as stream:
        pq.write_table(table, stream)
    assert pq.read_table("b/d/t.parquet", filesystem=files).equals(table)
    infos = files.get_file_info(pafs.FileSelector("b/d", recursive=True))
    assert [(info.path, info.size) for info in infos if info.is_file] == [
        ("b/d/t.parquet", len(storage.get("gs://b/d/t.parquet")))
    ]


def test_beam_writes_matches_and_reads(storage, monkeypatch, tmp_path):
    key = emulator.write_credentials(tmp_path / "key.json", storage.url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.create("gs://b/staged/a.txt") as stream:
        stream.write(b"hello")
    (match,) = FileSystems.match(["gs://b/staged/*.txt"])
    assert [(m.path, m.size_in_bytes) for m in match.metadata_list] == [("gs://b/staged/a.txt", 5)]
    with FileSystems.open("gs://b/staged/a.txt") as stream:
        assert stream.read() == b"hello"
    FileSystems.copy(["gs://b/staged/a.txt"], ["gs://b/staged/b.txt"])
    assert storage.get("gs://b/staged/b.txt") == b"hello"
