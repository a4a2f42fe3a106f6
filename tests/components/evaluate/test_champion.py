"""The champion answers the same rows; a clearly worse model is not promoted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quatrain.components import history
from quatrain.components.artifacts import sha256_of, write_json
from quatrain.components.errors import GateFailed
from quatrain.components.evaluate.champion import find_champion, settle, split_of
from quatrain.components.evaluate.gate import require_passed
from quatrain.components.evaluate.measures.metrics import Z95
from quatrain.components.evaluate.run import evaluate_model
from quatrain.components.evaluate.this_run import ThisRun
from quatrain.components.specification.parameter import read_parameter
from tests.components.handmade import (
    export_model,
    make_rows,
    make_spec,
    make_transform,
    write_examples,
)

ROWS, SHIFT = 4000, 0.8


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models whose scores are all too high."""
    root = tmp_path_factory.mktemp("shifted")
    tasks = ("binary", "regression")
    return {t: export_model(root / t / "model", t, shift=SHIFT).parent for t in tasks}


def crown(root: Path, model: Path | str, spec: str, examples: Path, **changed: Any) -> None:
    """Makes a model the champion."""
    split = split_of(read_parameter(spec)) | changed
    record = str(model), split, digest_of(model)
    history.record_run(str(root), "hand-made", "run-7", "2026-11-25", examples, *record)


def digest_of(model: Path | str) -> str:
    """The sha256 of a champion's record."""
    path = Path(model, "model/metadata.json")
    return sha256_of(path) if path.exists() else "0" * 64


def compare(
    tmp_path: Path,
    task: str,
    before: Path,
    model: Path,
    cuts: int = 2,
    **evaluate: Any,
) -> dict[str, Any]:
    """Evaluates a model while another one is the champion; returns metrics.json."""
    spec = make_spec(task, **evaluate)
    rows = {"train": make_rows(900, task), "test": make_rows(ROWS, task, seed=1)}
    examples = write_examples(tmp_path / "examples", rows, task, cuts, spec=spec)
    crown(tmp_path / "runs", before, spec, examples)
    out, root = tmp_path / "evaluation", str(tmp_path / "runs")
    return evaluate_model(spec, examples, model, out, root=root)


def losses(task: str, shift: float) -> np.ndarray:
    """The loss of each test row, computed by hand."""
    rows = make_rows(ROWS, task, seed=1)
    delay = (rows["delay"].fill_null(0.0).to_numpy() - 10) / 20
    offset = {None: 0.0, "B6": 0.1, "AA": -0.4, "UA": 0.6}
    score = delay + np.array([offset[c] for c in rows["carrier"].to_pylist()]) + shift
    label = rows["label"].to_numpy()
    if task == "regression":
        return (score - label) ** 2
    return np.log1p(np.exp(np.where(label == 1, -score, score)))


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_model_is_compared_row_by_row(
    task: str, tmp_path: Path, models: dict[str, Path], shifted: dict[str, Path]
) -> None:
    champion = compare(tmp_path, task, models[task].parent, shifted[task])["champion"]
    ours, theirs = losses(task, SHIFT), losses(task, 0.0)
    power = 0.5 if task == "regression" else 1.0
    ratio = (ours - theirs).mean() / theirs.mean()
    error = (ours - theirs).std() / np.sqrt(ROWS - 1) / theirs.mean()
    ends = [(1 + ratio + z * error) ** power - 1 for z in (0, -Z95, Z95)]
    assert list(champion["worse"].values()) == pytest.approx(ends, rel=1e-4)
    name = "rmse" if task == "regression" else "log_loss"
    assert champion["metrics"][name]["value"] == pytest.approx(theirs.mean() ** power, rel=1e-5)
    assert (champion["run"], champion["made"], champion["why"]) == ("run-7", "2026-11-25", "")


def test_a_clearly_worse_model_fails_the_gate_with_a_sentence(
    tmp_path: Path, models: dict[str, Path], shifted: dict[str, Path]
) -> None:
    limit = {"fail": 0.005}
    metrics = compare(
        tmp_path, "binary", models["binary"].parent, shifted["binary"], champion=limit
    )
    with pytest.raises(GateFailed) as failed:
        require_passed(metrics, "there")
    assert str(failed.value).startswith("log_loss=0.")
    assert "% worse than 0." in str(failed.value)
    assert "of the champion, run run-7 (+" in str(failed.value)
    assert "beyond the limit of 0.5%; model kept at there" in str(failed.value)
    page = (tmp_path / "evaluation/report.html").read_text()
    assert "the champion of run run-7 on the same rows" in page


def test_a_slightly_worse_model_is_held(
    tmp_path: Path, models: dict[str, Path], shifted: dict[str, Path]
) -> None:
    limit = {"warn": 0.005, "fail": 0.5}
    metrics = compare(
        tmp_path, "binary", models["binary"].parent, shifted["binary"], champion=limit
    )
    assert metrics["gate"]["passed"]
    assert metrics["gate"]["decision"] == "hold"
    (warning,) = (w for w in metrics["warnings"] if w["kind"] == "champion")
    assert "worse than" in warning["sentence"]
    assert warning["sentence"] == metrics["gate"]["why"]
    page = (tmp_path / "evaluation/report.html").read_text()
    assert 'class="card verdict warned"' in page
    assert "! The model passed the gate, is held, and the champion stays, with" in page


def test_the_same_model_is_level_and_a_better_one_better(
    tmp_path: Path, models: dict[str, Path], shifted: dict[str, Path]
) -> None:
    model = models["binary"].parent
    same = compare(tmp_path / "same", "binary", model, model)
    assert same["champion"]["worse"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert same["champion"]["metrics"] == same["metrics"]
    better = compare(tmp_path / "better", "binary", shifted["binary"], model)
    sentences = [c["sentence"] for c in (*same["gate"]["checks"], *better["gate"]["checks"])]
    assert "is level with" in sentences[0]
    assert sentences[0].endswith("of the champion, run run-7, the same on every row")
    assert "better than" in sentences[3]
    assert same["gate"]["passed"] and better["gate"]["passed"]
    assert same["gate"]["decision"] == better["gate"]["decision"] == "promote"


def test_any_cut_of_the_rows_gives_the_same_bytes(
    tmp_path: Path, models: dict[str, Path], shifted: dict[str, Path]
) -> None:
    written = []
    for cuts in (1, 5):
        compare(tmp_path / str(cuts), "binary", shifted["binary"], models["binary"].parent, cuts)
        written.append((tmp_path / str(cuts) / "evaluation/metrics.json").read_bytes())
    assert written[0] == written[1]


def test_without_limits_a_worse_model_is_held_and_fails_nothing(
    tmp_path: Path, models: dict[str, Path], shifted: dict[str, Path]
) -> None:
    model = models["binary"].parent
    metrics = compare(tmp_path, "binary", model, shifted["binary"], champion={})
    assert metrics["champion"]["worse"]["value"] > 0
    assert "champion" not in [c["metric"] for c in metrics["gate"]["checks"]]
    assert metrics["gate"]["decision"] == "hold"


def test_before_a_run_has_passed_its_gate_there_is_none(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    spec = make_spec()
    examples = write_examples(tmp_path / "examples", {s: make_rows(50) for s in ("train", "test")})
    out, model = tmp_path / "evaluation", models["binary"].parent
    assert evaluate_model(spec, examples, model, out, root=str(tmp_path))["champion"] is None


def test_a_champion_that_cannot_be_compared_is_a_warning(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    model = models["binary"].parent
    metrics = compare(tmp_path, "binary", models["multiclass"].parent, model)
    assert metrics["gate"]["passed"]
    assert metrics["champion"]["why"] == "it predicts another label, or other classes of 'late'"
    assert not_compared(metrics) == (
        f"not compared with the champion, run run-7: {metrics['champion']['why']}, so this model "
        f"is held and the champion stays"
    )
    assert metrics["gate"]["decision"] == "hold"


def settled(tmp_path: Path, metrics: dict[str, Any], model: Path) -> tuple[str, str, str]:
    """Carries out the decision on run-8; returns the champion, the last run and the decision."""
    examples, out, root = (str(tmp_path / n) for n in ("examples", "evaluation", "runs"))
    spec = read_parameter(make_spec())
    settle(spec, root, "run-8", "2026-12-01", examples, out, str(model))
    runs = history.earlier_runs(root, "hand-made")
    made = json.loads(Path(history.record_uri(root, "hand-made", "last")).read_text())
    assert made["run"] == metrics["run"]["id"]
    record = Path(history.record_uri(root, "hand-made", "runs/run-8"))
    decision = json.loads(record.read_text())["gate"]["decision"]
    return runs["champion"]["run"], runs["previous"]["run"], decision


def run_8(tmp_path: Path, before: Path, model: Path, created: str = "2026-12-01") -> dict[str, Any]:
    """Evaluates run-8, created after the champion unless stated."""
    compare(tmp_path, "binary", before, model)
    root, this_run = str(tmp_path / "runs"), ThisRun("run-8", created)
    where = tmp_path / "examples", model, tmp_path / "evaluation"
    return evaluate_model(make_spec(), *where, root=root, this_run=this_run)


def test_a_promoted_model_takes_the_place_and_a_held_one_does_not(
    tmp_path: Path, models: dict[str, Path], shifted: dict[str, Path]
) -> None:
    good, bad = models["binary"].parent, shifted["binary"]
    metrics = run_8(tmp_path / "a", bad, good)
    assert settled(tmp_path / "a", metrics, good) == ("run-8", "run-8", "promote")
    assert settled(tmp_path / "a", metrics, good) == ("run-8", "run-8", "promote")  # repeated
    metrics = run_8(tmp_path / "b", good, good, created="2026-11-01")
    assert "before the champion, run run-7, on 2026-11-25" in metrics["gate"]["why"]
    assert settled(tmp_path / "b", metrics, good) == ("run-7", "run-8", "hold")


def test_a_champion_that_came_during_the_comparison_keeps_the_place(
    tmp_path: Path, models: dict[str, Path], shifted: dict[str, Path]
) -> None:
    good = models["binary"].parent
    metrics = run_8(tmp_path, shifted["binary"], good)
    assert metrics["gate"]["decision"] == "promote"
    split = split_of(read_parameter(make_spec()))
    record = str(good), split, digest_of(good)
    where = str(tmp_path / "runs"), "hand-made", "run-9", "2026-12-02", tmp_path / "examples"
    history.record_run(*where, *record)
    assert settled(tmp_path, metrics, good) == ("run-9", "run-8", "hold")


def test_the_best_earlier_model_answers_beside_the_champion_until_it_is_beaten(
    tmp_path: Path, models: dict[str, Path], shifted: dict[str, Path]
) -> None:
    good, bad = models["binary"].parent, shifted["binary"]
    compare(tmp_path, "binary", bad, good)
    root, examples = str(tmp_path / "runs"), tmp_path / "examples"
    split = split_of(read_parameter(make_spec()))
    best = {
        "run": "run-1",
        "made": "2026-11-01",
        "model": str(good),
        "metadata": digest_of(good),
        "split": split,
        "window": None,
    }
    where = root, "hand-made", "run-7", "2026-11-25", examples
    history.record_run(*where, str(bad), split, digest_of(bad), best=best)
    this_run = ThisRun("run-8", "2026-12-01")
    out = tmp_path / "evaluation"
    slid = evaluate_model(make_spec(), examples, bad, out, root=root, this_run=this_run)
    assert slid["champion"]["worse"]["value"] == 0
    assert slid["best"]["worse"]["low"] > 0.05
    assert slid["gate"]["decision"] == "fail"
    (check,) = (c for c in slid["gate"]["checks"] if c["metric"] == "champion")
    assert "of the best earlier model, run run-1" in check["sentence"]
    metrics = evaluate_model(make_spec(), examples, good, out, root=root, this_run=this_run)
    assert metrics["best"]["metrics"] == metrics["metrics"]
    assert settled(tmp_path, metrics, good) == ("run-8", "run-8", "promote")
    record = history.champion_of(root, "hand-made")
    assert record is not None and record["best"] is None


def not_compared(metrics: dict[str, Any]) -> str:
    """The warning that the champion was not compared."""
    (sentence,) = (w["sentence"] for w in metrics["warnings"] if w["kind"] == "not_compared")
    return str(sentence)


def why(tmp_path: Path, model: Path | str, transform: Any = None, **changed: Any) -> str:
    spec = make_spec()
    examples = write_examples(tmp_path / "examples", {s: make_rows(9) for s in ("train", "test")})
    crown(tmp_path, model, spec, examples, **changed)
    champion = find_champion(str(tmp_path), read_parameter(spec), transform or make_transform())
    assert champion is not None
    return champion.why


def test_a_champion_that_may_know_the_test_rows_is_not_compared(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    assert "may have learned some of these" in why(tmp_path, models["binary"].parent, seed=3)


def test_a_champion_that_is_gone_or_damaged_is_not_compared(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    assert why(tmp_path / "a", tmp_path / "gone").endswith("gone/model any more")
    shutil.copytree(models["binary"].parent, tmp_path / "damaged")
    (tmp_path / "damaged/model/transform.json").write_text("{}")
    assert "is not the file that was exported" in why(tmp_path / "b", tmp_path / "damaged")


def test_a_champion_that_a_bucket_lost_is_named_by_its_uri(tmp_path: Path) -> None:
    assert why(tmp_path, "gs://gone/run/model") == (
        "its model is not at gs://gone/run/model/model any more"
    )


def test_a_champion_whose_metadata_was_changed_is_not_compared(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    model = tmp_path / "changed"
    shutil.copytree(models["binary"].parent, model)
    assert why(tmp_path / "a", model) == ""
    path = model / "model/metadata.json"
    path.write_text(path.read_text().replace('"tier": "BASIC"', '"tier": "basic"'))
    champion = find_champion(str(tmp_path / "a"), read_parameter(make_spec()), make_transform())
    assert champion is not None
    assert champion.why.startswith(f"{path} is not the one that it passed its gate with: ")


def test_a_champion_that_cannot_be_loaded_is_a_warning(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    before = tmp_path / "before"
    shutil.copytree(models["binary"].parent, before)
    (before / "model/saved_model.pb").write_bytes(b"of another TensorFlow")
    metadata = json.loads((before / "model/metadata.json").read_text())
    metadata["files"]["saved_model.pb"] = sha256_of(before / "model/saved_model.pb")
    write_json(before / "model/metadata.json", metadata)
    assert why(tmp_path / "a", before) == ""  # its files alone are checked
    metrics = compare(tmp_path / "b", "binary", before, models["binary"].parent)
    assert "cannot be loaded as a SavedModel" in metrics["champion"]["why"]
    assert (metrics["champion"]["run"], "worse" in metrics["champion"]) == ("run-7", False)
    assert metrics["gate"]["passed"]
    assert not_compared(metrics).startswith("not compared with the champion, run run-7: ")
    assert not list((tmp_path / "b/evaluation").glob(".*"))


def test_a_champion_of_another_version_s_transform_is_not_compared(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    before = tmp_path / "before"
    shutil.copytree(models["binary"].parent, before)
    path = before / "model/transform.json"
    write_json(path, {**json.loads(path.read_text()), "version": 99})
    metadata = json.loads((before / "model/metadata.json").read_text())
    metadata["files"]["transform.json"] = sha256_of(path)
    write_json(before / "model/metadata.json", metadata)
    assert "transform.json has version 99" in why(tmp_path / "a", before)


def test_a_champion_of_a_column_that_is_not_read_now_is_not_compared(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    full = make_transform()
    less = type(full)(full.task, full.label, None, full.inputs[:1], full.features[:1])
    reason = why(tmp_path, models["binary"].parent, less)
    assert reason == "it takes column 'carrier' as string, which no feature reads now"


def test_the_record_of_an_earlier_version_names_no_model(tmp_path: Path) -> None:
    assert why(tmp_path, Path()).startswith("its model is not at model")
    path = Path(history.record_uri(str(tmp_path), "hand-made", "champion"))
    document = json.loads(path.read_text())
    del document["metadata"]
    path.write_text(json.dumps(document))
    champion = find_champion(str(tmp_path), read_parameter(make_spec()), make_transform())
    assert champion is not None
    assert champion.why.startswith("its model was not noted")


@pytest.mark.parametrize(("first", "compared"), [("2020-05-01", True), ("2020-07-01", False)])
def test_split_by_time_a_champion_is_compared_on_rows_newer_than_its_own(
    first: str, compared: bool, tmp_path: Path, models: dict[str, Path]
) -> None:
    split = {"by": "time", "column": "day", "validation_from": "2020-05-01"}
    spec = make_spec(split={**split, "test_from": "2020-06-01"}, day="date")
    examples = write_examples(tmp_path / "examples", {s: make_rows(9) for s in ("train", "test")})
    theirs, model = {**split, "test_from": first}, models["binary"].parent
    record = str(model), theirs, digest_of(model)
    history.record_run(str(tmp_path), "hand-made", "r", "2026-11-25", examples, *record)
    champion = find_champion(str(tmp_path), read_parameter(spec), make_transform())
    assert champion is not None
    assert (champion.why == "") is compared
