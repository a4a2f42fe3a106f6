"""Ranking and calibration from two histograms of scores, one of positives and one of negatives.

A histogram is `[B] int64` over `B` equal bins of [0, 1]; bin `b` holds the scores in
[b/B, (b+1)/B), the last one also 1. Counts may be weights in any unit, since only ratios are used.

Exact ranking needs all scores sorted in one place. Histograms merge by `+` and take 160 kB for any
number of rows. On 10 million predictions in 32 slices the AUC was right to 8e-8, after 0.44
CPU-seconds where scikit-learn took 20.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quatrain.components.confidence import wilson

N_POINTS = 100
"""Points of the ROC curve; more would not show in a plot of 480 units."""


def score_bins(scores: np.ndarray, n_bins: int) -> np.ndarray:
    """Returns the bin of each score in [0, 1], `[N] int64`."""
    bins = (scores.astype(np.float64) * n_bins).astype(np.int64)
    return np.minimum(bins, n_bins - 1)


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Returns the area under the ROC curve, by trapezoids: a pair within one bin counts half.

    The area is the chance that a positive scores above a negative (Hanley & McNeil 1982). Binning
    changes it by at most half the share of pairs within a bin, `auc_resolution`; with 10 000 bins
    on 26 197 flights the difference was 1e-6. NaN when a class is absent.
    """
    p, n = positives.sum(), negatives.sum()
    if not p or not n:
        return math.nan
    below = np.cumsum(negatives) - negatives
    return float(np.sum((positives / p) * ((below + negatives / 2) / n)))


def auc_resolution(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Returns the largest error of `auc` by binning: half the share of pairs within a bin."""
    p, n = positives.sum(), negatives.sum()
    return float(np.sum((positives / p) * (negatives / n)) / 2) if p and n else math.nan


def auc_error(
    positives: np.ndarray, negatives: np.ndarray, n_positives: float, n_negatives: float
) -> float:
    """Returns the standard error of `auc` (DeLong, DeLong & Clarke-Pearson 1988).

    DeLong's placement of a row is the share of rows of the other class that it outranks. Here it
    depends on the row's bin alone, so the variance of the placements is a sum over bins and not
    over pairs (the same regrouping as Sun & Xu 2014).

    Args:
        positives: `[B]` histogram.
        negatives: `[B]` histogram.
        n_positives: Effective number of positive rows (Kish, when weighted).
        n_negatives: Effective number of negative rows.

    Returns:
        The error; NaN with fewer than two rows of a class.
    """
    if n_positives <= 1 or n_negatives <= 1:
        return math.nan
    p, n = positives.sum(), negatives.sum()
    area = auc(positives, negatives)
    below = (np.cumsum(negatives) - negatives / 2) / n
    above = 1 - (np.cumsum(positives) - positives / 2) / p
    of_positives = np.sum((positives / p) * (below - area) ** 2) / (n_positives - 1)
    of_negatives = np.sum((negatives / n) * (above - area) ** 2) / (n_negatives - 1)
    return math.sqrt(float(of_positives + of_negatives))


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Returns the sum over thresholds of precision times the step in recall; NaN without positives.

    No straight lines are drawn between the points: in a precision-recall curve they would flatter
    the model (Davis & Goadrich 2006).
    """
    p = positives.sum()
    if not p:
        return math.nan
    steps = positives[::-1]
    true, false = np.cumsum(steps), np.cumsum(negatives[::-1])
    return float(np.sum(np.where(steps > 0, true / np.maximum(true + false, 1), 0.0) * steps) / p)


def roc_points(positives: np.ndarray, negatives: np.ndarray) -> list[dict[str, float]]:
    """Returns about a hundred points along the ROC curve, from (0, 0) to (1, 1).

    They are evenly spaced in the sum of both rates; evenly spaced thresholds would leave long gaps
    in the curve where many rows have similar scores.

    Returns:
        `threshold`, `false_positive_rate` and `true_positive_rate`, thresholds descending; empty
        when a class is absent.
    """
    p, n = positives.sum(), negatives.sum()
    if not p or not n:
        return []
    true = np.concatenate([[0.0], np.cumsum(positives[::-1]) / p])
    false = np.concatenate([[0.0], np.cumsum(negatives[::-1]) / n])
    places = np.searchsorted((true + false) / 2, np.linspace(0, 1, N_POINTS + 1))
    places = np.unique(np.concatenate([[0], places, [len(true) - 1]]))
    n_bins = len(positives)
    return [
        {
            "threshold": (n_bins - int(k)) / n_bins,
            "false_positive_rate": float(false[k]),
            "true_positive_rate": float(true[k]),
        }
        for k in places.clip(max=len(true) - 1)
    ]


@dataclass(frozen=True)
class CalibrationBin:
    """Rows of similar score: the probability that the model gave, and the rate that was observed.

    Attributes:
        score: Mean score.
        rate: Share of positives.
        share: Share of all rows in this bin.
        low: Lower end of the 95 % interval of `rate` (Wilson).
        high: Upper end.
    """

    score: float
    rate: float
    share: float
    low: float
    high: float


def calibration(
    positives: np.ndarray, negatives: np.ndarray, n_effective: float, n_bins: int = 20
) -> list[CalibrationBin]:
    """Returns at most `n_bins` bins of about equal mass, by ascending score.

    Bins of equal width would leave most of them nearly empty where the scores of a rare class pile
    up near 0. A score stands for the middle of its histogram bin, an error of at most 1/(2B).
    """
    both = positives + negatives
    total = both.sum()
    if not total:
        return []
    middle = (np.arange(len(both)) + 0.5) / len(both)
    group = np.minimum(((np.cumsum(both) - both / 2) / total * n_bins).astype(int), n_bins - 1)
    mass, hits, scores = (
        np.bincount(group, w, minlength=n_bins) for w in (both, positives, both * middle)
    )
    bins = []
    for m, h, s in zip(mass, hits, scores, strict=True):
        if m > 0:
            # The interval takes the bin's share of the effective rows, as weights are not rows.
            low, high = wilson(float(h / m), float(m / total * n_effective))
            bins.append(CalibrationBin(float(s / m), float(h / m), float(m / total), low, high))
    return bins


def calibration_error(bins: list[CalibrationBin]) -> float:
    """Returns the expected calibration error: mean |score - rate| (Naeini et al. 2015)."""
    return sum(b.share * abs(b.score - b.rate) for b in bins) if bins else math.nan
