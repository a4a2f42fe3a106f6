"""A verdict of a model that is hardly better than nothing says so."""

from __future__ import annotations

from typing import Any

from quatrain.components.evaluate.cautions import cautions
from quatrain.components.specification.schema import Limit

LIMIT = Limit(warn=0.01, fail=0.05)


def measured(model: float, high: float, prior: float, alone: float, confusion: Any) -> Any:
    return {
        "task": "binary",
        "champion": None,
        "metrics": {"log_loss": {"value": model, "low": 0.1, "high": high}},
        "baseline": {
            "trivial": {"log_loss": {"value": prior}},
            "single_input": {"input": "plan", "metrics": {"log_loss": {"value": alone}}},
        },
        "curves": {"confusion": confusion},
    }


def test_a_model_that_is_surely_better_has_no_caution() -> None:
    found = measured(0.3, 0.31, 0.55, 0.4, [[80.0, 5.0], [4.0, 11.0]])
    assert cautions(found, ("no", "yes"), LIMIT) == []


def test_a_model_within_chance_of_the_prior_is_told() -> None:
    found = measured(0.54, 0.56, 0.55, 0.6, [[80.0, 5.0], [4.0, 11.0]])
    assert cautions(found, ("no", "yes"), LIMIT) == [
        "log_loss=0.5400 is hardly below 0.5500, that of always predicting the train share of each "
        "class: its 95 % interval reaches 0.5600"
    ]


def test_an_input_that_is_better_alone_is_told() -> None:
    found = measured(0.3, 0.31, 0.55, 0.29, [[80.0, 5.0], [4.0, 11.0]])
    assert cautions(found, ("no", "yes"), LIMIT) == [
        "the input 'plan' alone has log_loss=0.2900, the model 0.3000"
    ]


def test_a_class_that_is_never_predicted_is_told() -> None:
    found = measured(0.3, 0.31, 0.55, 0.4, [[80.0, 0.0], [1200.0, 0.0]])
    assert cautions(found, ("no", "yes"), LIMIT) == [
        "no test row is predicted 'yes', which 1,200 are: use the probabilities, and a threshold "
        "of your own"
    ]


def test_a_loss_that_cannot_be_told_has_no_caution_of_its_own() -> None:
    found = measured(0.3, 0.31, 0.55, 0.2, [[80.0, 5.0], [4.0, 11.0]])
    found["metrics"]["log_loss"] = {"value": None, "low": None, "high": None}
    assert cautions(found, ("no", "yes"), LIMIT) == []
