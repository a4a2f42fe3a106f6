"""The intercept of a trained network, found anew for what is served.

Gradients make the mean probability of the train rows their share of positive labels, but for the
network they move, with dropout. Served is the average of its weights, without dropout, and of it
the mean is another: .341 for .351 on the table magic, alike in each of six splits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..predictor import Head
from ..rows import SAMPLE, Rows

log = logging.getLogger("trainer")
Network = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Maps numbers `[B, F]` and indices `[B, K]` to outputs `[B, members, units]`."""
LARGEST = 1.0
"""A larger shift is none of averaging: the network has then not learned, or learned by heart."""
_HALVINGS = 30
_BATCH = 8_192


class Intercept(NamedTuple):
    """What to add to the logits, and the loss of the validation rows with it."""

    shift: float
    loss: float


def find_intercept(network: Network, head: Head, train: Rows, validation: Rows) -> Intercept:
    """Returns the intercept of a network for a binary task; 0 where another would not help.

    It is solved on the train rows and kept where it lowers the loss of the validation rows; of
    either, a random million if there are more.
    """
    logits, labels, weights = _outputs(network, train)
    solved = solve(logits[:, :, 0], labels, weights)
    logits, labels, weights = _outputs(network, validation)

    def loss(shift: float) -> float:
        each = head.averaged_losses(tf.constant(labels), tf.constant(logits + np.float32(shift)))
        return float(np.average(each, weights=weights))

    found = min(Intercept(0.0, loss(0.0)), Intercept(solved, loss(solved)), key=lambda i: i.loss)
    log.info("intercept %+.3f of %+.3f: validation loss %.5f", found.shift, solved, found.loss)
    return found


def solve(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Returns the shift at which the members' mean probability is the labels' mean.

    Args:
        logits: `[N, members] float32`.
        labels: `[N]`, 0 or 1.
        weights: `[N] float32`.

    Returns:
        From -1 to 1, by bisection: the mean grows with the shift.
    """
    share = np.average(labels, weights=weights)
    low, high = -LARGEST, LARGEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        probabilities = 1.0 / (1.0 + np.exp(-(logits + np.float32(middle))))
        if np.average(probabilities.mean(axis=1), weights=weights) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _outputs(network: Network, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns outputs, labels and weights of the rows, or of a random million; fillers weigh 0."""
    parts = islice(_batches(network, rows), SAMPLE // _BATCH)
    outputs, labels, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return outputs, labels, weights


def _batches(network: Network, rows: Rows) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    answer = tf.function(network, autograph=False, reduce_retracing=True)
    for window in rows.windows(_BATCH, (0, 0)):
        for first in range(0, window.steps * _BATCH, _BATCH):
            places = window.order[first : first + _BATCH]
            numbers, indices, labels, weights = (tf.gather(t, places) for t in window.tensors)
            yield answer(numbers, indices), labels, weights
