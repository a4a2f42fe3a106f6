"""The folder that the step writes, on this machine and in a bucket."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from quatrain.components.preprocess import output_folder
from tests.conftest import FileEvent
from tests.emulators import storage as emulator


def test_a_file_is_read_as_it_was_written_whatever_its_name(tmp_path: Path) -> None:
    files = output_folder.Folder(str(tmp_path))
    with files.create("streamed.gz") as stream:
        stream.write(b"plain")
    files.write("document.gz", b"plain")
    assert (tmp_path / "streamed.gz").read_bytes() == b"plain"
    assert files.read("streamed.gz") == files.read("document.gz") == b"plain"


def test_a_document_is_whole_when_it_has_its_name(
    tmp_path: Path, file_events: list[FileEvent]
) -> None:
    output_folder.Folder(str(tmp_path)).write("manifest.json", b"{}")
    (renamed,) = (event for event in file_events if event.name == "os.rename")
    assert Path(renamed.path).parent == tmp_path
    assert not renamed.is_folder
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_folder_of_a_bucket_loses_its_manifest_before_the_rest(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulator.serving() as storage:
        key = emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        bucket = storage.add_bucket("b")

        def put() -> None:
            for name in ("a-shard", "manifest.json", "train-00000"):
                storage.put(f"gs://b/examples/{name}", b"old")

        if not fails:
            put()
        try:
            with output_folder.attempt("gs://b/examples", remote=True):
                if fails:
                    put()
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        deleted = [unquote(r) for r in storage.requests if r.startswith("DELETE ")]
        left = [name for name in bucket.objects if not name.endswith("/")]
    shards = [r for r in deleted if not r.endswith(("manifest.json", "/"))]
    assert len(shards) == 2
    assert [r.endswith("manifest.json") for r in deleted].index(True) < deleted.index(shards[0])
    assert left == []
