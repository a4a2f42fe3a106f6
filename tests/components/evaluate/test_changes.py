"""What a run tells of its differences from the last one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quatrain.components import history
from quatrain.components.evaluate.changes import FIRST, in_words, record_of, since_last_run

SPEC = {
    "train": {"epochs": 10, "config": [1, 2]},
    "columns": {"x": "float"},
    "features": [{"name": "hour", "from": "made", "transform": "cyclic", "part": "hour"}],
}


def metrics(**changed: Any) -> dict[str, Any]:
    run = {"id": "one", "created": "2026-12-01T10:00:00Z", "rows": {"read": 900, "test": 90}}
    run |= {"code": {"quatrain": "0.2.0", "trainer": "a" * 64}, "data": {"files": 1}}
    return {"run": {**run, **changed}, "metrics": {"auc": {"value": 0.75}, "f1": {"value": None}}}


def words(root: Path, now: dict[str, Any]) -> list[str]:
    found = since_last_run(str(root), "m", now)
    return [in_words(change) for section in ("spec", "rows", "code") for change in found[section]]


def recorded(root: Path) -> None:
    history.record_last(str(root), "m", record_of(SPEC, metrics()))


def test_changed_keys_of_the_spec_are_named_and_features_added_or_removed(tmp_path: Path) -> None:
    recorded(tmp_path)
    size = {"name": "size", "from": "x", "transform": "clip", "min": 0}
    spec = {
        "train": {"epochs": 20, "config": [1]},
        "columns": {"x": "int", "flag": "bool"},
        "features": [size],
    }
    assert words(tmp_path, record_of(spec, metrics())) == [
        "train.epochs: 10 -> 20",
        "train.config: [1, 2] -> [1]",
        "columns.x: float -> int",
        "columns.flag: added (bool)",
        "features.hour: removed ({from: made, transform: cyclic, part: hour})",
        "features.size: added ({from: x, transform: clip, min: 0})",
    ]


def test_a_0_that_the_trainer_replaces_is_named_automatic(tmp_path: Path) -> None:
    recorded(tmp_path)
    spec = {**SPEC, "train": {"epochs": 0, "config": [1, 2]}}
    assert words(tmp_path, record_of(spec, metrics())) == ["train.epochs: 10 -> 0 (automatic)"]


def test_rows_and_code_that_changed_are_shown_before_and_now(tmp_path: Path) -> None:
    recorded(tmp_path)
    now = record_of(
        SPEC,
        metrics(rows={"read": 1900, "test": 90}, code={"quatrain": "0.2.0", "trainer": "b" * 64}),
    )
    assert words(tmp_path, now) == ["read: 900 -> 1,900", "trainer: aaaaaaaaaaaa -> bbbbbbbbbbbb"]


def test_the_same_run_has_no_changes(tmp_path: Path) -> None:
    recorded(tmp_path)
    found = since_last_run(str(tmp_path), "m", record_of(SPEC, metrics()))
    assert found == {
        "run": "one",
        "made": "2026-12-01T10:00:00Z",
        "why": "",
        **{section: [] for section in ("spec", "rows", "data", "code", "metrics")},
    }


def test_a_metric_without_a_value_has_changed_when_it_gets_one(tmp_path: Path) -> None:
    recorded(tmp_path)
    now = metrics()
    now["metrics"] = {"auc": {"value": 0.5}, "f1": {"value": 0.25}}
    assert since_last_run(str(tmp_path), "m", record_of(SPEC, now))["metrics"] == [
        {"what": "auc", "before": 0.75, "now": 0.5},
        {"what": "f1", "before": None, "now": 0.25},
    ]


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [
        (0.31086, 0.31094, False),
        (0.9990, 0.9999, True),
        (0.00012, 0.000121, True),
        (0.0, 0.0, False),
    ],
)
def test_a_metric_that_shows_the_same_decimals_has_not_changed(
    tmp_path: Path, before: float, now: float, changed: bool
) -> None:
    first, second = metrics(), metrics()
    first["metrics"] = {"log_loss": {"value": before}}
    second["metrics"] = {"log_loss": {"value": now}}
    history.record_last(str(tmp_path), "m", record_of(SPEC, first))
    found = since_last_run(str(tmp_path), "m", record_of(SPEC, second))
    assert bool(found["metrics"]) is changed


def test_the_first_run_says_so(tmp_path: Path) -> None:
    now = record_of(SPEC, metrics())
    assert since_last_run(str(tmp_path), "m", now)["why"] == FIRST
    assert since_last_run("", "m", now)["why"] == FIRST


def test_a_damaged_record_stops_no_run_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m/statistics/last.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"run": "one"}))
    why = since_last_run(str(tmp_path), "m", record_of(SPEC, metrics()))["why"]
    assert why == (
        f"{path}, the record of the last run, is damaged ('made' is absent or of another type); "
        f"remove it to go on without it"
    )
