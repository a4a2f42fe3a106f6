"""What an explanation may cost, by a model of the cost and never by a clock."""

from __future__ import annotations

from typing import Any

import pytest

from quatrain.components.evaluate.importance.budget import (
    UNKNOWN_US,
    Budget,
    importance_size,
)
from quatrain.components.specification.schema import Importance
from tests.components.handmade import make_transform

SETTINGS = {"members": 8, "hidden_units": [128, 128], "embedding_size": 8, "rounds": 1000}


def metadata(*parts: str, steps: int = 300, **settings: Any) -> dict[str, Any]:
    """The part of metadata.json that says what a model is made of."""
    shares = {part: 1 / len(parts) for part in parts}
    return {
        "model": {"shares": shares},
        "steps": steps,
        "hyperparameters": {**SETTINGS, **settings},
    }


@pytest.mark.parametrize(
    ("affordable", "n_inputs", "n_rows", "expected"),
    [
        (500_000, 10, 2_000, (10, 2_000, 5)),
        (50_000, 10, 2_000, (10, 2_000, 2)),
        (15_000, 10, 2_000, (10, 1_500, 1)),  # fewer rows before fewer inputs
        (9_000, 300, 2_000, (180, 50, 1)),  # and fewer inputs before fewer than 50 rows
        (1_000_000, 200, 2_000, (200, 2_000, 2)),
        (500_000, 10, 3, (10, 3, 2)),  # three rows have two other rows each
        (500_000, 10, 1, (10, 1, 0)),
        (500_000, 10, 0, (10, 0, 0)),
        (0, 10, 2_000, (1, 0, 0)),
    ],
)
def test_rows_permutations_and_inputs_fit_the_budget(
    affordable: int, n_inputs: int, n_rows: int, expected: tuple[int, int, int]
) -> None:
    inputs, rows, permutations = importance_size(affordable, n_inputs, n_rows)
    assert (inputs, rows, permutations) == expected
    assert inputs * rows * permutations <= affordable


def test_a_table_below_10_000_rows_gets_a_fifth_of_the_cpu_time() -> None:
    transform = make_transform()
    small, large = (
        Budget.of(Importance(), metadata("tabm"), transform, n).affordable(transform, 0)
        for n in (9_999, 10_000)
    )
    assert large == pytest.approx(5 * small, rel=1e-3)


def test_the_spec_may_set_other_bounds() -> None:
    bounds = Importance(rows=500, inputs=7, cpu_s=60)
    budget = Budget.of(bounds, metadata("linear"), make_transform(), 900)
    assert (budget.cpu_s, budget.max_rows, budget.max_inputs) == (60, 500, 7)


def test_a_costly_model_predicts_fewer_rows() -> None:
    transform = make_transform()
    models = [
        metadata("linear"),
        metadata("trees", steps=100),
        metadata("trees", steps=1000),
        metadata("tabm"),
        metadata("tabm", members=32),
        metadata("tabm", "trees", members=32),
        {},  # of a trainer of one's own
    ]
    rows = [
        Budget.of(Importance(), model, transform, 20_000).affordable(transform, 0)
        for model in models
    ]
    assert rows == sorted(rows, reverse=True)
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    "model", [{}, {"model": {"shares": {"mine": 1.0}}}, {"model": {"shares": {"tabm": 1.0}}}]
)
def test_a_model_that_is_none_of_ours_counts_as_a_costly_one(model: dict[str, Any]) -> None:
    assert Budget.of(Importance(), model, make_transform(), 20_000).model_us == UNKNOWN_US


def test_long_texts_cost_rows() -> None:
    transform, budget = make_transform(), Budget(1.0, 10.0)
    assert budget.affordable(transform, 0) == 98_039  # 10.2 us a row with two columns
    assert budget.affordable(transform, 1_000) == 14_245  # and 60 us for the text
