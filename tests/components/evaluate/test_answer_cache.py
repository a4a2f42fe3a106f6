"""The champion's answers come from a record while model, rows and code are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quatrain.components import history, storage
from quatrain.components.artifacts import sha256_of
from quatrain.components.evaluate import answer_cache
from quatrain.components.evaluate.answer_cache import FOLDER, AnswerCache
from quatrain.components.evaluate.champion import split_of
from quatrain.components.evaluate.run import evaluate_model
from quatrain.components.evaluate.this_run import ThisRun
from quatrain.components.specification.parameter import read_parameter
from tests.components.handmade import export_model, make_rows, make_spec, write_examples
from tests.emulators import storage as emulator

MODEL, SHARD = "m" * 64, "s" * 64
VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize("root", ["{tmp}", "gs://b"])
def test_answers_are_read_as_they_were_recorded_here_and_in_a_bucket(
    root: str, served: emulator.Storage, tmp_path: Path
) -> None:
    cache = AnswerCache(root.format(tmp=tmp_path), "run-1")
    assert cache.read(MODEL, SHARD) is None
    recording = cache.recording(MODEL, SHARD)
    recording.add(VALUES[:2])
    recording.add(VALUES[2:])
    recording.write()
    read = cache.read(MODEL, SHARD)
    assert read is not None and read.run == "run-1"
    assert read.values.dtype == np.float32
    assert read.values.tolist() == VALUES.tolist()


def test_answers_are_those_of_one_model_to_one_shard_by_one_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = AnswerCache(str(tmp_path), "run-1")
    cache.write(MODEL, SHARD, [VALUES])
    assert cache.read("n" * 64, SHARD) is None
    assert cache.read(MODEL, "t" * 64) is None
    assert AnswerCache(str(tmp_path), "run-1", readable=False).read(MODEL, SHARD) is None
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert cache.read(MODEL, SHARD) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:-1] + b"\x01",
        lambda data: data.replace(b"run-1", b"run-2"),
        lambda data: data.replace(b"[3,2]", b"[2,3]"),
        lambda data: b"\xff" + data,
        lambda data: b"",
    ],
)
def test_a_damaged_record_is_not_taken(damage: Any, tmp_path: Path) -> None:
    cache = AnswerCache(str(tmp_path), "run-1")
    cache.write(MODEL, SHARD, [VALUES])
    [path] = (tmp_path / FOLDER).iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert cache.read(MODEL, SHARD) is None


def test_answers_that_are_too_many_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_cache, "MAX_RECORD_BYTES", VALUES.nbytes - 1)
    recording = AnswerCache(str(tmp_path)).recording(MODEL, SHARD)
    recording.add(VALUES[:2])
    recording.add(VALUES[2:])
    recording.write()
    assert storage.list_names(f"{tmp_path}/{FOLDER}") == set()


def test_the_answers_that_were_recorded_first_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = AnswerCache(str(tmp_path))
    for shard in "abc":
        cache.write(MODEL, shard * 64, [VALUES])
    [size] = {path.stat().st_size for path in (tmp_path / FOLDER).iterdir()}
    monkeypatch.setattr(answer_cache, "MAX_BYTES", 2 * size)
    cache.trim()
    assert [cache.read(MODEL, shard * 64) is None for shard in "abc"] == [True, False, False]


class Runs:
    """Runs that evaluate models on the same rows, below one root."""

    def __init__(self, folder: Path, task: str) -> None:
        self.folder, self.root = folder, str(folder / "runs")
        self.spec = make_spec(task)
        rows = {"train": make_rows(900, task), "test": make_rows(600, task, seed=1)}
        self.examples = write_examples(folder / "examples", rows, task, 2, spec=self.spec)

    def evaluate(self, model: Path, run: str, *, cached: bool = True) -> dict[str, Any]:
        """Evaluates a model; returns metrics.json without what names the run."""
        out = self.folder / f"evaluation-{run}"
        evaluate_model(
            self.spec,
            self.examples,
            model.parent,
            out,
            root=self.root,
            this_run=ThisRun(run),
            cached=cached,
        )
        metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
        del metrics["run"], metrics["made_by"]["lineage"]
        return metrics

    def crown(self, model: Path, run: str) -> None:
        """Makes a model the champion."""
        split = split_of(read_parameter(self.spec))
        record = str(model.parent), split, sha256_of(model / "metadata.json")
        history.record_run(self.root, "hand-made", run, "2026-11-25", self.examples, *record)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_run_on_the_same_rows_takes_the_answers_that_the_champion_gave_in_its_own_run(
    task: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    runs, challenger = Runs(tmp_path, task), export_model(tmp_path / "other/model", task, shift=0.3)
    runs.evaluate(models[task], "run-1")
    runs.crown(models[task], "run-1")
    with_record = runs.evaluate(challenger, "run-2")
    without = runs.evaluate(challenger, "run-3", cached=False)
    assert with_record.pop("cached") == {"champion's answers": "run-1"}
    assert with_record == without
    assert with_record["champion"]["metrics"] != with_record["metrics"]


def test_a_champion_whose_answers_are_recorded_is_not_asked(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    runs = Runs(tmp_path, "regression")
    runs.crown(models["regression"], "run-1")
    first = runs.evaluate(models["regression"], "run-2")
    assert first["champion"]["worse"]["value"] == 0.0  # the same model
    for path in (tmp_path / "runs" / FOLDER).iterdir():
        path.unlink()
    cache = AnswerCache(runs.root, "run-0")
    manifest = json.loads((Path(runs.examples) / "manifest.json").read_text())
    shards = {n: sha for n, sha in manifest["files"].items() if n.startswith("test-")}
    assert len(shards) == 2
    model = sha256_of(models["regression"] / "metadata.json")
    for sha256 in shards.values():
        cache.write(model, sha256, [np.full(300, 1e6, np.float32)])
    second = runs.evaluate(models["regression"], "run-3")
    assert second["champion"]["metrics"]["rmse"]["value"] == pytest.approx(1e6, rel=1e-3)


def test_a_damaged_record_lets_the_champion_answer_again(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    runs = Runs(tmp_path, "binary")
    runs.crown(models["binary"], "run-1")
    first = runs.evaluate(models["binary"], "run-2")
    for path in (tmp_path / "runs" / FOLDER).iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert runs.evaluate(models["binary"], "run-3") == {**first, "changes": first["changes"]}
