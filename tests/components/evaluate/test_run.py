"""The whole step: artifacts in, evaluation out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kfp import dsl

from quatrain.components import history
from quatrain.components.artifacts import sha256_of
from quatrain.components.engine.launch import Launch
from quatrain.components.errors import ArtifactError, DataError
from quatrain.components.evaluate import in_process, pipeline
from quatrain.components.evaluate.component import gate, measure
from quatrain.components.evaluate.passes import EvaluationPlan, Shard
from quatrain.components.evaluate.run import evaluate_model, record
from quatrain.components.preprocess.drift.component import compare
from tests.components.handmade import (
    export_model,
    make_rows,
    make_spec,
    make_transform,
    read_metrics,
    write_examples,
)

GATE = {"auc": {"min": 0.6}, "log_loss": {"max": 0.65}}
SPEC = make_spec(slices=["carrier"], gate=GATE)
ROWS = {"train": make_rows(900), "test": make_rows(700, seed=1)}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Path:
    """An evaluation of the binary model; `examples` stands beside it."""
    root = tmp_path_factory.mktemp("evaluated")
    write_examples(root / "examples", ROWS, spec=SPEC)
    evaluate_model(SPEC, root / "examples", models["binary"].parent, root / "evaluation")
    return root / "evaluation"


def test_the_evaluation_holds_metrics_report_and_predictions(evaluated: Path) -> None:
    assert sorted(p.name for p in evaluated.iterdir()) == [
        "lineage.json",
        "metrics.json",
        "predictions-00000-of-00002.parquet",
        "predictions-00001-of-00002.parquet",
        "report.html",
    ]
    metrics = read_metrics(evaluated)
    assert (metrics["version"], metrics["task"], metrics["rows"]) == (2, "binary", 700)
    assert metrics["gate"]["passed"]
    assert metrics["skew"] | {"inputs": {}} == {
        "rows": 700,
        "max_difference": metrics["skew"]["max_difference"],
        "tolerance": 1e-4,
        "row": metrics["skew"]["row"],
        "column": metrics["skew"]["column"],
        "inputs": {},
    }


def test_predictions_are_in_the_order_of_the_rows(evaluated: Path) -> None:
    files = sorted(evaluated.glob("predictions-*"))
    predictions = pa.concat_tables([pq.read_table(f) for f in files])
    labels = np.array(["false", "true"])[ROWS["test"]["label"].to_numpy()]
    assert predictions["label"].to_pylist() == labels.tolist()
    # The model: a sigmoid of (delay - 10) / 20, a missing delay is 0, and the carrier's offset.
    delay = ROWS["test"]["delay"].fill_null(0.0).to_numpy()
    offset = {None: 0.0, "B6": 0.1, "AA": -0.4, "UA": 0.6}
    score = (delay - 10) / 20 + np.array([offset[c] for c in ROWS["test"]["carrier"].to_pylist()])
    expected = 1 / (1 + np.exp(-score))
    np.testing.assert_allclose(predictions["probability_true"].to_numpy(), expected, atol=1e-6)


def test_slices_add_up_to_all_rows(evaluated: Path) -> None:
    slices = read_metrics(evaluated)["slices"]
    assert {s["value"] for s in slices} == {"AA", "UA", "B6", "(missing)"}
    assert sum(s["rows"] for s in slices) == 700
    assert [s["rows"] for s in slices] == sorted((s["rows"] for s in slices), reverse=True)


def test_the_best_single_input_beats_the_prior_and_not_the_model(evaluated: Path) -> None:
    metrics = read_metrics(evaluated)
    losses = [
        metrics["metrics"]["log_loss"]["value"],
        metrics["baseline"]["single_input"]["metrics"]["log_loss"]["value"],
        metrics["baseline"]["trivial"]["log_loss"]["value"],
    ]
    assert metrics["baseline"]["single_input"]["input"] == "delay"
    assert metrics["baseline"]["single_input"]["from"] == ["delay"]
    assert losses == sorted(losses)


@pytest.mark.parametrize("cuts", [1, 7])
def test_any_cut_of_the_rows_gives_the_same_bytes(
    cuts: int, tmp_path: Path, evaluated: Path, models: dict[str, Path]
) -> None:
    write_examples(tmp_path / "examples", ROWS, cuts=cuts, spec=SPEC)
    evaluate_model(SPEC, tmp_path / "examples", models["binary"].parent, tmp_path / "evaluation")
    metrics = (tmp_path / "evaluation" / "metrics.json").read_bytes()
    assert metrics == (evaluated / "metrics.json").read_bytes()


def test_the_worst_rows_are_quoted_with_their_raw_values(evaluated: Path) -> None:
    worst = read_metrics(evaluated)["worst_rows"]
    assert len(worst) == 20
    assert [r["loss"] for r in worst] == sorted((r["loss"] for r in worst), reverse=True)
    for row in worst:
        assert row["loss"] == pytest.approx(-np.log(row["probability"]))
        assert row["values"] == ROWS["test"].select(["delay", "carrier"]).to_pylist()[row["row"]]
    page = (evaluated / "report.html").read_text()
    assert "<h2>Where it is most wrong</h2>" in page
    assert "2013,1,1,&lt;script&gt;" in page  # the sample of rejected rows


def test_the_importance_of_each_raw_input_is_measured(evaluated: Path) -> None:
    metrics = read_metrics(evaluated)
    assert metrics["importance_basis"] == {
        "loss": "log_loss",
        "rows": 700,
        "permutations": 2,  # 5 000 rows of a model of unknown cost in a CPU-second, 3 750 for this
        "inputs_left_out": 0,
    }
    delay, carrier = metrics["importance"]
    assert (delay["input"], carrier["input"]) == ("delay", "carrier")
    assert delay["rise"] > delay["low"] > carrier["high"] > carrier["rise"]
    (shape,) = metrics["dependence"]  # the interval of the carrier includes 0
    means = [point["means"][0] for point in shape["points"]]
    assert means == sorted(means)  # the later, the likelier
    page = (evaluated / "report.html").read_text()
    assert "<h2>Which inputs matter</h2>" in page
    assert "mean probability of true" in page


def test_no_row_is_quoted_if_the_spec_says_so(tmp_path: Path, models: dict[str, Path]) -> None:
    delay = np.round(ROWS["test"]["delay"].to_numpy(), 1) + 0.123456
    rows = {**ROWS, "test": ROWS["test"].set_column(0, "delay", [delay])}
    spec = make_spec(report_rows=0, importance={"inputs": 1})
    examples = write_examples(tmp_path / "examples", rows, spec=spec)
    evaluate_model(spec, examples, models["binary"].parent, tmp_path / "evaluation")
    metrics = read_metrics(tmp_path / "evaluation")
    assert (metrics["worst_rows"], metrics["skew"]["inputs"]) == ([], {})
    assert [e["input"] for e in metrics["importance"]] == ["delay"]  # the strongest alone
    assert metrics["importance_basis"]["inputs_left_out"] == 1
    texts = [(tmp_path / "evaluation" / n).read_text() for n in ("metrics.json", "report.html")]
    for text in texts:
        assert ".12345" not in text
        assert "2013,1,1" not in text


def shards(examples: Path, split: str) -> list[Shard]:
    """The shards of a split, as the step lists them."""
    listed, first = [], 0
    for file in sorted(examples.glob(f"{split}-*")):
        listed.append(Shard(str(file), first, sha256_of(file)))
        first += pq.read_metadata(file).num_rows
    return listed


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_neither_the_order_nor_the_cut_of_shards_matters_with_weights(
    task: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    # Each row stands twice, so the worst rows are in pairs, and of two shards.
    rows = {s: pa.concat_tables([make_rows(450, task, seed=k)] * 2) for k, s in enumerate(ROWS)}
    three = write_examples(tmp_path / "three", rows, task, cuts=3, weight="weight")
    one = write_examples(tmp_path / "one", rows, task, cuts=1, weight="weight")
    champion = str(export_model(tmp_path / "champion", task, shift=0.3))
    transform, model = make_transform(task, "weight"), str(models[task])
    plan = EvaluationPlan(model, transform, ("carrier",), str(tmp_path), champion, report_rows=5)
    train, test = shards(three, "train"), shards(three, "test")
    launch = Launch("evaluate")
    options = {"direct_num_workers": 2, "direct_running_mode": "multi_threading"}
    two = Launch("evaluate", "local", options)
    forward = pipeline.score(plan, train, test, launch, "m")
    backward = pipeline.score(plan, train[::-1], test[::-1], two, "m")
    whole = pipeline.score(plan, shards(one, "train"), shards(one, "test"), launch, "m")
    assert json.dumps(forward) == json.dumps(backward) == json.dumps(whole)
    assert json.dumps(in_process.score(plan, train[::-1], test[::-1])) == json.dumps(whole)
    assert len(forward["worst_rows"]) == 5
    assert forward["champion"]["worse"]["low"] < forward["champion"]["worse"]["high"] < 0
    assert forward["importance"] and forward["dependence"]


def test_without_options_of_beam_its_library_stays_out() -> None:
    code = (
        "import sys, quatrain.components.evaluate.run;"
        "sys.exit(bool({'tensorflow', 'apache_beam'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_broken_engineered_column_is_caught_as_skew(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    def swap(engineered: dict[str, np.ndarray]) -> None:
        carrier = engineered["carrier"]
        engineered["carrier"] = np.where(carrier == 3, 2, carrier).astype(np.int32)

    examples = write_examples(tmp_path / "examples", ROWS, damage=swap, spec=SPEC)
    metrics = evaluate_model(SPEC, examples, models["binary"].parent, tmp_path / "evaluation")
    assert metrics["gate"]["passed"] is False
    assert metrics["skew"]["max_difference"] > 0.1
    assert metrics["skew"]["inputs"]["carrier"] == "UA"
    assert metrics["skew"]["column"] == "carrier"


def test_no_importance_is_measured_if_the_spec_says_so(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    spec = make_spec(importance={"rows": 0})
    examples = write_examples(tmp_path / "examples", ROWS, spec=spec)
    metrics = evaluate_model(spec, examples, models["binary"].parent, tmp_path / "evaluation")
    assert (metrics["importance"], metrics["dependence"]) == ([], [])
    assert "Which inputs matter" not in (tmp_path / "evaluation" / "report.html").read_text()


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_other_tasks_are_evaluated_too(
    task: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    rows = {"train": make_rows(600, task), "test": make_rows(400, task, seed=1)}
    spec = make_spec(task, slices=["carrier"])
    examples = write_examples(tmp_path / "examples", rows, task, spec=spec)
    metrics = evaluate_model(spec, examples, models[task].parent, tmp_path / "evaluation")
    assert metrics["gate"]["passed"]
    assert metrics["rows"] == 400


def run_component(tmp_path: Path, spec: str, model: Path) -> tuple[Any, Any]:
    """Runs the doorways as KFP does; returns the recorded metrics and the error of the gate."""
    write_examples(tmp_path / "examples", ROWS, spec=spec)
    scalars, curves = dsl.Metrics(), dsl.ClassificationMetrics()
    trained, evaluation = dsl.Model(uri=str(model)), dsl.Artifact(uri=str(tmp_path / "evaluation"))
    examples = dsl.Dataset(uri=str(tmp_path / "examples"))
    drift = dsl.Artifact(uri=str(tmp_path / "drift"))
    runs = str(tmp_path / "runs")
    compare.python_func(
        spec=spec,
        root=runs,
        project="",
        location="",
        at="",
        scheduled="1970-01-01T00:00:00Z",
        created="2026-12-01T06:00:00Z",
        examples=examples,
        drift=drift,
    )
    measure.python_func(
        spec=spec,
        root=runs,
        run="one",
        created="2026-11-25T10:00:00Z",
        cache_key="",
        template="1" * 64,
        files=1,
        digest="2" * 64,
        runner="local",
        runner_options={},
        project="",
        location="local",
        image="",
        train_image="",
        examples=examples,
        drift=drift,
        model=trained,
        evaluation=evaluation,
        metrics=scalars,
        classification=curves,
        report=dsl.HTML(uri=str(tmp_path / "report")),
        gcp_resources=str(tmp_path / "gcp_resources"),
    )
    error = None
    try:
        gate.python_func(spec, runs, "one", "2026-11-25", examples, evaluation, trained)
    except SystemExit as failed:
        error = failed
    return {**scalars.metadata, **curves.metadata}, error


def test_a_failed_gate_raises_after_everything_is_recorded(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    spec = make_spec(gate={"auc": {"min": 0.99}})
    recorded, error = run_component(tmp_path, spec, models["binary"].parent)
    assert "is below the gate 0.9900; model kept at" in str(error)
    assert read_metrics(tmp_path / "evaluation")["gate"]["passed"] is False
    page = (tmp_path / "evaluation" / "report.html").read_text()
    assert "failed the gate" in page
    assert (tmp_path / "report").read_text() == page
    assert recorded["gate_passed"] == 0.0
    assert recorded["test_rows"] == 700
    assert 0.6 < recorded["auc"] < 0.99
    assert len(recorded["confidenceMetrics"]) > 80
    assert [len(r["row"]) for r in recorded["confusionMatrix"]["rows"]] == [2, 2]
    assert history.earlier_runs(str(tmp_path / "runs"), "hand-made") == {}
    last = history.last_run(str(tmp_path / "runs"), "hand-made")
    assert last is not None and last["run"] == "one"
    assert last["metrics"]["auc"] == pytest.approx(recorded["auc"])
    assert last["data"]["digest"] == "2" * 64 and last["code"]["pipeline"] == "1" * 64


@pytest.mark.parametrize(
    ("n_classes", "count", "is_shown"),
    [(100, 1, True), (101, 1, False), (100, 10**10, False)],
)
def test_a_confusion_matrix_too_large_for_vertex_stays_in_metrics_json(
    n_classes: int, count: int, is_shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = dsl.ClassificationMetrics()
    confusion = [[float(count)] * n_classes] * n_classes
    metrics = {
        "metrics": {},
        "rows": 1,
        "gate": {"passed": True},
        "warnings": [],
        "curves": {"confusion": confusion},
        "classes": [f"class {i}" for i in range(n_classes)],
    }
    record(metrics, dsl.Metrics(), curves)
    assert ("confusionMatrix" in curves.metadata) == is_shown
    assert len(json.dumps(curves.metadata)) < 131_072
    assert ("it is in metrics.json" in capsys.readouterr().out) != is_shown


def test_a_passed_gate_raises_nothing_and_records_the_run_for_later_ones(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    recorded, error = run_component(tmp_path, SPEC, models["binary"].parent)
    assert error is None
    assert recorded["gate_passed"] == 1.0
    runs = history.earlier_runs(str(tmp_path / "runs"), "hand-made")
    assert {role: r["run"] for role, r in runs.items()} == {"previous": "one", "champion": "one"}
    assert runs["previous"]["model"] == str(models["binary"].parent)
    assert runs["champion"]["model"] == str(tmp_path / "runs/hand-made/versions/one")
    assert runs["champion"]["split"]["keys"] == ["day"]
    assert runs["champion"]["metadata"] == sha256_of(models["binary"] / "metadata.json")


def copied(tmp_path: Path, models: dict[str, Path]) -> tuple[Path, Path]:
    """Fresh examples and a copy of the binary model to damage."""
    examples = write_examples(tmp_path / "examples", ROWS, spec=SPEC)
    shutil.copytree(models["binary"].parent, tmp_path / "trained")
    return examples, tmp_path / "trained"


@pytest.mark.parametrize("absent", ["examples/manifest.json", "trained/model/metadata.json"])
def test_an_artifact_without_its_manifest_counts_as_missing(
    absent: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    examples, model = copied(tmp_path, models)
    (tmp_path / absent).unlink()
    with pytest.raises(ArtifactError, match="is not a complete artifact"):
        evaluate_model(SPEC, examples, model, tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def test_a_model_of_another_transform_is_refused(tmp_path: Path, models: dict[str, Path]) -> None:
    examples, model = copied(tmp_path, models)
    with (examples / "transform.json").open("a") as file:
        file.write("\n")
    with pytest.raises(ArtifactError, match="evaluate the model on the examples it was trained on"):
        evaluate_model(SPEC, examples, model, tmp_path / "evaluation")


def test_an_altered_model_file_is_refused(tmp_path: Path, models: dict[str, Path]) -> None:
    examples, model = copied(tmp_path, models)
    with (model / "model" / "saved_model.pb").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match=r"saved_model\.pb is not the file that was exported"):
        evaluate_model(SPEC, examples, model, tmp_path / "evaluation")


def test_a_lost_shard_is_an_error(tmp_path: Path, models: dict[str, Path]) -> None:
    examples, model = copied(tmp_path, models)
    (examples / "test-00001-of-00002.parquet").unlink()
    with pytest.raises(
        ArtifactError, match=r"test-00001-of-00002\.parquet is in manifest.json but not there"
    ):
        evaluate_model(SPEC, examples, model, tmp_path / "evaluation")


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_altered_shard_is_an_error_in_one_sentence(
    split: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    examples, model = copied(tmp_path, models)
    shard = examples / f"{split}-00001-of-00002.parquet"
    table = pq.read_table(shard)
    pq.write_table(table.set_column(0, "delay", table["delay"].combine_chunks()[::-1]), shard)
    with pytest.raises(
        ArtifactError, match=rf"^.*{shard.name} is not the file that was written.*--no-cache"
    ):
        evaluate_model(SPEC, examples, model, tmp_path / "evaluation")


def test_an_error_of_a_worker_is_one_sentence(tmp_path: Path, models: dict[str, Path]) -> None:
    rows = {**ROWS, "test": ROWS["test"].slice(0, 0)}
    examples = write_examples(tmp_path / "examples", rows, spec=SPEC)
    with pytest.raises(
        DataError, match=r"^the test split has no rows; make its share in `split` larger$"
    ):
        evaluate_model(SPEC, examples, models["binary"].parent, tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()
