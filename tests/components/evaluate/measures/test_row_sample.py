from __future__ import annotations

from functools import reduce
from itertools import pairwise
from operator import add

import pyarrow as pa
import pytest

from quatrain.components.evaluate.measures.row_sample import KEY, RowSample

ROWS = pa.table({"number": range(500), "text": [f"row {k}" for k in range(500)]})


def sampled(low: int = 0, high: int = 500, n: int = 40) -> RowSample:
    """The sample of a part of the rows."""
    return RowSample.of(ROWS.slice(low, high - low), low, n)


@pytest.mark.parametrize("cuts", [[0, 500], [0, 7, 300, 500], [0, 30, 31, 32, 500]])
def test_any_cut_and_any_order_samples_the_same_rows_in_the_same_order(cuts: list[int]) -> None:
    parts = [sampled(low, high) for low, high in pairwise(cuts)]
    for order in (parts, parts[::-1]):
        whole = reduce(add, order, RowSample(n=40))
        assert whole.rows is not None
        assert whole.rows.equals(sampled().rows)
    assert sampled().n_rows == 40


def test_the_first_rows_of_a_sample_are_a_smaller_sample() -> None:
    large, small = sampled(n=40).rows, sampled(n=10).rows
    assert large is not None
    assert large.slice(0, 10).equals(small)


def test_a_sample_is_spread_over_the_rows_and_in_no_order_of_theirs() -> None:
    rows = sampled(n=100).rows
    assert rows is not None
    numbers = rows["number"].to_pylist()
    assert rows[KEY].to_pylist() == sorted(rows[KEY].to_pylist())
    assert numbers != sorted(numbers)
    by_fifth = [sum(100 * k <= number < 100 * (k + 1) for number in numbers) for k in range(5)]
    assert min(by_fifth) >= 10  # 20 are expected, with a deviation of 4


def test_a_table_without_rows_has_no_sample() -> None:
    assert (RowSample() + RowSample()).n_rows == 0
