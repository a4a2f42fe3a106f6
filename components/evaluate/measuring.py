"""Measures scored rows: statistics have a zero (`nothing`), `measure` of a batch, and `+`.

Counts are whole numbers and sums are exact, so any cut, order or number of workers gives the same
metrics to the last bit.
"""

from __future__ import annotations

import numpy as np

from components.evaluate.classification import Classification
from components.evaluate.frame import Frame
from components.evaluate.regression import Regression

N_BINS = 10_000
"""Bins of the scores of all rows."""
N_BINS_COARSE = 1_000
"""Bins for slices and single inputs, of which there are many."""

Statistics = Classification | Regression


def measure(
    frame: Frame,
    labels: np.ndarray,
    outputs: np.ndarray,
    weights: np.ndarray | None = None,
    n_bins: int = N_BINS,
) -> Statistics:
    """Returns the statistics of a batch: outputs are `[N, C]` probabilities, or `[N]` numbers."""
    if frame.task == "regression":
        return Regression.of(frame, labels, outputs, weights)
    return Classification.of(frame, labels, outputs, weights, n_bins)


def nothing(frame: Frame, n_bins: int = N_BINS) -> Statistics:
    """Returns the statistics of no rows."""
    if frame.task == "regression":
        return Regression.zero(frame)
    return Classification.zero(frame, n_bins)
