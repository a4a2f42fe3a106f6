"""The losses of a linear model of texts, with their gradients, by the task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .examples import Split

if TYPE_CHECKING:
    from .predictor import Head

LEAST_CURVATURE = 1e-6


@dataclass(frozen=True, eq=False)
class TextLoss:
    """The log-loss, or the square of the standardized error, of given rows.

    Attributes:
        task: binary, multiclass or regression.
        labels: `[N]`: index of the class, or standardized value.
        start: The outputs of the best constant, `[units] float64`.
        curvature: The second derivatives there, `[units] float64`.
    """

    task: str
    labels: np.ndarray
    start: np.ndarray
    curvature: np.ndarray

    @classmethod
    def of(cls, head: Head, split: Split) -> TextLoss:
        """Returns the loss of the rows of a split."""
        if head.task == "regression":
            labels = (split.labels.astype(np.float64) - head.mean) / head.scale
            return cls(head.task, labels, np.zeros(1), np.full(1, 2.0))
        weights = split.weights.astype(np.float64)
        shares = np.bincount(split.labels, weights, minlength=len(head.classes)) / weights.sum()
        start, curvature = np.log(shares), np.maximum(shares * (1.0 - shares), LEAST_CURVATURE)
        if head.task == "binary":
            start, curvature = start[1:] - start[:1], curvature[1:]
        return cls(head.task, split.labels, start, curvature)

    def take(self, rows: np.ndarray) -> TextLoss:
        """Returns the loss of the rows at `[M]` places."""
        return replace(self, labels=self.labels[rows])

    def __call__(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the loss of each row, `[N] float64`, and its gradient, `[N, units]`.

        Args:
            outputs: `[N, units] float64`: a logit, a logit a class, or a standardized value.
        """
        if self.task == "regression":
            error = outputs[:, 0] - self.labels
            return np.square(error), 2.0 * error[:, None]
        if self.task == "binary":
            sign = 2.0 * self.labels - 1.0
            losses = np.logaddexp(0.0, -sign * outputs[:, 0])
            return losses, (-sign * -np.expm1(-losses))[:, None]
        rows = np.arange(len(outputs))
        logs = outputs - outputs.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        gradient = np.exp(logs)
        gradient[rows, self.labels] -= 1.0
        return -logs[rows, self.labels], gradient
