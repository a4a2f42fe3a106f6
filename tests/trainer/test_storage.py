"""The trainer's files in a bucket, which the emulation serves, and on a disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quatrain.trainer.storage import newest_first, read_file, remove_folder, write_file
from tests.emulators import storage


@pytest.fixture(params=["disk", "bucket"])
def folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    name = "a b%20#ü/runs"  # no part of it may be taken for an escape or a fragment
    if request.param == "disk":
        yield f"{tmp_path}/{name}"
        return
    with storage.serving() as state:
        state.add_bucket("bucket.with_dots")
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", state.url)
        key = storage.write_credentials(tmp_path / "key.json", state.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        yield f"gs://bucket.with_dots/{name}"


def test_a_file_is_read_as_it_was_written(folder: str) -> None:
    write_file(folder, "variables/v.index", b"first")
    write_file(folder, "variables/v.index", b"second")
    assert read_file(folder, "variables/v.index") == b"second"


def test_the_newest_file_is_the_last_of_its_kind(folder: str) -> None:
    assert newest_first(folder, "epoch-") == []
    for name in ("epoch-00001.npz", "epoch-00001_0000300.npz", "other"):
        write_file(folder, name, b"")
    assert newest_first(folder, "epoch-") == ["epoch-00001_0000300.npz", "epoch-00001.npz"]


def test_a_removed_folder_is_gone_with_all_in_it(folder: str) -> None:
    remove_folder(folder, first="metadata.json")  # it may be absent
    for name in ("metadata.json", "variables/v.index"):
        write_file(folder, name, b"x")
    remove_folder(folder, first="metadata.json")
    assert newest_first(folder, "") == []
    with pytest.raises(FileNotFoundError):
        read_file(folder, "variables/v.index")
