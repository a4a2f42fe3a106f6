import numpy as np
import pytest

from benchmarks.quality.intervals import calibration, cut
from benchmarks.quality.scores import Scores


def _losses(values: np.ndarray, is_class: bool = True) -> Scores:
    stated = np.full(len(values), 0.5) if is_class else np.empty(0)
    return Scores(values, stated, stated > 1, is_class)


def test_the_cut_is_the_share_by_which_our_loss_is_lower():
    ours, theirs = np.array([1.0, 2.0]), np.array([2.0, 4.0])
    found = cut([(_losses(ours), _losses(theirs))])
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.verdict == 1


def test_the_cut_of_a_regression_is_that_of_the_root():
    pair = (_losses(np.array([1.0]), is_class=False), _losses(np.array([4.0]), is_class=False))
    assert cut([pair]).value == pytest.approx(0.5)


def test_splits_are_averaged_before_they_are_compared():
    pairs = [
        (_losses(np.array([1.0])), _losses(np.array([1.0]))),
        (_losses(np.array([1.0])), _losses(np.array([3.0]))),
    ]
    assert cut(pairs).value == pytest.approx(0.5)


def test_the_interval_of_a_mean_difference_is_that_of_the_normal():
    generator = np.random.default_rng(0)
    difference = generator.normal(0.05, 0.5, 4_000)
    found = cut([(_losses(1.0 - difference), _losses(np.ones(4_000)))])
    half = 1.96 * difference.std() / np.sqrt(4_000)
    assert found.value == pytest.approx(difference.mean())
    assert found.low == pytest.approx(difference.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(difference.mean() + half, abs=0.1 * half)


def test_a_difference_within_chance_is_a_tie():
    noise = np.random.default_rng(0).normal(0, 1, 400)
    noise -= noise.mean() - 0.01
    assert cut([(_losses(2 - noise), _losses(np.full(400, 2.0)))]).verdict == 0


def test_worse_calibration_than_theirs_is_below_zero():
    right = np.array([True] * 500 + [False] * 500)
    honest = Scores(np.ones(1_000), np.full(1_000, 0.5), right, True)
    bold = Scores(np.ones(1_000), np.full(1_000, 0.9), right, True)
    found = calibration([(bold, honest)])
    assert found.value == pytest.approx(-0.4)
    assert found.verdict == -1


def test_rows_that_are_alike_by_group_give_a_wider_interval_when_groups_are_drawn_whole():
    group = np.repeat(np.arange(100), 25)
    difference = np.random.default_rng(0).normal(0.05, 0.5, 100)[group]
    pair = (_losses(1.0 - difference), _losses(np.ones(2_500)))
    rows, groups = cut([pair]), cut([pair], [group])
    assert rows.value == groups.value
    assert (groups.high - groups.low) == pytest.approx(5 * (rows.high - rows.low), rel=0.15)
