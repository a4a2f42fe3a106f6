"""Folders between steps are complete or absent, whenever the step is killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from quatrain.components import artifacts
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import commit, read_manifest
from tests.conftest import FileEvent

ROOT = Path(__file__).parents[2]
KILLED = """
import os, sys
from pathlib import Path
from quatrain.components.folder import commit

with commit(sys.argv[1], "manifest.json") as folder:
    Path(folder.uri, "shard").write_text("cut sho")
    os.kill(os.getpid(), 9)
"""


def write(target: Path, text: str) -> None:
    with commit(target, "manifest.json") as folder:
        with folder.create("rejected/shard") as stream:
            stream.write(text.encode())
        folder.write_json("manifest.json", text)


def test_an_artifact_is_written_in_place_and_no_folder_is_renamed(
    tmp_path: Path, file_events: list[FileEvent]
) -> None:
    for text in ("old", "new"):
        write(tmp_path / "examples", text)
    renamed = [event for event in file_events if event.name == "os.rename"]
    assert [Path(event.path).parent for event in renamed] == [tmp_path / "examples"] * 2
    assert not any(event.is_folder for event in renamed)
    assert [p.name for p in tmp_path.iterdir()] == ["examples"]
    assert artifacts.sha256_of_files(tmp_path / "examples").keys() == {
        "manifest.json",
        "rejected/shard",
    }
    assert (tmp_path / "examples/rejected/shard").read_text() == "new"


def test_an_earlier_manifest_is_removed_before_the_rest(
    tmp_path: Path, file_events: list[FileEvent]
) -> None:
    write(tmp_path, "old")
    file_events.clear()
    write(tmp_path, "new")
    removed = [event.path for event in file_events if event.name == "os.remove"]
    assert removed == [str(tmp_path / "manifest.json"), str(tmp_path / "rejected/shard")]


def test_a_killed_step_leaves_no_manifest_and_the_next_one_removes_what_was_cut_short(
    tmp_path: Path,
) -> None:
    write(tmp_path / "examples", "old")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "examples")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    assert [p.name for p in (tmp_path / "examples").iterdir()] == ["shard"]
    write(tmp_path / "examples", "new")
    assert not (tmp_path / "examples/shard").exists()


def test_a_step_that_fails_after_its_manifest_leaves_nothing(
    tmp_path: Path, file_events: list[FileEvent]
) -> None:
    def fail() -> None:
        with commit(tmp_path / "examples", "manifest.json") as folder:
            folder.write("a shard", b"whole")
            folder.write("manifest.json", b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    removed = [Path(event.path).name for event in file_events if event.name == "os.remove"]
    assert removed[-2:] == ["manifest.json", "a shard"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["/etc/passwd", "../t.json", "a/../../b"])
def test_a_manifest_that_names_a_file_outside_of_its_folder_is_refused(
    tmp_path: Path, name: str
) -> None:
    artifacts.write_json(tmp_path / "manifest.json", {"files": {"a/..b": "0", name: "0"}})
    with pytest.raises(ArtifactError, match=f"names '{name}', outside of the folder"):
        read_manifest(tmp_path, "manifest.json", "preprocess")


def test_a_file_that_cannot_be_written_leaves_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        artifacts.write_whole(tmp_path / "run.json", b"{}")
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
