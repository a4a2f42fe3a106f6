from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from quatrain.components.errors import GateFailed
from quatrain.components.evaluate.gate import check_gate, require_passed, verdict_of


def measured(**changes: Any) -> dict[str, Any]:
    values = {"auc": 0.8975, "log_loss": 0.3, "accuracy": None}
    return {
        "task": "binary",
        "rows": 33_000,
        "metrics": {k: {"value": v, "low": None, "high": None} for k, v in values.items()},
        "baseline": {"trivial": {"log_loss": {"value": 0.55}}},
        "champion": None,
        "opponent": {"why": "there is no sample"},
        "skew": {"rows": 33_000, "max_difference": 3e-8, "row": 4, "column": "", "inputs": {}},
        **changes,
    }


def sentences(gate: dict[str, Any]) -> list[str]:
    return [c["sentence"] for c in gate["checks"] if not c["passed"]]


def test_a_model_within_its_bounds_passes() -> None:
    gate = check_gate(measured(), {"auc": {"min": 0.8975}, "log_loss": {"max": 0.3}}, 1e-4)
    assert gate["passed"]
    assert [c["metric"] for c in gate["checks"]] == ["auc", "log_loss", "log_loss", "skew"]
    high = check_gate(measured(), {"auc": {"min": 0.8, "max": 0.9}}, 1e-4)["checks"]
    assert [c["sentence"] for c in high[:2]] == [
        "auc=0.8975 on 33,000 test rows is at least 0.8000, as the gate requires",
        "auc=0.8975 on 33,000 test rows is at most 0.9000, as the gate requires",
    ]
    require_passed({"gate": gate}, "gs://b/model")


def test_a_missed_bound_shows_the_number_the_bound_and_the_rows() -> None:
    gate = check_gate(measured(), {"auc": {"min": 0.9, "max": None}}, 1e-4)
    assert sentences(gate) == ["auc=0.8975 on 33,000 test rows is below the gate 0.9000"]
    with pytest.raises(GateFailed) as error:
        require_passed({"gate": gate}, "gs://b/model")
    assert str(error.value) == (
        "auc=0.8975 on 33,000 test rows is below the gate 0.9000; "
        "model kept at gs://b/model, not promoted"
    )


def test_numbers_that_round_alike_are_shown_apart() -> None:
    gate = check_gate(measured(), {"auc": {"min": 0.89751}}, 1e-4)
    assert sentences(gate) == ["auc=0.89750 on 33,000 test rows is below the gate 0.89751"]


def test_a_model_must_beat_the_prior_even_without_a_bound() -> None:
    gate = check_gate(measured(baseline={"trivial": {"log_loss": {"value": 0.29}}}), {}, 1e-4)
    assert sentences(gate) == [
        "log_loss=0.3000 on 33,000 test rows is not below 0.2900, "
        "that of always predicting the train share of each class"
    ]


def test_skew_fails_the_gate_and_its_place_is_named() -> None:
    skew = {"rows": 9, "max_difference": 0.31, "row": 4, "column": "carrier", "inputs": {}}
    gate = check_gate(measured(skew=skew), {}, 1e-4)
    assert sentences(gate) == [
        "skew=0.31 on 9 test rows is above the tolerance 0.0001: raw rows through the serving "
        "signature and engineered rows differ most at test row 4, where column 'carrier' is "
        "engineered otherwise"
    ]


def test_a_metric_that_cannot_be_computed_misses_its_bound() -> None:
    gate = check_gate(measured(), {"accuracy": {"min": 0.1}}, 1e-4)
    assert sentences(gate) == [
        "accuracy cannot be computed on 33,000 test rows (a class is absent)"
    ]
    without = {**measured(), "metrics": {**measured()["metrics"], "precision": {"value": None}}}
    assert sentences(check_gate(without, {"precision": {"min": 0.1}}, 1e-4)) == [
        "precision cannot be computed on 33,000 test rows (none is predicted positive)"
    ]


def test_labels_that_are_all_the_same_have_no_r2_to_meet_a_bound_by() -> None:
    metrics = {"rmse": {"value": 0.5}, "r2": {"value": None}}
    baseline = {"trivial": {"rmse": {"value": 0.9}}}
    constant = measured(task="regression", metrics=metrics, baseline=baseline)
    assert sentences(check_gate(constant, {"r2": {"min": 0.1}}, 1e-4)) == [
        "r2 cannot be computed on 33,000 test rows (their labels are all the same)"
    ]


def test_checking_a_spec_costs_neither_tensorflow_nor_beam() -> None:
    code = (
        "import sys, quatrain.validation.load, quatrain.components.evaluate.gate;"
        "sys.exit(bool({'tensorflow', 'apache_beam'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("passed", "warnings", "words"),
    [
        (True, 0, "passed"),
        (True, 1, "passed, with 1 warning"),
        (False, 2, "failed, with 2 warnings"),
    ],
)
def test_the_verdict_counts_the_warnings(passed: bool, warnings: int, words: str) -> None:
    assert verdict_of({"gate": {"passed": passed}, "warnings": [{}] * warnings}) == words


def against_trees(low: float, value: float = 0.2, **changes: Any) -> dict[str, Any]:
    opponent = {
        "why": "",
        "metrics": {"log_loss": {"value": 0.25}},
        "worse": {"value": value, "low": low, "high": 2 * value - low},
    }
    return measured(**{"opponent": opponent, **changes})


def opponent_check(changed: dict[str, Any], fail: float | None = 0.0) -> dict[str, Any]:
    gate = check_gate(changed, {}, 1e-4, None, fail)
    return next(c for c in gate["checks"] if c["metric"] == "opponent")


def test_a_model_that_loses_to_trees_on_the_raw_columns_fails_and_learns_where_to_look() -> None:
    check = opponent_check(against_trees(0.1))
    assert not check["passed"]
    assert check["sentence"] == (
        "log_loss=0.3000 on 33,000 test rows is 20.0% worse than 0.2500 of boosted trees on the "
        "raw columns (+10.0% to +30.0%), beyond chance; look for columns that no feature reads, "
        "features that merge or drop values, and a training that ended early"
    )


def test_a_model_that_trees_beat_by_chance_alone_or_within_the_share_passes() -> None:
    assert opponent_check(against_trees(-0.01))["passed"]
    assert opponent_check(against_trees(0.1), fail=0.15)["passed"]
    assert not opponent_check(against_trees(0.1), fail=0.05)["passed"]


def test_few_test_rows_are_no_proof_against_a_model() -> None:
    check = opponent_check(against_trees(0.1, rows=99))
    assert check["passed"] and check["sentence"].endswith("too few rows to fail by")
    assert not opponent_check(against_trees(0.1, rows=100))["passed"]


def test_the_gate_says_why_there_are_no_trees_to_compare_with() -> None:
    check = opponent_check(measured())
    assert check["passed"] and check["rows"] == 0
    assert check["sentence"] == "not compared with boosted trees: there is no sample"


def test_without_a_bound_the_opponent_is_no_check() -> None:
    checks = check_gate(against_trees(0.1), {}, 1e-4)["checks"]
    assert "opponent" not in [c["metric"] for c in checks]
