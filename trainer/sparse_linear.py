"""A linear model of sparse rows, fitted by L-BFGS with numpy alone: one core, the same sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

MEMORY = 8
"""Pairs of differences from which L-BFGS estimates the curvature (Nocedal & Wright 2006, 7.2)."""
STEPS = 12
"""Most steps of a fit: the next strength starts where it ended."""
LEAST_FALL = 2e-3
"""The share of the loss below which the fall of a step ends a fit."""
HALVINGS = 20

LossOf = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Maps outputs `[N, units]` to the loss of each row `[N]` and its gradient `[N, units]`."""


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Rows of D columns, of which most are 0: column j of row i is 0 or scales[j] * norms[i].

    Attributes:
        counts: Number of columns of each row that are not 0, `[N] int64`.
        columns: These columns, row by row, `[P] int64`.
        scales: `[D] float64`.
        norms: `[N] float64`.
    """

    counts: np.ndarray
    columns: np.ndarray
    scales: np.ndarray
    norms: np.ndarray

    def times(self, weights: np.ndarray) -> np.ndarray:
        """Returns the product with `[D, units]`, `[N, units]`."""
        filled = np.flatnonzero(self.counts)
        starts = (np.cumsum(self.counts) - self.counts)[filled]
        out = np.zeros((len(self.counts), weights.shape[1]))
        for unit in range(weights.shape[1]):
            scaled = self.scales * weights[:, unit]
            if len(filled):  # reduceat adds no empty run
                out[filled, unit] = np.add.reduceat(scaled.take(self.columns), starts)
        return out * self.norms[:, None]

    def mean_squares(self, importance: np.ndarray) -> np.ndarray:
        """Returns the weighted mean square of each column, `[D]`.

        Args:
            importance: The share of each row, `[N] float64`.
        """
        by_entry = np.repeat(importance * self.norms**2, self.counts)
        return self.scales**2 * np.bincount(self.columns, by_entry, minlength=len(self.scales))

    def transposed_times(self, values: np.ndarray) -> np.ndarray:
        """Returns the product of the transpose with `[N, units]`, `[D, units]`."""
        out = np.empty((len(self.scales), values.shape[1]))
        for unit in range(values.shape[1]):
            by_entry = np.repeat(values[:, unit] * self.norms, self.counts)
            sums = np.bincount(self.columns, by_entry, minlength=len(self.scales))
            out[:, unit] = self.scales * sums
        return out


def outputs_of(blocks: Sequence[SparseRows], x: np.ndarray) -> np.ndarray:
    """Returns the outputs of a model for rows, `[N, units]`.

    Args:
        blocks: The rows, as columns side by side.
        x: The weights and intercepts, as of `fit_linear`.
    """
    cuts = np.cumsum([len(b.scales) for b in blocks])[:-1]
    parts = np.split(x[:-1], cuts)
    return sum((b.times(w) for b, w in zip(blocks, parts, strict=True)), np.zeros(1)) + x[-1]


def fit_linear(
    blocks: Sequence[SparseRows],
    loss: LossOf,
    curvature: np.ndarray,
    importance: np.ndarray,
    penalty: float,
    start: np.ndarray,
) -> np.ndarray:
    """Fits weights and intercepts to the least penalized loss.

    That is the mean of the losses plus half of `penalty` times the squares of the weights, without
    those of the intercepts.

    Args:
        blocks: The rows, as columns side by side.
        loss: The loss of outputs, and its gradient.
        curvature: About the second derivative of the loss, `[units]`: it sets the size of the first
            steps, in which frequent columns would else hide the others.
        importance: The share of each row in the mean, `[N] float64`; their sum is 1.
        penalty: What a weight costs.
        start: Where to start, `[sum of D + 1, units]`: the weights, then the intercepts.

    Returns:
        The same, fitted.
    """

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        by_row, slopes = loss(outputs_of(blocks, x))
        slopes = slopes * importance[:, None]
        gradient = np.empty_like(x)
        gradient[:-1] = np.concatenate([b.transposed_times(slopes) for b in blocks])
        gradient[:-1] += penalty * x[:-1]
        gradient[-1] = slopes.sum(axis=0)
        return float(importance @ by_row + penalty / 2 * np.sum(x[:-1] ** 2)), gradient

    x = start
    value, gradient = evaluate(x)
    squares = np.concatenate([b.mean_squares(importance) for b in blocks])
    scale = np.append(squares, 1.0)[:, None] * curvature
    scale[:-1] += penalty
    moves: list[tuple[np.ndarray, np.ndarray, float]] = []
    for _ in range(STEPS):
        direction = -_over_curvature(gradient, moves, scale)
        slope, step = float(np.sum(direction * gradient)), 1.0
        for _ in range(HALVINGS):
            new_value, new_gradient = evaluate(x + step * direction)
            if new_value <= value + 1e-4 * step * slope:
                break
            step /= 2
        else:
            return x  # no step falls: the loss is at its least, as far as float64 tells
        fall, change = value - new_value, new_gradient - gradient
        bend = float(np.sum(change * direction) * step)
        if bend > 0:
            moves = [*moves, (step * direction, change, bend)][-MEMORY:]
        x, value, gradient = x + step * direction, new_value, new_gradient
        if fall < LEAST_FALL * abs(value):
            break
    return x


def _over_curvature(
    gradient: np.ndarray, moves: list[tuple[np.ndarray, np.ndarray, float]], scale: np.ndarray
) -> np.ndarray:
    """Returns the gradient times the estimate of the inverse Hessian: the two-loop recursion.

    Args:
        gradient: `[D, units]`.
        moves: The last moves, the changes of the gradient, and the products of both.
        scale: The diagonal of the first estimate of the Hessian, `[D, units]`.
    """
    q, shares = gradient.copy(), []
    for move, change, curvature in reversed(moves):
        shares.append(float(np.sum(move * q)) / curvature)
        q -= shares[-1] * change
    q /= scale
    if moves:
        _, change, curvature = moves[-1]
        q *= curvature / np.sum(change**2 / scale)
    for (move, change, curvature), share in zip(moves, reversed(shares), strict=True):
        q += (share - float(np.sum(change * q)) / curvature) * move
    return q
