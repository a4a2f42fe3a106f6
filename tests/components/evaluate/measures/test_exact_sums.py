from __future__ import annotations

import math

import numpy as np
import pytest

from quatrain.components.evaluate.measures.exact_sums import ExactSum, MeanSums


def test_a_sum_is_rounded_once() -> None:
    assert float(ExactSum.of(np.full(10, 0.1))) == 1.0


def test_large_terms_that_cancel_leave_the_small_one() -> None:
    assert float(ExactSum.of(np.array([1e300, 1e-300, -1e300]))) == 1e-300


def test_a_sum_is_the_same_for_any_cut_and_order() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=1000) * 10.0 ** rng.integers(-20, 20, 1000)
    whole = ExactSum.of(values)
    shuffled = rng.permutation(values)
    parts = ExactSum.of(shuffled[:3]) + ExactSum.of(shuffled[3:997]) + ExactSum.of(shuffled[997:])
    assert parts == whole
    assert float(whole) == math.fsum(values)


def test_the_sum_of_nothing_is_the_zero() -> None:
    assert ExactSum.of(np.zeros(0)) == ExactSum()
    assert float(ExactSum.of(np.array([5e-324, 0.0]))) == 5e-324


def test_the_mean_and_its_error_follow_from_the_sums() -> None:
    sums = MeanSums.of(np.array([1.0, 2.0, 6.0]), np.ones(3))
    assert sums.mean == 3.0
    assert sums.variance == pytest.approx(14 / 3)  # (4 + 1 + 9) / 3
    assert sums.error == pytest.approx(math.sqrt(14 / 3 / 2))  # sample deviation / sqrt(3)


def test_weights_count_as_effective_rows() -> None:
    sums = MeanSums.of(np.array([0.0, 1.0]), np.array([3.0, 1.0]))
    assert sums.mean == 0.25
    assert sums.n_effective == 1.6  # 4 ** 2 / (9 + 1)


def test_the_variance_of_a_far_away_value_does_not_cancel() -> None:
    sums = MeanSums.of(np.array([2.0**26, 2.0**26 + 1]), np.ones(2))
    assert sums.variance == 0.25
