"""Paired intervals: how far one system's error lies below another's on the same test rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.scores import N_BINS, Scores, bins_of

REPLICATES = 1_000
LEVEL = 0.95
Pair = tuple[Scores, Scores]
"""Ours and theirs on the test rows of one split."""


@dataclass(frozen=True)
class Interval:
    """A difference with its 95 % interval.

    Attributes:
        value: The difference.
        low: The lower bound.
        high: The upper bound.
    """

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> int:
        """1 above zero beyond chance, -1 below it, 0 if the interval holds zero."""
        return int(self.low > 0) - int(self.high < 0)


def cut(pairs: Sequence[Pair]) -> Interval:
    """Returns how far our error lies below theirs, as a share of theirs: above 0 we are ahead.

    The error is the mean over the splits of the log-loss or of the RMSE. The interval is the
    bootstrap's: the test rows of each split are drawn again, the same for both systems.
    """
    root = not pairs[0][0].is_class
    losses = [np.stack([ours.losses, theirs.losses], axis=1) for ours, theirs in pairs]

    def share(means: np.ndarray) -> float:
        errors = (np.sqrt(means) if root else means).mean(axis=0)
        return float(1 - errors[0] / errors[1]) if errors[1] else 0.0

    return _interval(losses, lambda weights, values: weights @ values / len(values), share)


def calibration(pairs: Sequence[Pair]) -> Interval:
    """Returns how far our calibration error lies below theirs, with its interval."""
    gaps = [np.stack([_gaps(one) for one in pair], axis=1) for pair in pairs]

    def errors(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        sums = np.stack(
            [
                np.bincount(values[:, k, 0].astype(int), weights * values[:, k, 1], N_BINS)
                for k in range(2)
            ]
        )
        return np.abs(sums).sum(axis=1) / len(values)

    return _interval(gaps, errors, lambda means: float(means[:, 1].mean() - means[:, 0].mean()))


def _gaps(one: Scores) -> np.ndarray:
    """Returns the bin of each row, and how far its probability is from what happened, `[N, 2]`."""
    return np.stack([bins_of(one.stated), one.stated - one.right], axis=1)


def _interval(
    splits: Sequence[np.ndarray],
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray],
    combine: Callable[[np.ndarray], float],
) -> Interval:
    """Returns a value of all rows, with the percentiles of its replicates.

    Args:
        splits: What is known of the test rows of each split, `[N, ...]`.
        measure: Returns the two systems' measures of one split from the weights of its rows.
        combine: Returns the value from the measures of all splits, `[S, 2]`.
    """
    whole = combine(np.stack([measure(np.ones(len(v)), v) for v in splits]))
    drawn = zip(*(_weights(len(v), k) for k, v in enumerate(splits)), strict=True)
    values = [
        combine(np.stack([measure(w, v) for w, v in zip(weights, splits, strict=True)]))
        for weights in drawn
    ]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(whole, float(low), float(high))


def _weights(rows: int, seed: int) -> Iterator[np.ndarray]:
    """Yields how often each row is drawn, for each replicate."""
    generator = np.random.default_rng(seed)
    for _ in range(REPLICATES):
        drawn = generator.integers(0, rows, rows)
        yield np.bincount(drawn, minlength=rows).astype(np.float64)
