"""Every measured run leaves a record below the root, whether it passed its gate or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.artifacts import write_json
from quatrain.components.errors import GateFailed
from quatrain.components.evaluate.champion import settle
from quatrain.components.specification.parameter import read_parameter
from tests.components.handmade import make_spec

DECIDED = {"decision": "fail", "why": "", "rows_to_decide": None}
SPEC = read_parameter(make_spec())


def metrics(run: str) -> dict[str, Any]:
    check = {"metric": "auc", "passed": False, "sentence": "auc=0.7000 is below the gate 0.8000"}
    identity = {"id": run, "created": "2026-12-01T10:00:00Z", "rows": {"read": 900}}
    return {
        "version": 2,
        "name": "m",
        "task": "binary",
        "label": "late",
        "rows": 90,
        "run": {**identity, "data": {"files": 1}, "code": {"trainer": "a" * 64}},
        "metrics": {"auc": {"value": 0.7, "low": 0.6, "high": 0.8}},
        "gate": {"passed": False, "checks": [check], **DECIDED},
        "warnings": [{"kind": "leak", "sentence": "column x tells the label", "severity": "s"}],
        "changes": {"run": "", "made": "", "why": "first"},
        "curves": {"roc": [0.0] * 1000},
        "made_by": {"split": {}, "metadata": ""},
    }


def fail_the_gate(folder: Path, run: str) -> dict[str, Any]:
    """Lets the gate fail a run, and returns the record of the run."""
    write_json(folder / run / "metrics.json", metrics(run))
    places = ("gs://b/examples", str(folder / run), "gs://b/model")
    with pytest.raises(GateFailed):
        settle(SPEC, str(folder / "root"), run, "2026-12-01T10:00:00Z", *places)
    return dict(json.loads((folder / f"root/m/statistics/runs/{run}.json").read_text()))


def test_a_run_that_failed_its_gate_is_recorded_with_why(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    record = fail_the_gate(tmp_path, "one")
    assert record["run"] == "one"
    assert record["gate"] == {
        "passed": False,
        "failed": {"auc": "auc=0.7000 is below the gate 0.8000"},
        **DECIDED,
    }
    assert record["metrics"]["auc"] == {"value": 0.7, "low": 0.6, "high": 0.8}
    assert (record["rows"], record["test_rows"]) == ({"read": 900}, 90)
    assert record["warnings"] == ["column x tells the label"]
    assert record["spec"] == SPEC.as_document()
    assert record["artifacts"]["evaluation"] == str(tmp_path / "one")
    assert "curves" not in record


def test_the_records_of_two_runs_stay_side_by_side(tmp_path: Path) -> None:
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        fail_the_gate(tmp_path, run)
    names = {path.name for path in (tmp_path / "root/m/statistics/runs").iterdir()}
    assert names == {"one.json", "two.json"}
