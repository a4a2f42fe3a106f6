"""Folders between steps are complete or absent, whenever the step is killed."""

from pathlib import Path

import pytest

from quatrain.components import artifacts


def test_a_kill_while_the_former_artifact_is_removed_leaves_the_new_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "examples"
    target.mkdir()
    (target / "manifest.json").write_text("old")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt), artifacts.commit(target) as folder:
        (folder / "manifest.json").write_text("new")
    assert (target / "manifest.json").read_text() == "new"
    monkeypatch.undo()
    with artifacts.commit(target) as folder:
        (folder / "manifest.json").write_text("newer")
    assert [p.name for p in tmp_path.iterdir()] == ["examples"]
