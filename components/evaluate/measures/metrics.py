"""The metrics of each task, by their names in the spec, the gate and the report; and estimates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: half width of a 95 % interval, in errors."""


@dataclass(frozen=True)
class Metric:
    """A number of the report: its name in the spec and metrics.json, and how to read it."""

    name: str
    title: str
    better: Literal["higher", "lower", "zero"]
    meaning: str


_LOG_LOSS = Metric("log_loss", "Log-loss", "lower", "mean -ln of the probability of what happened")
_ACCURACY = Metric("accuracy", "Accuracy", "higher", "share of rows whose likeliest class is right")
_BRIER = Metric("brier", "Brier score", "lower", "mean squared error of the probabilities")
_CALIBRATION = Metric("ece", "Calibration error", "lower", "mean gap between probability and rate")

METRICS: dict[str, tuple[Metric, ...]] = {
    "binary": (
        Metric("auc", "AUC", "higher", "chance that a positive row scores above a negative one"),
        _LOG_LOSS,
        _ACCURACY,
        _BRIER,
        _CALIBRATION,
        Metric("average_precision", "Average precision", "higher", "precision, mean over recall"),
        Metric("precision", "Precision", "higher", "share of predicted positives that are right"),
        Metric("recall", "Recall", "higher", "share of positives that are found"),
        Metric("f1", "F1", "higher", "harmonic mean of precision and recall"),
    ),
    "multiclass": (
        _LOG_LOSS,
        _ACCURACY,
        Metric("macro_f1", "Macro F1", "higher", "F1, mean over classes"),
        Metric("micro_f1", "Micro F1", "higher", "F1 over all rows together"),
        Metric("macro_precision", "Macro precision", "higher", "precision, mean over classes"),
        Metric("macro_recall", "Macro recall", "higher", "recall, mean over classes"),
        Metric("macro_auc", "Macro AUC", "higher", "AUC of one class against the rest, mean"),
        _BRIER,
        _CALIBRATION,
    ),
    "regression": (
        Metric("rmse", "RMSE", "lower", "root of the mean squared error"),
        Metric("mae", "MAE", "lower", "mean absolute error"),
        Metric("r2", "R²", "higher", "share of the label's variance that is explained"),
        Metric("mean_error", "Mean error", "zero", "prediction minus label, mean"),
    ),
}


def metrics_of(task: str) -> tuple[str, ...]:
    """Returns the names of the metrics that a gate may bound for a task."""
    return tuple(m.name for m in METRICS[task])


def loss_of(task: str) -> str:
    """Returns the metric that models of a task are compared by; lower is better."""
    return "rmse" if task == "regression" else "log_loss"


@dataclass(frozen=True)
class Estimate:
    """A metric and its 95 % interval; NaN where the rows cannot tell."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def normal(
        cls, value: float, error: float, low: float = -math.inf, high: float = math.inf
    ) -> Estimate:
        """An estimate with a normal interval, cut to [low, high]."""
        if math.isnan(error):
            return cls(value)
        return cls(value, max(value - Z95 * error, low), min(value + Z95 * error, high))

    @classmethod
    def share(cls, value: float, n: float) -> Estimate:
        """An estimate of a share seen on n rows, with Wilson's interval."""
        return cls(value, *wilson(value, n))


def wilson(rate: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a proportion seen on n rows (Wilson 1927); NaN without rows."""
    if n <= 0 or math.isnan(rate):
        return math.nan, math.nan
    z2 = Z95**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)
