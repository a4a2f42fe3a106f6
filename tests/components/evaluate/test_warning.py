"""Each kind of warning, from a small document that was measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.evaluate.warning import KINDS, Evidence, run_warnings
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.schema import ModelSpec
from tests.components.handmade import make_spec

BOUND = {"log_loss": {"max": 0.5}}
BALANCED = [[800.0, 50.0], [40.0, 110.0]]


def spec(task: str = "binary", **settings: Any) -> ModelSpec:
    return read_parameter(make_spec(task, **{"gate": BOUND, **settings}))


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Any:
    return {"value": value, "low": low, "high": high}


def classified(
    loss: float | None = 0.3,
    worse: float = -0.4,
    alone: float = 0.4,
    confusion: list[list[float]] = BALANCED,
    **changes: Any,
) -> dict[str, Any]:
    """A binary model that is clearly better than the prior, .55, unless the arguments say else."""
    prior = {"log_loss": estimate(0.55), "accuracy": estimate(0.85), "precision": estimate(None)}
    return {
        "task": "binary",
        "rows": 1000,
        "champion": None,
        "opponent": {
            "why": "",
            "metrics": {"log_loss": estimate(0.35)},
            "worse": estimate(-0.1, -0.2, -0.05),
        },
        "metrics": {"log_loss": estimate(loss, 0.28, 0.32)},
        "baseline": {
            "trivial": prior,
            "worse": estimate(None if loss is None else loss / 0.55 - 1, -0.5, worse),
            "single_input": {
                "input": "plan",
                "from": ["plan"],
                "metrics": {"log_loss": estimate(alone)},
            },
        },
        "curves": {"confusion": confusion},
        **changes,
    }


def regressed(error: tuple[float, float, float]) -> dict[str, Any]:
    metrics = {"rmse": estimate(0.9, 0.8, 1.0), "mae": estimate(0.7, 0.6, 0.8)}
    return classified(
        task="regression",
        metrics={**metrics, "mean_error": estimate(*error)},
        baseline={
            "trivial": {"rmse": estimate(2.0)},
            "worse": estimate(-0.55, -0.6, -0.5),
            "single_input": {"input": "plan", "from": ["plan"], "metrics": {"rmse": estimate(1.5)}},
        },
        curves={},
    )


def warned(
    measured: dict[str, Any],
    model: ModelSpec | None = None,
    classes: tuple[str, ...] = ("no", "yes"),
    warnings: tuple[str, ...] = (),
    **evidence: Any,
) -> list[tuple[str, str]]:
    """The kind and sentence of each warning."""
    statistics = {"audit": evidence.pop("audit", []), "splits": evidence.pop("splits", {})}
    manifest = {"warnings": list(warnings)}
    classes = () if measured["task"] == "regression" else classes
    found = run_warnings(
        model or spec(), Evidence(measured, classes, manifest, statistics, **evidence)
    )
    assert all(warning["severity"] == KINDS[warning["kind"]] for warning in found)
    return [(warning["kind"], warning["sentence"]) for warning in found]


def test_a_clearly_better_model_has_no_warning() -> None:
    assert warned(classified()) == []
    assert warned(regressed((0.1, -0.1, 0.3)), spec("regression", gate={"rmse": {"max": 1}})) == []


def test_a_model_within_chance_of_the_prior_has_no_gain() -> None:
    assert warned(classified(loss=0.54, worse=0.01, alone=0.6)) == [
        (
            "no_gain",
            "log_loss=0.5400 is hardly below 0.5500, that of always predicting the train share of "
            "each class: on the same rows the difference is -1.8% (-50.0% to +1.0%)",
        )
    ]


def test_rows_that_show_the_gain_take_the_warning_back() -> None:
    # The interval of the loss alone reaches beyond the prior, that of the differences does not.
    measured = classified(loss=0.53, worse=-0.01, alone=0.6)
    measured["metrics"]["log_loss"]["high"] = 0.6
    assert warned(measured) == []


@pytest.mark.parametrize(("alone", "kind"), [(0.27, "single_input"), (0.29, "close_input")])
def test_an_input_that_beats_the_model_is_told(alone: float, kind: str) -> None:
    # Within the interval of the model, .28 to .32, other rows may reverse the order.
    sentence = f"the input 'plan' alone has log_loss={alone:.4f}, the model 0.3000"
    assert warned(classified(alone=alone)) == [(kind, sentence)]


def test_an_engineered_column_that_beats_the_model_is_told_with_its_input() -> None:
    measured = classified(alone=0.27)
    measured["baseline"]["single_input"] |= {"input": "term_32", "from": ["term"]}
    [(_, sentence)] = warned(measured)
    assert sentence.startswith("the column 'term_32' that is made of 'term' alone has log_loss")


def test_a_class_that_is_never_predicted_is_told() -> None:
    assert warned(classified(confusion=[[800.0, 0.0], [200.0, 0.0]])) == [
        (
            "never_predicted",
            "no test row is predicted 'yes', which 200 are: use the probabilities, and a threshold "
            "of your own",
        )
    ]


def test_classes_that_are_rare_or_never_predicted_are_named_together() -> None:
    confusion = [[900.0, 0.0, 0.0], [80.0, 0.0, 0.0], [4.0, 0.0, 0.0]]
    found = warned(classified(task="multiclass", confusion=confusion), classes=("a", "b", "c"))
    assert found == [
        (
            "never_predicted",
            "2 of the 3 classes are never predicted ('b', 'c'), though 84 test rows have them: use "
            "the probabilities, and a threshold of your own",
        ),
        (
            "rare_class",
            "1 of the 3 classes has fewer than 10 test rows ('c'): recall and precision say little "
            "there",
        ),
    ]


def test_a_loss_that_cannot_be_computed_has_no_warning() -> None:
    assert warned(classified(loss=None, alone=0.2)) == []


def test_few_test_rows_are_told() -> None:
    mend = "make the test share of `split` larger, or bring more rows"
    assert warned(classified(rows=11, confusion=[[5.0, 1.0], [1.0, 4.0]])) == [
        ("few_rows", f"11 test rows are few: other rows could turn the verdict; {mend}")
    ]
    assert warned(classified(confusion=[[990.0, 7.0], [1.0, 2.0]])) == [
        (
            "few_rows",
            f"only 3 of 1,000 test rows are 'yes': recall, precision and AUC say little; {mend}",
        )
    ]


def test_a_mean_error_beyond_chance_is_told_and_serious_if_it_is_large() -> None:
    model = spec("regression", gate={"rmse": {"max": 1}})
    assert warned(regressed((-0.45, -0.52, -0.38)), model) == [
        (
            "bias",
            "the predictions are too low on average: mean_error=-0.4500 (-0.5200 to -0.3800), "
            "where the mean absolute error is 0.7000",
        )
    ]
    ((kind, sentence),) = warned(regressed((0.02, 0.01, 0.03)), model)
    assert kind == "small_bias"
    assert sentence.startswith("the predictions are too high on average: mean_error=0.0200")


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        ({}, "`evaluate.gate` has no bound"),
        (
            {"accuracy": {"min": 0.8}, "log_loss": {"max": 9.0}},
            "always predicting the train share of each class meets every bound of it",
        ),
    ],
)
def test_a_gate_that_asks_for_nothing_is_told(gate: dict[str, Any], why: str) -> None:
    assert warned(classified(), spec(gate=gate)) == [
        (
            "empty_gate",
            f"the gate asks for nothing: {why}; write a bound that a good model reaches, such as "
            f"log_loss: {{max: 0.5}}",
        )
    ]


def test_a_bound_that_the_prior_misses_asks_for_something() -> None:
    assert warned(classified(), spec(gate={"accuracy": {"min": 0.86}})) == []
    # The prior predicts no positive, so it has no precision to meet a bound by.
    assert warned(classified(), spec(gate={"precision": {"min": 0.1}})) == []


def test_a_champion_that_was_not_compared_is_told() -> None:
    champion = {"run": "run-7", "why": "its model is gone"}
    sentence = (
        "not compared with the champion, run run-7: its model is gone, so this model is held and "
        "the champion stays"
    )
    assert warned(classified(champion=champion)) == [("not_compared", sentence)]


@pytest.mark.parametrize(
    ("low", "high", "is_told"), [(-0.02, 0.005, False), (0.02, 0.1, True), (0.06, 0.1, False)]
)
def test_a_model_that_is_held_is_told(low: float, high: float, is_told: bool) -> None:
    # Above `fail` it is a check of the gate that tells it.
    worse = estimate((low + high) / 2, low, high)
    champion = {"run": "a", "why": "", "worse": worse, "metrics": {"log_loss": estimate(0.28)}}
    model = spec(champion={"warn": 0.01, "fail": 0.05})
    kinds = [kind for kind, _ in warned(classified(champion=champion), model)]
    assert kinds == ["champion"] * is_told


def lost(low: float) -> dict[str, Any]:
    trees = {"metrics": {"log_loss": estimate(0.25)}, "worse": estimate(0.2, low, 0.4 - low)}
    return classified(opponent={"why": "", **trees})


def test_a_model_worse_than_boosted_trees_beyond_chance_is_flagged_unless_the_gate_fails() -> None:
    (warning,) = warned(lost(0.1))
    assert warning[0] == "opponent" and "20.0% worse than 0.2500 of boosted trees" in warning[1]
    assert warned(lost(-0.1)) == []
    assert warned(lost(0.1), spec(opponent={"fail": 0})) == []
    assert warned(lost(0.1), spec(opponent={})) == []


def test_an_opponent_that_could_not_be_fitted_is_a_minor_warning() -> None:
    (warning,) = warned(classified(opponent={"why": "LightGBM is not installed"}))
    assert warning == ("no_opponent", "not compared with boosted trees: LightGBM is not installed")


def test_findings_of_the_audit_and_warnings_of_preprocess_are_told_once() -> None:
    checks = {
        "sizes": "the sizes are odd",
        "identical_rows": "rows stand in two splits",
        "predictors": "plan gives it away",
    }
    audit = [{"check": c, "verdict": "finding", "sentence": s} for c, s in checks.items()]
    audit.append({"check": "keys", "verdict": "passed", "sentence": "no key stands in two splits"})
    warnings = ("column 'n' has one value", *checks.values())
    assert warned(classified(), audit=audit, warnings=warnings) == [
        ("leak", "plan gives it away"),
        ("shared_rows", "rows stand in two splits"),
        ("sizes", "the sizes are odd"),
        ("rows", "column 'n' has one value"),
    ]


def drifted(*moved: tuple[str, str, float], verdict: str = "warn") -> dict[str, Any]:
    columns = [
        {
            "column": column,
            "label": column == "late",
            "checks": [
                {
                    "measure": measure,
                    "value": value,
                    "noise": 0.1,
                    "verdict": verdict,
                    "sentence": f"{column}: {measure}={value} is above its limit",
                }
            ],
        }
        for column, measure, value in moved
    ]
    return {
        "comparisons": [{"against": ["previous", "champion"], "checks": [], "columns": columns}]
    }


def test_drift_is_told_in_the_words_of_the_log_the_label_first_then_the_furthest() -> None:
    drift = drifted(("x", "missing", 0.2), ("y", "psi", 0.5), ("late", "label", 0.15))
    assert warned(classified(), drift=drift) == [
        ("drift", f"against the last successful run, {words} is above its limit")
        for words in ("late: label=0.15", "y: psi=0.5", "x: missing=0.2")
    ]
    for verdict in ("passed", "chance"):
        assert warned(classified(), drift=drifted(("x", "psi", 0.3), verdict=verdict)) == []


def times(last: str, column: str = "day") -> dict[str, Any]:
    ends = {"train": ["2010-01-01T00:00:00", "2013-01-01T00:00:00"], "test": ["2013-01-01", last]}
    numbers = {"column": column, "splits": ends}
    return {"check": "time_order", "verdict": "passed", "sentence": "in order", "numbers": numbers}


def test_times_beyond_the_day_of_the_run_are_told() -> None:
    now, far = "2026-12-01T21:00:00+00:00", "2046-06-14T00:00:00"
    words = "the times in 'day' reach 2046-06-14, beyond the day of this run, 2026-12-01"
    mend = "; where they are wrong, correct or reject them"
    assert warned(classified(), audit=[times(far)], created=now) == [("future_times", words + mend)]
    split = {"by": "time", "column": "day", "validation_from": "2012-01-01"}
    by_time = read_parameter(
        make_spec(split={**split, "test_from": "2013-01-01"}, day="timestamp", gate=BOUND)
    )
    assert warned(classified(), by_time, audit=[times(far)], created=now) == [
        ("future_rows", f"{words}, and by this time the last rows are the test rows{mend}")
    ]
    # Without a zone, a time may be ahead of UTC by some hours.
    assert warned(classified(), audit=[times("2026-12-02T12:00:00")], created=now) == []
    assert warned(classified(), audit=[times(far)]) == []


def test_the_times_of_an_input_are_looked_at_in_any_split() -> None:
    column = {"type": "date", "max": 4102444800.0}  # 2100-01-01
    splits = {"test": {"columns": {"made": column, "n": {"type": "int", "max": 10**12}}}}
    ((kind, sentence),) = warned(classified(), splits=splits, created="2026-12-01T21:00:00Z")
    assert kind == "future_times"
    assert sentence.startswith("the times in 'made' reach 2100-01-01")


def test_the_most_harmful_come_first() -> None:
    measured = classified(loss=0.54, worse=0.01, alone=0.2, rows=50, confusion=[[40, 0], [10, 0]])
    found = warned(
        measured,
        spec(gate={}),
        warnings=("odd",),
        audit=[
            {"check": "predictors", "verdict": "finding", "sentence": "leak"},
            times("2099-01-01"),
        ],
        drift=drifted(("x", "psi", 0.5)),
        created="2026-12-01T21:00:00Z",
    )
    kinds = [kind for kind, _ in found]
    assert kinds == [kind for kind in KINDS if kind in kinds]
    assert kinds[0] == "few_rows" and kinds[-1] == "rows"
    assert len(kinds) == 8


def test_the_page_on_operations_explains_every_kind_in_their_order() -> None:
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    section = page.split("## Warnings")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \| (\w+) \|", section, flags=re.M) == list(KINDS.items())
