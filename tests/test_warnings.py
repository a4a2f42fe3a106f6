"""A column that has tripled gets the same warning wherever people look."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from quatrain.components.evaluate.champion import settle
from quatrain.components.evaluate.run import evaluate_model
from quatrain.components.evaluate.this_run import ThisRun
from quatrain.components.preprocess.drift.check import check_drift
from quatrain.components.preprocess.summary.statistics_document import comparable
from quatrain.components.specification.parameter import read_parameter
from quatrain.terminal.printouts import run_details
from quatrain.terminal.verdict import MAX_WARNINGS, last_lines
from quatrain.trainer.features import Input, raw_inputs
from quatrain.trainer.features.statistics import TableStatistics
from tests.components.handmade import INPUTS, export_model, make_rows, make_spec, write_examples

SPECS = [make_spec(gate={"auc": {"min": 0.55}}), make_spec(gate={"auc": {"min": 0.6}})]
COLUMNS = (*INPUTS, Input("late", "bool"))


def kept(rows: pa.Table) -> dict[str, Any]:
    """The statistics of rows that a later run compares with its own."""
    columns = raw_inputs(rows, INPUTS) | {"late": rows["label"].to_numpy().astype(float)}
    table = TableStatistics.of(columns, rows.num_rows)
    return comparable(table, read_parameter(SPECS[0]), COLUMNS)


def tripled(rows: pa.Table) -> pa.Table:
    """The same rows with three times the delay."""
    delay = pc.multiply(rows["delay"], 3)
    return rows.set_column(rows.column_names.index("delay"), "delay", delay)


def measure(folder: Path, name: str, spec: str, rows: dict[str, pa.Table]) -> Path:
    """What the steps after a training leave in the folder of a run."""
    run, root = folder / "runs/hand-made" / name, str(folder / "runs")
    trained = run / "trained"
    export_model(trained / "model")
    statistics = kept(pa.concat_tables(rows.values()))
    examples = str(write_examples(run / "examples", rows, spec=spec, kept=statistics))
    check_drift(spec, examples, root, run / "drift")
    this_run = ThisRun(name, f"2026-12-0{name}T10:00:00Z", "a" * 64, 1, "b" * 64)
    out = run / "evaluation"
    evaluate_model(spec, examples, trained, out, drift=run / "drift", root=root, this_run=this_run)
    written = examples, str(out), str(trained)
    settle(read_parameter(spec), root, name, this_run.created, *written)
    for path in (out / "metrics.json", out / "report.html", run / "drift/drift.json"):
        (run / path.name).symlink_to(path)
    record = {"id": name, "name": "hand-made", "status": "succeeded", "error": "", "wall_s": 1.0}
    (run / "run.json").write_text(json.dumps({**record, "steps": []}))
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run, and one whose train rows have delays that are three times as long."""
    folder = tmp_path_factory.mktemp("tripled")
    rows = {"train": make_rows(900), "test": make_rows(700, seed=1)}
    first = measure(folder, "1", SPECS[0], rows)
    second = {"train": tripled(rows["train"]), "test": make_rows(700, seed=2)}
    return [first, measure(folder, "2", SPECS[1], second)]


def metrics_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "metrics.json").read_text()))


def test_a_first_run_has_no_drift_and_nothing_to_compare_with(runs: list[Path]) -> None:
    metrics = metrics_of(runs[0])
    assert "drift" not in {warning["kind"] for warning in metrics["warnings"]}
    assert "this is the first run of this model that was measured" in run_details(runs[0])
    assert "This is the first run of this model that was measured." in page(runs[0])


def page(run: Path) -> str:
    """The text of the report."""
    text = re.sub(r"<[^>]+>", " ", (run / "report.html").read_text().split("</style>")[1])
    return " ".join(html.unescape(text).split())


def test_drift_is_told_in_the_same_words_everywhere_and_counted(runs: list[Path]) -> None:
    warnings = metrics_of(runs[1])["warnings"]
    drifted = [w["sentence"] for w in warnings if w["kind"] == "drift"]
    measures = {re.search(r", delay: (\w+)=", sentence)[1] for sentence in drifted}  # type: ignore[index]
    assert {"psi", "stddev"} <= measures
    assert all(s.startswith("against the last successful run, ") for s in drifted)
    verdict = f"passed, with {len(warnings)} warnings"
    printed, report, shown = "\n".join(last_lines(runs[1])), run_details(runs[1]), page(runs[1])
    for text in (printed, report, shown):
        places = [text.index(warning["sentence"]) for warning in warnings]
        assert places == sorted(places)
    assert all(printed.count(w["sentence"]) == report.count(w["sentence"]) == 1 for w in warnings)
    assert printed.startswith(f"gate {verdict}\n") and f"\ngate {verdict}\n" in report
    assert f"The model {verdict.replace('passed', 'passed the gate')}" in shown
    assert '<section class="card verdict warned">' in (runs[1] / "report.html").read_text()


def test_a_run_tells_what_has_changed_since_the_last(runs: list[Path]) -> None:
    changes = metrics_of(runs[1])["changes"]
    assert (changes["run"], changes["made"], changes["why"]) == ("1", "2026-12-01T10:00:00Z", "")
    assert changes["spec"] == [{"what": "evaluate.gate.auc.min", "before": 0.55, "now": 0.6}]
    assert (changes["rows"], changes["code"]) == ([], [])
    report = run_details(runs[1]).splitlines()
    place = report.index("since run 1:")
    assert report[place + 1] == "  spec    evaluate.gate.auc.min: 0.55 -> 0.6"
    assert re.match(r"  metrics auc 0\.\d{4} -> 0\.\d{4}, log_loss ", report[place + 2])
    assert "Spec evaluate.gate.auc.min: 0.55 → 0.6" in page(runs[1])


def test_the_last_lines_of_a_run_are_few(tmp_path: Path) -> None:
    warnings = [{"kind": "drift", "severity": "serious", "sentence": str(n)} for n in range(11)]
    metrics = {"gate": {"passed": False}, "warnings": warnings}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert list(last_lines(tmp_path)) == [
        "gate failed, with 11 warnings",
        *(f"  ! {n}" for n in range(MAX_WARNINGS)),
        "  and 3 more warnings in the report",
    ]


def test_a_run_that_ends_before_its_verdict_tells_what_it_knows_of_its_rows(
    runs: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "drift.json").symlink_to(runs[1] / "drift.json")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/manifest.json").write_text('{"warnings": ["column \'n\' has one value"]}')
    first, *others = last_lines(tmp_path)
    assert first == "  ! column 'n' has one value"
    assert [line[4:] for line in others] != [] and all(
        line.startswith("  ! against the last successful run, delay: ") for line in others
    )
    assert list(last_lines(tmp_path / "nowhere")) == []
