from __future__ import annotations

import datetime as dt
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pyarrow as pa
import pytest

from quatrain.components.evaluate.measures.worst_rows import MAX_TEXT, WorstRows, quoted

LABELS = np.array([0, 1, 1, 0, 1, 1], np.int32)
RIGHT = np.array([0.5, 0.1, 0.9, 0.1, 0.1, 0.8])
"""The probability of the label; rows 1, 3 and 4 are equally wrong."""
ANSWERS = np.where(LABELS[:, None] == [0, 1], RIGHT[:, None], 1 - RIGHT[:, None])
RAW = pa.table({"x": [1.5, None, 3.0, 4.0, 5.0, 6.0], "text": ["a", "b", None, "d", "e", "f"]})


def worst(n: int, low: int = 0, high: int = 6, weights: np.ndarray | None = None) -> WorstRows:
    """The worst rows of a part of the rows."""
    part = slice(low, high)
    w = None if weights is None else weights[part]
    losses = -np.log(RIGHT[part])
    raw = RAW.slice(low, high - low)
    return WorstRows.of(n, low, losses, LABELS[part], ANSWERS[part], ("no", "yes"), raw, w)


def test_the_row_with_the_largest_loss_comes_first_and_of_equal_ones_the_first() -> None:
    rows = worst(4).rows
    assert [r.row for r in rows] == [1, 3, 4, 0]
    first = rows[0]
    assert (first.label, first.prediction) == ("yes", "no")
    assert first.probability == pytest.approx(0.1)
    assert first.values == {"x": None, "text": "b"}


@pytest.mark.parametrize("cuts", [[0, 6], [0, 3, 6], [0, 1, 2, 3, 4, 5, 6], [0, 5, 6]])
def test_any_cut_and_any_order_lists_the_same_rows(cuts: list[int]) -> None:
    parts = [worst(3, low, high) for low, high in pairwise(cuts)]
    for order in (parts, parts[::-1]):
        assert reduce(add, order, WorstRows()).listed() == worst(3).listed()


def test_a_row_of_weight_0_is_not_listed() -> None:
    weights = np.array([1, 0, 1, 1, 1, 1], np.float32)
    assert [r.row for r in worst(2, weights=weights).rows] == [3, 4]


def test_without_a_row_to_quote_none_is_listed() -> None:
    assert (worst(0) + worst(0, 1, 3)).listed() == []


def test_a_regression_lists_the_predicted_number() -> None:
    labels, answers = np.array([1.0, 2.0], np.float32), np.array([1.5, 9.0], np.float32)
    listed = WorstRows.of(1, 10, (answers - labels) ** 2, labels, answers, (), RAW.slice(0, 2))
    (row,) = listed.rows
    assert (row.row, row.label, row.prediction, row.probability, row.loss) == (11, 2, 9, None, 49)


def test_values_are_quoted_as_json_holds_them_and_long_ones_are_cut() -> None:
    noon = dt.datetime(2013, 1, 1, 12, tzinfo=dt.UTC)
    assert [quoted(v) for v in (None, 1, 2.5, True)] == [None, 1, 2.5, True]
    assert quoted(noon) == "2013-01-01 12:00:00+00:00"
    assert quoted("x" * 300) == "x" * MAX_TEXT + "…"
