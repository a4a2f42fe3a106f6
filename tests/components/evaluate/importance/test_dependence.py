from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from quatrain.components.evaluate.importance.dependence import N_BINS, N_POINTS, Grid, shapes
from quatrain.components.evaluate.importance.permutation import SampledRows
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.serve.served_model import ServedModel
from quatrain.trainer.features import Input

NAN = np.nan


def test_all_values_of_a_number_with_few_are_tried() -> None:
    grid = Grid.of(Input("x", "int"), np.array([3.0, 1.0, 1.0, NAN, 2.0]))
    assert grid is not None
    assert (grid.kind, grid.names, grid.shares) == ("number", [1, 2, 3], [0.5, 0.25, 0.25])
    assert (grid.missing, grid.histogram) == (pytest.approx(0.2), ())


def test_a_number_with_many_values_is_tried_at_rounded_quantiles() -> None:
    values = np.arange(1001.0) ** 2 + 0.123
    grid = Grid.of(Input("x", "float"), values)
    assert grid is not None
    assert len(grid.values) == N_POINTS
    assert (grid.names[0], grid.names[-1]) == (0, 960_000)  # of 400.123 and 960 400.123
    assert all(name % 1000 == 0 for name in grid.names)
    assert grid.shares is None
    assert len(grid.histogram) == N_BINS
    assert sum(grid.histogram) == pytest.approx(980 / 1001)


def test_a_whole_number_is_tried_at_whole_numbers() -> None:
    grid = Grid.of(Input("x", "int"), np.arange(101.0))
    assert grid is not None
    assert grid.names[:3] == [2, 7, 12]


def test_a_time_is_drawn_as_one() -> None:
    grid = Grid.of(Input("t", "date"), np.array([0.0, 86_400.0]))
    assert grid is not None
    assert grid.kind == "time"


def test_the_commonest_categories_are_tried_and_no_rare_one() -> None:
    texts = ["b"] * 30 + ["a"] * 30 + [""] * 6 + ["rare"] * 4 + ["one"]
    grid = Grid.of(Input("c", "string"), pa.array(texts))
    assert grid is not None
    assert (grid.kind, grid.names) == ("category", ["a", "b", ""])
    assert grid.shares == pytest.approx([30 / 71, 30 / 71, 6 / 71])


def test_a_bool_is_a_category_that_may_be_missing() -> None:
    grid = Grid.of(Input("b", "bool"), np.array([1.0] * 9 + [0.0] * 8 + [NAN] * 7))
    assert grid is not None
    assert grid.names == ["true", "false", ""]
    assert np.array_equal(grid.values, [1, 0, NAN], equal_nan=True)
    assert grid.missing == 0


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (Input("text", "string"), pa.array([f"text {k}" for k in range(500)])),
        (Input("one", "string"), pa.array(["a"] * 500)),
        (Input("x", "float"), np.array([2.0, 2.0, NAN])),
        (Input("x", "float"), np.array([NAN, NAN])),
        (Input("x", "float"), np.array([])),
    ],
)
def test_an_input_without_two_values_to_compare_has_no_shape(
    column: Input, values: np.ndarray | pa.Array
) -> None:
    assert Grid.of(column, values) is None


def test_a_shape_is_the_mean_answer_if_all_rows_had_the_value(models: dict[str, Path]) -> None:
    model = ServedModel.load(models["binary"])
    delay = np.array([-10.0, 10.0, 30.0, NAN])
    rows = SampledRows(
        {"delay": np.tile(delay, 5), "carrier": pa.array(["AA", "UA"] * 10)},
        np.zeros(20, np.int32),
        np.tile([1.0, 3.0], 10),
    )
    reference = Reference("binary", 2, (0.5, 0.5))
    by_delay, by_carrier = shapes(model, rows, reference, ["delay", "carrier"], 10_000)

    def expected(score: float) -> float:  # a quarter of the weight is AA's, whose offset is -0.4
        aa, ua = (1 / (1 + np.exp(-score - offset)) for offset in (-0.4, 0.6))
        return (aa + 3 * ua) / 4

    assert by_delay["classes"] == ["true"]
    assert [p["value"] for p in by_delay["points"]] == [-10, 10, 30]
    means = [p["means"][0] for p in by_delay["points"]]
    assert means == pytest.approx([expected(s) for s in (-1, 0, 1)], abs=1e-6)
    assert by_delay["missing"]["share"] == 0.25
    assert by_delay["missing"]["means"] == pytest.approx([expected(-0.5)], abs=1e-6)  # filled by 0
    assert [p["value"] for p in by_carrier["points"]] == ["AA", "UA"]
    assert by_carrier["missing"] is None


def test_a_small_budget_shows_fewer_shapes(models: dict[str, Path]) -> None:
    model = ServedModel.load(models["regression"])
    columns = {"delay": np.arange(100.0), "carrier": pa.array(["AA", "UA"] * 50)}
    rows = SampledRows(columns, np.zeros(100), np.ones(100))
    reference = Reference("regression", 0, (0.0,))
    n = [
        [s["rows"] for s in shapes(model, rows, reference, ["delay", "carrier"], affordable)]
        for affordable in (100, 21 * 30, 21 * 50, 10_000)
    ]
    assert n == [[], [30], [25, 25], [100, 100]]


def test_the_classes_with_the_most_rows_are_shown(models: dict[str, Path]) -> None:
    model = ServedModel.load(models["multiclass"])
    rows = SampledRows(
        {"delay": np.arange(20.0), "carrier": pa.array(["AA"] * 20)}, np.zeros(20), np.ones(20)
    )
    (shape,) = shapes(model, rows, Reference("multiclass", 3, (0.2, 0.5, 0.3)), ["delay"], 10_000)
    assert shape["classes"] == ["a", "b", "c"]
    assert all(sum(p["means"]) == pytest.approx(1, abs=1e-6) for p in shape["points"])
