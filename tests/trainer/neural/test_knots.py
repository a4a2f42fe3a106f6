"""Where the pieces of a number's embedding begin and end."""

import numpy as np
import pytest

from quatrain.trainer.neural.knots import knots_of, pieces_of


@pytest.mark.parametrize(("numbers", "pieces"), [(0, 32), (256, 32), (751, 10), (5_000, 4)])
def test_the_numbers_of_a_wide_table_have_fewer_pieces(numbers: int, pieces: int) -> None:
    assert pieces_of(numbers, 32) == pieces
    assert pieces_of(numbers, 2) == 2


def test_few_values_are_all_knots() -> None:
    assert knots_of(np.float32([3, 1, 3, 2]), 4).tolist() == [1, 2, 3]


def test_many_equally_frequent_values_give_quantiles() -> None:
    # The least, the largest, and of the 99 between them those of ranks 25, 50 and 75.
    assert knots_of(np.arange(101, dtype=np.float32), 4).tolist() == [0, 25, 50, 75, 100]


def test_a_value_of_most_rows_leaves_the_quantiles_to_the_others() -> None:
    values = np.concatenate([np.zeros(900), np.arange(1, 101)]).astype(np.float32)
    # 0, its neighbour 1, the largest, and 4 quantiles of the 98 between; plain ones would be 0.
    assert knots_of(values, 6).tolist() == [0, 1, 21, 41, 60, 80, 100]


def test_nan_and_infinity_give_no_knot() -> None:
    assert knots_of(np.float32([np.nan, 1, np.inf, 2]), 4).tolist() == [1, 2]
    assert knots_of(np.float32([np.nan]), 4).tolist() == []
