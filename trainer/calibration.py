"""A slope and an intercept for the logits of two classes, where the validation rows prove them.

A blend is often too little sure, as the mean of two forecasts is, and a network too sure. Both are
mended by a logistic regression of the labels on the logit (Platt 1999); but its two numbers have
errors of their own, which cost more than they mend where few rows know them.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.blend import predictions
from trainer.examples import Split
from trainer.predictor import Head, Predictor
from trainer.rows import Streamed

log = logging.getLogger("trainer")
PROOF = 9.21
"""Twice the gain in log-likelihood that chance exceeds once in 100: chi squared, 2 degrees."""
_LEAST_PROBABILITY = 1e-15
_STEPS = 20
_SHORTEST = 1e-9


class Line(NamedTuple):
    """What the logits become, and what the rows say of it.

    Attributes:
        slope: Of the logits.
        intercept: Of the logits.
        ratio: Twice the gain in log-likelihood, by as many rows as the weights are worth.
        loss: The mean log-loss with it.
    """

    slope: float
    intercept: float
    ratio: float
    loss: float


def calibrate(predictor: Predictor, head: Head, validation: Split | Streamed) -> Predictor:
    """Returns the predictor with its line, where the rows in memory prove one of two classes."""
    if head.task != "binary" or isinstance(validation, Streamed):
        return predictor
    logits = _logits(tf.constant(predictions(predictor, validation))).numpy()
    line = fit_line(logits, validation.labels, validation.weights)
    is_proved = line.ratio >= PROOF and line.slope > 0
    told = "kept" if is_proved else "not kept"
    log.info("calibration: slope %.3f, intercept %+.3f, ratio %.1f, %s", *line[:3], told)
    if not is_proved:
        return predictor

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        logits = line.slope * _logits(predictor.predict(numbers, indices)) + line.intercept
        return tf.sigmoid(tf.stack([-logits, logits], axis=1))

    losses = {**predictor.losses, "calibrated": line.loss}
    return replace(predictor, predict=predict, losses=losses)


def fit_line(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Line:
    """Returns the likeliest line, by Newton's method from the line that changes nothing.

    Args:
        logits: `[N]`.
        labels: `[N]`, 0 or 1.
        weights: `[N]`.
    """
    x = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    # The weights sum to the number of equal ones that would know as much (Kish 1965).
    w = weights.astype(np.float64) * (weights.sum() / np.square(weights).sum())
    sign = 2.0 * labels - 1.0

    def loss(line: np.ndarray) -> float:
        return float(w @ np.logaddexp(0.0, -sign * (x @ line)))

    start = line = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        p = 0.5 + 0.5 * np.tanh(x @ line / 2.0)
        step = np.linalg.pinv((x.T * (w * p * (1.0 - p))) @ x) @ (x.T @ (w * (p - labels)))
        while loss(line - step) > loss(line) and np.abs(step).max() > _SHORTEST:
            step /= 2.0  # too far: where every row is sure, the curvature says nothing
        line = line - step
    after = loss(line)
    return Line(float(line[0]), float(line[1]), 2.0 * (loss(start) - after), after / float(w.sum()))


def _logits(probabilities: tf.Tensor) -> tf.Tensor:
    """Returns `[B]` of `[B, 2]`."""
    logs = tf.math.log(tf.maximum(probabilities, _LEAST_PROBABILITY))
    return logs[:, 1] - logs[:, 0]
