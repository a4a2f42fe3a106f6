"""A person's word on the champion: the place changes hands, each time is recorded, none is lost."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import quatrain
from quatrain.components import history
from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.evaluate.champion import settle
from quatrain.components.evaluate.ledger import last_move, promote_run
from quatrain.components.evaluate.run import evaluate_model
from quatrain.components.evaluate.this_run import ThisRun
from quatrain.components.exchange import Overtaken
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.storage import write_file
from tests.components.handmade import export_model, make_rows, make_spec, write_examples
from tests.emulators import storage as emulator

NAME = "hand-made"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two measured runs: the first is the champion, the second, much worse, failed."""
    folder = tmp_path_factory.mktemp("ledger")
    spec, root = make_spec(), folder / "root"
    rows = {"train": make_rows(300), "test": make_rows(400, seed=1)}
    examples = write_examples(folder / "examples", rows, spec=spec)
    for number, shift in ((1, 0.0), (2, 3.0)):
        run, created = f"run-{number}", f"2026-12-0{number}T06:00:00+00:00"
        model = export_model(folder / run / "model", shift=shift).parent
        out = folder / run / "evaluation"
        this_run = ThisRun(run, created)
        evaluate_model(spec, examples, model, out, root=str(root), this_run=this_run)
        places = str(examples), str(out), str(model)
        with pytest.raises(QuatrainError) if number == 2 else nullcontext():
            settle(read_parameter(spec), str(root), run, created, *places)
        home = root / NAME / run
        home.mkdir(parents=True)
        (home / "run.json").write_text("{}")
    return root


@pytest.fixture
def root(measured: Path, tmp_path: Path) -> Path:
    """A copy of the root, whose artifacts stay where they are."""
    return Path(shutil.copytree(measured, tmp_path / "root"))


def champion(root: Path) -> dict[str, Any]:
    """Returns the champion's record."""
    record = history.champion_of(str(root), NAME)
    assert record is not None
    return record


def test_the_gate_and_a_person_promote_and_each_time_is_recorded(root: Path) -> None:
    assert champion(root)["run"] == "run-1"
    move = promote_run(str(root), NAME, "run-2", "ada", "the old label was wrong")
    assert (move["run"], move["before"], move["by"]) == ("run-2", "run-1", "ada")
    now = champion(root)
    assert (now["run"], now["made"]) == ("run-2", "2026-12-02T06:00:00+00:00")
    assert last_move(str(root), NAME) == ("run-2", "run-1")
    back = promote_run(str(root), NAME, "run-1", "ada", "it was right")
    assert champion(root)["run"] == "run-1"
    listed = history.moves(str(root), NAME)
    assert [(m["run"], m["by"]) for m in listed] == [
        ("run-1", "gate"),
        ("run-2", "ada"),
        ("run-1", "ada"),
    ]
    assert listed[-1] == back


def test_a_crash_before_any_write_changes_nothing_and_the_next_call_goes_through(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = champion(root)
    for crash in ("write_file", "replace_content"):
        with monkeypatch.context() as patch:
            patch.setattr(history, crash, raise_interrupt)
            with pytest.raises(KeyboardInterrupt):
                promote_run(str(root), NAME, "run-2", "ada", "try it")
        assert champion(root) == before
        assert [m["run"] for m in history.moves(str(root), NAME)] == ["run-1"]
    assert len(list((root / NAME / "statistics/moves").iterdir())) == 2
    promote_run(str(root), NAME, "run-2", "ada", "try it")
    assert [m["run"] for m in history.moves(str(root), NAME)] == ["run-1", "run-2"]


def raise_interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_of_two_promotions_at_once_the_later_one_is_refused(
    root: Path, place: str, served: emulator.Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = str(root)
    if place == "bucket":
        where = copied_to_bucket(root, served, monkeypatch)
    rivals = ["run-2"]

    def write(uri: str, data: bytes) -> None:
        if rivals:  # between what the first has read and what it writes
            promote_run(where, NAME, rivals.pop(), "bob", "a fix")
        write_file(uri, data)

    monkeypatch.setattr(history, "write_file", write)
    with pytest.raises(Overtaken, match=r"run run-2 has become the champion of hand-made meanwh"):
        promote_run(where, NAME, "run-1", "ada", "stay")
    found = history.champion_of(where, NAME)
    assert found is not None and (found["run"], found["promoted"]["by"]) == ("run-2", "bob")
    assert [m["run"] for m in history.moves(where, NAME)] == ["run-1", "run-2"]


def test_a_rollback_takes_back_the_champion_that_it_has_seen(root: Path) -> None:
    promote_run(str(root), NAME, "run-2", "ada", "try it")
    with pytest.raises(Overtaken, match=r"run-2 has become the champion"):
        promote_run(str(root), NAME, "run-1", "ada", "back", over="run-3")
    assert champion(root)["run"] == "run-2"


def test_the_same_word_twice_is_one_move(root: Path) -> None:
    moves = [promote_run(str(root), NAME, "run-2", "ada", "try it") for _ in range(2)]
    assert moves[0] == moves[1]
    assert len(history.moves(str(root), NAME)) == 2


def test_an_unknown_run_and_an_altered_model_change_nothing(root: Path) -> None:
    before = champion(root)
    with pytest.raises(ArtifactError, match=r"no record of a run 'run-9'.*quatrain list hand-made"):
        promote_run(str(root), NAME, "run-9", "ada", "why not")
    record = root / NAME / "statistics/runs/run-2.json"
    document = json.loads(record.read_text())
    document["artifacts"]["model"] = document["artifacts"]["model"].replace("run-2", "run-1")
    record.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=r"is not the one that was measured"):
        promote_run(str(root), NAME, "run-2", "ada", "why not")
    document["artifacts"]["model"] += "-gone"
    record.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=r"is not at .*-gone any more"):
        promote_run(str(root), NAME, "run-2", "ada", "why not")
    assert champion(root) == before


def test_rollback_needs_a_champion_before(root: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no champion before run run-1; name a run by --to"):
        last_move(str(root), NAME)
    with pytest.raises(ArtifactError, match=r"has no champion to take back"):
        last_move(str(root), "another")


def test_python_promotes_rolls_back_and_moves_the_link(root: Path) -> None:
    quatrain.promote(root / NAME / "run-2", "try it", root=root)
    assert (root / NAME / "champion").readlink() == Path("run-2")
    move = quatrain.rollback(NAME, "no better", root=root)
    assert (move["run"], move["before"], move["reason"]) == ("run-1", "run-2", "no better")
    assert (root / NAME / "champion").readlink() == Path("run-1")
    again = quatrain.rollback(NAME, "once more", root=root)
    assert (again["changed"], again["at"], again["reason"]) == (False, move["at"], "no better")
    assert len(history.moves(str(root), NAME)) == 3
    quatrain.rollback(NAME, "after all", to="run-2", root=root)
    assert champion(root)["run"] == "run-2"
    with pytest.raises(QuatrainError, match="no reason for run run-1; add a few words"):
        quatrain.promote("run-1", "  ", root=root)


def copied_to_bucket(root: Path, served: emulator.Storage, monkeypatch: pytest.MonkeyPatch) -> str:
    """Copies the records of a root into a bucket, and returns its uri."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)  # for Google's own client
    for file in (root / NAME / "statistics").rglob("*.json"):
        write_file(f"gs://b/{file.relative_to(root)}", file.read_bytes())
    return "gs://b"


def test_a_root_in_a_bucket_is_no_different(
    root: Path, served: emulator.Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied_to_bucket(root, served, monkeypatch)
    quatrain.promote(f"gs://b/{NAME}/run-2", "try it", root="gs://b")
    quatrain.rollback(NAME, "no better", root="gs://b")
    found = quatrain.models(NAME, root="gs://b")
    assert [(e["run"], e["reason"]) for e in found] == [
        ("run-1", "no better"),
        ("run-2", "try it"),
        ("run-1", ""),
    ]
    assert [e["champion"] for e in found] == [True, False, False]


def test_a_rollback_in_a_bucket_names_the_command_that_moves_the_traffic(
    root: Path,
    served: emulator.Storage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from quatrain.cli.entry import main

    copied_to_bucket(root, served, monkeypatch)
    quatrain.promote(f"gs://b/{NAME}/run-2", "try it", root="gs://b")
    with pytest.raises(SystemExit):
        main(["rollback", NAME, "--reason", "no better", "--root", "gs://b"])
    printed = capsys.readouterr()
    assert printed.out == "run run-1 is the champion, in place of run run-2\n"
    assert "the same call with --cloud FILE moves its traffic" in printed.err


def test_the_verbs_say_who_is_the_champion_now(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from quatrain.cli.entry import main

    def verb(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--root", str(root)])
        assert not ended.value.code
        return capsys.readouterr().out

    said = verb("promote", f"{NAME}/run-2", "--reason", "try it")
    assert said == "run run-2 is the champion, in place of run run-1\n"
    move = json.loads(verb("rollback", NAME, "--reason", "no better", "--json"))
    assert (move["run"], move["before"]) == ("run-1", "run-2")


def test_models_lists_who_held_the_place(root: Path) -> None:
    quatrain.promote(f"{NAME}/run-2", "try it", root=root)
    now, first = quatrain.models(NAME, root=root)
    assert (now["run"], now["champion"], now["reason"]) == ("run-2", True, "try it")
    assert (first["run"], first["champion"], first["by"]) == ("run-1", False, "gate")
    assert (now["decision"], first["decision"]) == ("fail", "promote")
    assert first["metric"]["low"] < first["metric"]["value"] < now["metric"]["value"]
    assert now["metadata"] == champion(root)["metadata"]
    assert quatrain.models(root=root) == [now]
    with pytest.raises(QuatrainError, match="has no model 'hand-mad'; did you mean 'hand-made'"):
        quatrain.models("hand-mad", root=root)
    from quatrain.terminal.run_table import champion_table

    lines = champion_table([now, first])
    assert lines[1].split()[:2] == [NAME, "run-2*"]
    assert lines[1].endswith("try it")
    assert lines[-1] == "* the champion"
    spec = read_parameter(make_spec()).sha256
    assert now["digests"] == {"spec": spec, "data": "", "trainer": "0" * 64, "image": ""}
    assert spec[:12] in lines[1].split() and "0" * 12 in lines[1].split()


def test_a_version_without_lineage_is_listed_with_dashes(root: Path) -> None:
    record = root / NAME / "statistics/runs/run-1.json"
    document = json.loads(record.read_text())
    del document["digests"]
    record.write_text(json.dumps(document))
    (only,) = quatrain.models(NAME, root=root)
    assert only["digests"] is None
    from quatrain.terminal.run_table import champion_table

    assert champion_table([only])[1].split().count("-") == 4


def test_a_champion_of_an_earlier_version_is_listed_without_a_time(root: Path) -> None:
    record = root / NAME / "statistics/champion.json"
    document = json.loads(record.read_text())
    del document["promoted"]
    record.write_text(json.dumps(document))
    shutil.rmtree(root / NAME / "statistics/moves")
    (only,) = quatrain.models(NAME, root=root)
    assert (only["run"], only["at"], only["champion"]) == ("run-1", "", True)
    quatrain.promote(f"{NAME}/run-2", "try it", root=root)
    listed = [(e["run"], e["by"] != "") for e in quatrain.models(NAME, root=root)]
    assert listed == [("run-2", True), ("run-1", False)]
    assert quatrain.rollback(NAME, "no better", root=root)["run"] == "run-1"


def test_the_link_follows_a_rollback_that_was_cut_off_before_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quatrain.promote("run-2", "try it", root=root)

    def cut_off(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("quatrain.face.champions.follow_champion", cut_off)
        with pytest.raises(KeyboardInterrupt):
            quatrain.rollback(NAME, "no better", root=root)
    assert champion(root)["run"] == "run-1"
    assert not quatrain.rollback(NAME, "no better", root=root)["changed"]
    link = root / NAME / "champion"
    assert link.readlink() == Path("run-1")
    inode = link.lstat().st_ino
    quatrain.rollback(NAME, "no better", root=root)
    assert link.lstat().st_ino == inode  # so that a root that is read-only does, too
