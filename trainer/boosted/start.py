"""The scores from which boosting starts where the train rows lack a class.

LightGBM starts at the log of each class's share and lets no tree move a class without a row, so
such a class keeps a probability of 1e-15: a single row of it costs a log-loss of 34.5.
"""

from __future__ import annotations

import numpy as np

PRIOR = 0.5
"""Rows that each class is given beside its own. That is Jeffreys' prior of a multinomial, whose
estimate of a share is (n + 1/2) / (N + C/2): Krichevsky & Trofimov, "The performance of universal
encoding" (IEEE Transactions on Information Theory 27, 1981)."""


def start_scores(labels: np.ndarray, weights: np.ndarray | None, classes: int) -> np.ndarray | None:
    """Returns the log of each class's estimated share, or None if every class has a row.

    With a row of each class, LightGBM's own start is good, and nothing need be added to its trees.

    Args:
        labels: Index of the class of each train row, `[N]`.
        weights: Weights of the rows, `[N]`, in any unit; None: all are equal.
        classes: Number of classes C; fewer than 2 for a regression, which needs no start.

    Returns:
        `[C] float64`; for two classes the logit of the second one, `[1]`.
    """
    if classes < 2 or np.bincount(labels, minlength=classes).all():
        return None
    rows = np.bincount(labels, weights, minlength=classes).astype(np.float64)
    rows *= len(labels) / rows.sum()
    logs = np.log((rows + PRIOR) / (rows.sum() + PRIOR * classes))
    return logs if classes > 2 else logs[1:] - logs[:1]


def start_rows(start: np.ndarray | None, rows: int) -> np.ndarray | None:
    """Returns the start of each row for LightGBM: `[N]`, or `[N, C]` for more classes."""
    if start is None:
        return None
    return np.full(rows, start[0]) if len(start) == 1 else np.tile(start, (rows, 1))


def probabilities(scores: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Returns what LightGBM predicts, with the start that its trees lack.

    Args:
        scores: Its raw scores, `[N]` for two classes, `[N, C]` for more.
        start: What `start_scores` returned.

    Returns:
        The probability of the second class `[N] float64`, or of each class `[N, C]`.
    """
    logits = scores + start
    if len(start) == 1:
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
