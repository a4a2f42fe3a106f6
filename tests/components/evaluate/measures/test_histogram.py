from __future__ import annotations

import math

import numpy as np
import pytest

from quatrain.components.evaluate.measures import histogram


def by_pairs(positives: np.ndarray, negatives: np.ndarray) -> float:
    """The share of pairs in which the positive scores higher; ties count half."""
    above = (positives[:, None] > negatives).sum() + (positives[:, None] == negatives).sum() / 2
    return float(above / (len(positives) * len(negatives)))


def counts(scores: np.ndarray, n_bins: int = 10_000) -> np.ndarray:
    return np.bincount(histogram.score_bins(scores, n_bins), minlength=n_bins)


def test_auc_counts_pairs_and_half_of_the_ties() -> None:
    # Pairs: .8 > .3, .8 > .5, .5 > .3, .5 = .5: 3.5 of 4.
    positives, negatives = counts(np.array([0.8, 0.5])), counts(np.array([0.3, 0.5]))
    assert histogram.auc(positives, negatives) == 0.875


def test_auc_is_the_pair_count_within_its_stated_resolution() -> None:
    rng = np.random.default_rng(1)
    p, n = rng.beta(3, 2, 700).astype(np.float32), rng.beta(2, 3, 900).astype(np.float32)
    area, bound = (f(counts(p), counts(n)) for f in (histogram.auc, histogram.auc_resolution))
    assert abs(area - by_pairs(p, n)) <= bound < 1e-4


def test_auc_needs_both_classes() -> None:
    assert math.isnan(histogram.auc(counts(np.array([0.5])), counts(np.array([]))))
    assert histogram.roc_points(counts(np.array([0.5])), counts(np.array([]))) == []


def test_the_error_of_auc_is_delongs() -> None:
    p, n = np.array([0.8, 0.5, 0.9]), np.array([0.3, 0.5])
    # Placements of positives: 1, .75, 1; of negatives: 1, (1 + .5 + 1) / 3. Sample variances by n.
    expected = np.var([1, 0.75, 1], ddof=1) / 3 + np.var([1, 2.5 / 3], ddof=1) / 2
    error = histogram.auc_error(counts(p), counts(n), 3, 2)
    assert error == pytest.approx(math.sqrt(expected))


def test_average_precision_sums_precision_over_recall_steps() -> None:
    # Descending: positive (1/1), negative, positive (2/3): .5 * 1 + .5 * 2/3.
    positives, negatives = counts(np.array([0.9, 0.2])), counts(np.array([0.5]))
    assert histogram.average_precision(positives, negatives) == pytest.approx(5 / 6)


def test_roc_runs_from_corner_to_corner() -> None:
    rng = np.random.default_rng(2)
    points = histogram.roc_points(counts(rng.beta(3, 2, 500)), counts(rng.beta(2, 3, 500)))
    rates = [(p["false_positive_rate"], p["true_positive_rate"]) for p in points]
    assert rates[0] == (0, 0)
    assert rates[-1] == (1, 1)
    assert rates == sorted(rates)
    assert 80 <= len(points) <= 103


def test_calibration_bins_hold_the_mean_score_and_the_observed_rate() -> None:
    positives = counts(np.array([0.9, 0.9, 0.9, 0.1]))
    negatives = counts(np.array([0.9, 0.1, 0.1, 0.1]))
    low, high = histogram.calibration(positives, negatives, 8, n_bins=2)
    assert (low.rate, high.rate) == (0.25, 0.75)
    assert (low.score, high.score) == pytest.approx((0.10005, 0.90005))
    assert histogram.calibration_error([low, high]) == pytest.approx(0.15)


def test_a_score_of_one_is_in_the_last_bin() -> None:
    assert histogram.score_bins(np.array([0.0, 1.0], np.float32), 10).tolist() == [0, 9]
