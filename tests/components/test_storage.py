"""Storage: one name for the same bytes here, below /gcs/ and in a bucket."""

from __future__ import annotations

import gzip
import os
import socket
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.storage import (
    compression_of,
    create_stream,
    exists,
    mounted,
    open_filesystem,
    open_stream,
    read_file,
    read_head,
    remove_contents,
    remove_oldest,
    write_file,
)
from quatrain.components.table.files import list_files
from quatrain.trainer.settings import TrainerError
from quatrain.trainer.storage import open_folder
from tests.emulators import storage as emulator


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("gs://bucket/a/b", "/gcs/bucket/a/b"),
        ("/gcs/bucket/a", "/gcs/bucket/a"),
        ("runs/gs://x", "runs/gs://x"),
        ("/home/me/runs", "/home/me/runs"),
    ],
)
def test_a_bucket_is_reached_below_the_mount(uri: str, path: str) -> None:
    assert mounted(uri) == path


@pytest.mark.parametrize(
    ("name", "compression"),
    [("t.csv.gz", "gzip"), ("t.csv.bz2", "bz2"), ("t.csv.zst", "zstd"), ("t.csv", None)],
)
def test_a_suffix_names_the_compression(name: str, compression: str | None) -> None:
    assert compression_of(name) == compression


def test_bytes_come_as_they_are_stored_unless_a_compression_is_named(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n1,2\n", mtime=0)
    path = tmp_path / "quatrain.tar.gz"
    path.write_bytes(packed)
    with open_stream(str(path)) as stream:
        assert stream.read() == packed
    assert read_head(str(path), 3) == packed[:3]
    assert read_head(str(path), 3, compression_of(str(path))) == b"a,b"


def test_a_file_that_is_absent_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"t\.csv cannot be read: No such file or directory; "):
        read_head(str(tmp_path / "t.csv"), 3)


@pytest.mark.parametrize(
    "uri",
    [
        "gs://bucket/x.csv?endpoint_override=127.0.0.1:{port}&scheme=http",
        "gs://bucket?endpoint_override=127.0.0.1:{port}&scheme=http/x.csv",
        "gs://bucket?endpoint_override=127.0.0.1:{port}&scheme=http",
        "gs://bucket/x*.csv?scheme=http&endpoint_override=127.0.0.1:{port}",
        "gs://bucket/x.csv?retry_limit_seconds=5&endpoint_override=127.0.0.1:{port}&scheme=http",
        "gs://bucket%3Fendpoint_override=127.0.0.1:{port}/x.csv",
        "gs://me@bucket/x.csv",
        "gs://127.0.0.1:{port}/x.csv",
        "s3://bucket/x.csv?endpoint_override=127.0.0.1:{port}&scheme=http",
        "hdfs://127.0.0.1:{port}/x.csv",
        "http://127.0.0.1:{port}/x.csv",
        "file://127.0.0.1/x.csv",
        "GS://bucket/x.csv?endpoint_override=127.0.0.1:{port}",
    ],
)
def test_no_uri_sends_the_credentials_to_another_host(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, emulator.serving() as storage:
        key = emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        listener.settimeout(0.2)
        hostile = uri.format(port=listener.getsockname()[1])
        for door in (
            exists,
            read_file,
            lambda u: list_files(Source.model_construct(uri=(u,))),
            lambda u: Source(uri=(u,)),
        ):
            with pytest.raises((SourceError, ValueError)):
                door(hostile)
        if hostile.startswith("gs://"):  # the trainer takes it for a name
            assert open_folder(hostile)[0] == pafs.GcsFileSystem()
        else:
            with pytest.raises(TrainerError, match="cannot be opened"):
                open_folder(hostile)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_bucket_has_one_client_until_the_process_is_pointed_elsewhere(
    served: emulator.Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.put("gs://b/a/x.csv", b"a\n")
    first, path = open_filesystem("gs://b/a/x.csv")
    assert path == "b/a/x.csv"
    assert open_filesystem("gs://b/y.csv")[0] is first
    monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", "http://127.0.0.1:9")
    assert open_filesystem("gs://b/y.csv")[0] is not first


@pytest.mark.parametrize("root", ["{tmp}", "gs://b"])
def test_a_file_is_written_read_and_removed_here_and_in_a_bucket(
    root: str, served: emulator.Storage, tmp_path: Path
) -> None:
    folder = f"{root.format(tmp=tmp_path)}/runs/1"
    with create_stream(f"{folder}/model.tar.gz") as stream:
        stream.write(b"packed")
    assert exists(f"{folder}/model.tar.gz")
    with open_stream(f"{folder}/model.tar.gz") as stream:
        assert stream.read() == b"packed"
    write_file(f"{folder}/rows/1", b"1")
    write_file(f"{folder}/rows/1", b"one")
    assert read_file(f"{folder}/rows/1") == b"one"
    remove_contents(folder, first="absent")
    remove_contents(f"{folder}/absent", first="absent")
    for name in ("model.tar.gz", "rows/1"):
        assert not exists(f"{folder}/{name}")
        with pytest.raises(FileNotFoundError):
            read_file(f"{folder}/{name}")


@pytest.mark.parametrize("root", ["{tmp}", "gs://b"])
def test_the_files_that_were_written_first_make_room(
    root: str, served: emulator.Storage, tmp_path: Path
) -> None:
    folder = f"{root.format(tmp=tmp_path)}/records"
    remove_oldest(folder, 0)  # there is no such folder
    for name in "cab":
        write_file(f"{folder}/{name}", b"1234")
    remove_oldest(folder, 12)
    assert exists(f"{folder}/c")
    remove_oldest(folder, 9)
    assert [exists(f"{folder}/{name}") for name in "cab"] == [False, True, True]


def test_files_that_were_written_longest_ago_go_first_hidden_ones_too(tmp_path: Path) -> None:
    for number, name in enumerate(["0", "1", ".2.tmp", "3", "4", "5"]):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, ns=(number, number))
    os.utime(tmp_path / "0", ns=(9, 9))
    remove_oldest(str(tmp_path), 350)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "4", "5"]
