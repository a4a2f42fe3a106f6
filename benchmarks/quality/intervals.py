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
Units = Sequence[np.ndarray] | None
"""For each split, the unit of each test row, `[N] int` counted from 0; None: each row is one."""


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


def cut(pairs: Sequence[Pair], units: Units = None) -> Interval:
    """Returns how far our error lies below theirs, as a share of theirs: above 0 we are ahead.

    The error is the mean over the splits of the log-loss or of the RMSE. The interval is the
    bootstrap's: the test rows of each split are drawn again, the same for both systems.

    Args:
        pairs: Ours and theirs, for each split.
        units: For each split the unit of each test row, which is drawn whole; by default each row
            is one.
    """
    root = not pairs[0][0].is_class
    losses = [np.stack([ours.losses, theirs.losses], axis=1) for ours, theirs in pairs]

    def share(means: np.ndarray) -> float:
        errors = (np.sqrt(means) if root else means).mean(axis=0)
        return float(1 - errors[0] / errors[1]) if errors[1] else 0.0

    return _interval(losses, units, lambda w, values: w @ values / w.sum(), share)


def calibration(pairs: Sequence[Pair], units: Units = None) -> Interval:
    """Returns how far our calibration error lies below theirs, with its interval, as `cut` does."""
    gaps = [np.stack([_gaps(one) for one in pair], axis=1) for pair in pairs]

    def errors(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        sums = np.stack(
            [
                np.bincount(values[:, k, 0].astype(int), weights * values[:, k, 1], N_BINS)
                for k in range(2)
            ]
        )
        return np.abs(sums).sum(axis=1) / weights.sum()

    return _interval(
        gaps, units, errors, lambda means: float(means[:, 1].mean() - means[:, 0].mean())
    )


def _gaps(one: Scores) -> np.ndarray:
    """Returns the bin of each row, and how far its probability is from what happened, `[N, 2]`."""
    return np.stack([bins_of(one.stated), one.stated - one.right], axis=1)


def _interval(
    splits: Sequence[np.ndarray],
    units: Units,
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray],
    combine: Callable[[np.ndarray], float],
) -> Interval:
    """Returns a value of all rows, with the percentiles of its replicates.

    Args:
        splits: What is known of the test rows of each split, `[N, ...]`.
        units: The unit of each of these rows, `[N] int`.
        measure: Returns the two systems' measures of one split from the weights of its rows.
        combine: Returns the value from the measures of all splits, `[S, 2]`.
    """
    whole = combine(np.stack([measure(np.ones(len(v)), v) for v in splits]))
    units = units or [np.arange(len(values)) for values in splits]
    drawn = zip(*(_weights(of_row, k) for k, of_row in enumerate(units)), strict=True)
    values = [
        combine(np.stack([measure(w, v) for w, v in zip(weights, splits, strict=True)]))
        for weights in drawn
    ]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(whole, float(low), float(high))


def _weights(of_row: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Yields how often each row is drawn, for each replicate; `of_row` is the unit of each row."""
    generator = np.random.default_rng(seed)
    n_units = int(of_row.max()) + 1
    for _ in range(REPLICATES):
        drawn = np.bincount(generator.integers(0, n_units, n_units), minlength=n_units)
        yield drawn[of_row].astype(np.float64)
