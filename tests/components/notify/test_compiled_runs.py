"""The compiled file's exit task tells a server how each kind of run on this machine has ended."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quatrain.components import history
from quatrain.components.specification.schema import ModelSpec
from quatrain.face.champions import promote, rollback
from quatrain.local.run import StepFailed, run_pipeline
from quatrain.pipelines.compiled import compile_pipeline
from tests.emulators.notices import Notices, notices_server

HOOK = "/hook?key=T0K3N-of-the-channel"
SPLIT = {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2}
OTHER_SPLIT = {**SPLIT, "train": 0.5, "test": 0.3}


@dataclass(frozen=True)
class Ended:
    """A run that has ended, why it failed, and the fields of its notice."""

    folder: Path
    error: str
    notice: dict[str, Any]

    @property
    def id(self) -> str:
        return self.folder.name


class Watched(io.StringIO):
    """A stream of progress that calls `action` before the task of a step begins."""

    def __init__(self, step: str, action: Callable[[], object]) -> None:
        super().__init__()
        self.step, self.action = step, action

    def write(self, text: str) -> int:
        if self.step and self.step in text:
            self.step = ""
            self.action()
        return super().write(text)


class Toys:
    """Runs of one small model by one compiled file, whose notices a server gets."""

    def __init__(self, folder: Path, server: Notices) -> None:
        self.folder, self.server, self.root = folder, server, folder / "runs"
        self.pipeline = compile_pipeline(folder / "training.yaml")
        self.address = f"{server.url}{HOOK}"
        self.source = self.rows("toys.csv")

    def rows(self, name: str, shift: float = 0.0) -> dict[str, str]:
        """Writes a table, and returns the section of the spec that names it."""
        draw = random.Random(3)  # noqa: S311 - test data
        lines = ["id,x,y"]
        for i in range(900):
            x = draw.uniform(0, 10)
            lines.append(f"t{i},{x + shift:.3f},{int(x + draw.uniform(-2, 2) > 5)}")
        (self.folder / name).write_text("\n".join([*lines, ""]))
        return {"uri": str(self.folder / name)}

    def run(self, tier: str = "", stream: io.StringIO | None = None, **changes: Any) -> Ended:
        """Runs the file; the server must get one notice, and no file the address."""
        document: dict[str, Any] = {
            "name": "toys",
            "source": self.source,
            "columns": {"id": "string", "x": "float", "y": "bool"},
            "label": "y",
            "task": "binary",
            "split": SPLIT,
            "features": [{"name": "x", "from": "x", "transform": "standardize"}],
            "train": {"model": "linear", "epochs": 2},
            **changes,
        }
        spec, error, stream = ModelSpec.model_validate(document), "", stream or io.StringIO()
        before = len(self.server.posts(HOOK))
        options: dict[str, Any] = {"tier": tier, "stream": stream, "notify": self.address}
        try:
            folder = run_pipeline(self.pipeline, spec, self.root, **options).folder
        except StepFailed as failed:
            folder, error = failed.folder, str(failed)
        [post] = self.server.posts(HOOK)[before:]
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        secret = HOOK.rpartition("=")[2]
        assert not [file for file in files if secret.encode() in file.read_bytes()]
        assert secret not in error + stream.getvalue()
        assert post["quatrain"]["run"] == folder.name
        return Ended(folder, error, post["quatrain"])


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toys]:
    with notices_server() as server:
        yield Toys(tmp_path_factory.mktemp("toys"), server)


@pytest.fixture(scope="module")
def first(toys: Toys) -> Ended:
    return toys.run()


@pytest.fixture(scope="module")
def held(toys: Toys, first: Ended) -> Ended:
    return toys.run(split=OTHER_SPLIT)


def test_the_first_model_is_promoted_and_one_that_cannot_be_compared_is_held(
    first: Ended, held: Ended
) -> None:
    assert (first.notice["event"], first.notice["step"]) == ("promoted", "")
    assert held.notice["event"] == "held"
    assert f"not compared with the champion, run {first.id}" in held.notice["reason"]


def test_a_missed_gate_is_no_failure_of_a_step_s_own(toys: Toys, first: Ended) -> None:
    ended = toys.run(evaluate={"gate": {"auc": {"min": 0.99999}}})
    assert [ended.notice[key] for key in ("event", "step", "phase")] == ["gate", "evaluate", "gate"]
    assert ended.notice["reason"] in ended.error
    assert f"quatrain promote {ended.id} --reason" in ended.notice["advice"]


def failing_trainer(toys: Toys) -> dict[str, Any]:
    trainer = toys.folder / "trainer"
    trainer.mkdir(exist_ok=True)
    (trainer / "model.py").write_text("raise ValueError('not a model')\n")
    return {"train": {"trainer": str(trainer)}}


FAILURES: dict[str, tuple[Any, str, str]] = {
    "preprocess": (lambda toys: {"source": {"uri": f"{toys.folder}/none.csv"}}, "find_files", ""),
    "package": (failing_trainer, "package", ""),
    "train": (lambda _: {"tier": "NONE"}, "plan", "choose one of BASIC, "),
    "training": (
        lambda _: {"train": {"model": "linear", "epochs": 2, "learning_rate": 1e30}},
        "train",
        "lower learning_rate",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_step_says_its_phase_the_reason_and_what_to_do(
    toys: Toys, first: Ended, case: str
) -> None:
    change, phase, advice = FAILURES[case]
    ended = toys.run(**change(toys))
    step = "train" if case == "training" else case
    assert [ended.notice[key] for key in ("event", "step", "phase")] == ["failed", step, phase]
    assert ended.notice["reason"] and ended.notice["reason"] in ended.error
    assert advice in ended.notice["advice"]


def test_an_evaluation_that_fails_is_told_apart_from_its_gate(toys: Toys, first: Ended) -> None:
    cut: dict[Path, bytes] = {}

    def cut_short() -> None:  # when the model has been trained
        run = max(toys.root.glob("toys/2*"))
        cut.update({path: path.read_bytes() for path in run.rglob("test-*.parquet")})
        for path, data in cut.items():
            path.write_bytes(data[: len(data) // 2])

    ended = toys.run(stream=Watched("evaluate", cut_short))
    for path, data in cut.items():  # which another run's may be linked to
        path.write_bytes(data)
    notice = ended.notice
    assert [notice[key] for key in ("event", "step", "phase")] == ["failed", "evaluate", "measure"]
    assert "cut short" in notice["reason"] and "again" in notice["advice"]


@pytest.mark.parametrize("fails", [False, True])
def test_drift_is_heard_of_whether_it_stops_the_run_or_not(
    toys: Toys, first: Ended, fails: bool
) -> None:
    limits = {"psi": {"warn": 0.1, "fail": 0.2 if fails else None}}
    moved = toys.rows(f"moved-{fails}.csv", shift=3 + fails)
    ended = toys.run(source=moved, drift=limits)
    notice = ended.notice
    if fails:
        assert [notice[k] for k in ("event", "step", "phase")] == ["drift", "preprocess", "compare"]
        assert "x: psi=" in notice["reason"] and "chance alone" in notice["reason"]
        assert notice["advice"].startswith("correct the source, or accept")
    else:
        assert notice["event"] in ("promoted", "held") and not ended.error
        assert not set(notice["drift"]) & set(notice["warnings"])
    assert any("x: psi=" in sentence for sentence in notice["drift"])


def test_a_person_s_promotion_and_its_rollback_are_heard_of_once_each(
    toys: Toys, held: Ended
) -> None:
    champion = history.champion_of(str(toys.root), "toys")
    assert champion
    before = len(toys.server.posts(HOOK))
    where = {"root": toys.root, "notify": toys.address}
    promote(str(held.folder), "new <label> & *terms*", **where)
    rollback("toys", "late labels", **where)
    fields = [post["quatrain"] for post in toys.server.posts(HOOK)[before:]]
    assert [f["event"] for f in fields] == ["promoted", "rolled back"]
    assert [f["run"] for f in fields] == [held.id, champion["run"]]
    assert "new <label> & *terms*" in fields[0]["reason"]
