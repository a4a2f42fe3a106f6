"""Corrects the intercept of a trained network for a binary task.

Gradient descent brings the mean probability of the train rows to their share of positive labels,
but it does so for the weights that it moves, with dropout. The network that is served has averaged
weights and no dropout, and its mean probability can differ: 0.341 against a share of 0.351 on the
table magic, much the same in each of six splits.

Only an intercept is fitted, and only to the train rows. A slope and an intercept fitted to the
validation rows raised the log-loss of a table that is split by time from .305 to .329.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..predictor import BATCH_CELLS, BATCH_ROWS, Head, rows_at_once
from ..rows import SAMPLE, Rows

log = logging.getLogger("trainer")
Network = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Maps numbers `[B, F]` and indices `[B, K]` to outputs `[B, members, units]`."""
LARGEST = 1.0
"""Largest shift of a logit. Averaging and dropout explain no larger one: a network that needs it
has learned nothing, or has learned the train rows by heart."""
_HALVINGS = 30  # narrows [-1, 1] to 2e-9, less than float32 resolves near 1


class Intercept(NamedTuple):
    """A correction of the intercept.

    Attributes:
        shift: What is added to each logit.
        loss: Log-loss of the validation rows with it.
    """

    shift: float
    loss: float


def find_intercept(network: Network, head: Head, train: Rows, validation: Rows) -> Intercept:
    """Returns the correction of a network for a binary task.

    The correction is solved on the train rows, and is 0 unless it lowers the loss of the validation
    rows. From a split with more than a million rows, a random million is used.
    """
    logits, labels, weights = _outputs(network, train)
    solution = solve(logits[:, :, 0], labels, weights)
    logits, labels, weights = _outputs(network, validation)

    def loss(shift: float) -> float:
        each = head.averaged_losses(tf.constant(labels), tf.constant(logits + np.float32(shift)))
        return float(np.average(each, weights=weights))

    candidates = [Intercept(shift, loss(shift)) for shift in (0.0, solution)]
    best = min(candidates, key=lambda i: i.loss)
    log.info("intercept %+.3f of %+.3f: validation loss %.5f", best.shift, solution, best.loss)
    return best


def solve(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Returns the shift of the logits that makes the mean probability the share of positive labels.

    The mean probability grows with the shift, so bisection finds it.

    Args:
        logits: `[N, members] float32`.
        labels: `[N]`, 0 or 1.
        weights: `[N] float32`.

    Returns:
        The shift, in [-1, 1].
    """
    share = np.average(labels, weights=weights)
    low, high = -LARGEST, LARGEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # In float32, as the served model adds the shift.
        probabilities = 1.0 / (1.0 + np.exp(-(logits + np.float32(middle))))
        if np.average(probabilities.mean(axis=1), weights=weights) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _outputs(network: Network, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns outputs, labels and weights of the rows or of a random million of them.

    They include the filler rows of the last batch, whose weight is 0.
    """
    size = rows_at_once(min(BATCH_ROWS, rows.rows), BATCH_CELLS, len(rows.names))
    parts = islice(_batches(network, rows, size), SAMPLE // size)
    outputs, labels, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return outputs, labels, weights


def _batches(
    network: Network, rows: Rows, size: int
) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    answer = tf.function(network, autograph=False, reduce_retracing=True)
    for window in rows.windows(size, (0, 0)):
        for first in range(0, window.steps * size, size):
            places = window.order[first : first + size]
            numbers, indices, labels, weights = (tf.gather(t, places) for t in window.tensors)
            yield answer(numbers, indices), labels, weights
