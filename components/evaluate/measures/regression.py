"""Statistics of a regression's scored rows: whole counts and exact sums, merged by `+`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from quatrain.components.evaluate.measures.exact_sums import MeanSums, count
from quatrain.components.evaluate.measures.metrics import MetricEstimate
from quatrain.components.evaluate.measures.reference import Reference

N_RESIDUAL_BINS = 80
"""Bins of the histogram of errors: 0.1 label deviations each, from -4 to 4."""
N_GRID = 40
"""Steps of each side of the plot of predictions against labels."""


@dataclass(frozen=True)
class Regression:
    """Statistics of a regression's scored rows.

    Attributes:
        reference: The unit of weights, the deviation of the labels and the range of the plots.
        rows: Number of rows.
        error: Sums of prediction - label.
        absolute: Sums of |prediction - label|.
        squared: Sums of (prediction - label)**2.
        label: Sums of the label.
        residuals: Units by error: 80 bins within ±4 label deviations and one beyond each end,
            `[82] int64`.
        grid: Units by label and prediction in 40 steps from low to high, `[40, 40] int64`.
    """

    reference: Reference
    rows: int
    error: MeanSums
    absolute: MeanSums
    squared: MeanSums
    label: MeanSums
    residuals: np.ndarray
    grid: np.ndarray

    @classmethod
    def zero(cls, reference: Reference) -> Regression:
        """Returns the statistics of no rows."""
        sums = MeanSums()
        residuals = np.zeros(N_RESIDUAL_BINS + 2, np.int64)
        grid = np.zeros((N_GRID, N_GRID), np.int64)
        return cls(reference, 0, sums, sums, sums, sums, residuals, grid)

    @classmethod
    def of(
        cls,
        reference: Reference,
        labels: np.ndarray,
        predictions: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> Regression:
        """Returns the statistics of a batch of `[N] float32` labels and predictions."""
        y, units = labels.astype(np.float64), reference.units(weights, len(labels))
        w, error = units / reference.unit, predictions.astype(np.float64) - labels
        # Bins 1 to 80 lie within four deviations; bins 0 and 81 have the rows beyond.
        step = (
            np.floor(error / reference.deviation * (N_RESIDUAL_BINS / 8)) + N_RESIDUAL_BINS / 2 + 1
        )
        bins = np.clip(step, 0, N_RESIDUAL_BINS + 1).astype(np.int64)
        row, column = (_grid_steps(v, reference) for v in (y, predictions.astype(np.float64)))
        return cls(
            reference=reference,
            rows=len(y),
            error=MeanSums.of(error, w),
            absolute=MeanSums.of(np.abs(error), w),
            squared=MeanSums.of(error * error, w),
            label=MeanSums.of(y, w),
            residuals=count(bins, units, N_RESIDUAL_BINS + 2),
            grid=count(row * N_GRID + column, units, N_GRID**2).reshape(N_GRID, N_GRID),
        )

    def __add__(self, other: Regression) -> Regression:
        return Regression(
            self.reference,
            self.rows + other.rows,
            self.error + other.error,
            self.absolute + other.absolute,
            self.squared + other.squared,
            self.label + other.label,
            self.residuals + other.residuals,
            self.grid + other.grid,
        )

    def metrics(self) -> dict[str, MetricEstimate]:
        """Returns every metric of the task, in the order of `METRICS`.

        The error of RMSE follows from the error of MSE by the delta method: error(MSE) / (2 RMSE).
        The interval of R² takes the variance of the test labels as known.
        """
        mse, variance = self.squared.mean, self.label.variance
        rmse = math.sqrt(mse) if mse >= 0 else math.nan
        error = self.squared.error / (2 * rmse) if rmse else math.nan
        r2 = MetricEstimate(math.nan)
        if variance > 0:
            r2 = MetricEstimate.normal(1 - mse / variance, self.squared.error / variance, high=1.0)
        return {
            "rmse": MetricEstimate.normal(rmse, error, low=0.0),
            "mae": MetricEstimate.normal(self.absolute.mean, self.absolute.error, low=0.0),
            "r2": r2,
            "mean_error": MetricEstimate.normal(self.error.mean, self.error.error),
        }

    def curves(self) -> dict[str, Any]:
        """Returns what the report draws: errors, and predictions against labels."""
        reference = self.reference
        return {
            "residuals": {
                "width": reference.deviation * 8 / N_RESIDUAL_BINS,
                "counts": (self.residuals / reference.unit).tolist(),
            },
            "grid": {
                "low": reference.low,
                "high": reference.high,
                "counts": (self.grid / reference.unit).tolist(),
            },
        }


def _grid_steps(values: np.ndarray, reference: Reference) -> np.ndarray:
    width = (reference.high - reference.low) or 1.0
    steps = (values - reference.low) / width * N_GRID
    return np.clip(steps, 0, N_GRID - 1).astype(np.int64)
