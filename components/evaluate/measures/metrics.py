"""The metrics of each task, by their names in the spec, the gate and the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from quatrain.components.confidence import Z95, wilson


@dataclass(frozen=True)
class Metric:
    """A metric: its name in the spec and in metrics.json, and how to read it in the report."""

    name: str
    title: str
    better: Literal["higher", "lower", "zero"]
    meaning: str


_LOG_LOSS = Metric("log_loss", "Log-loss", "lower", "mean -ln of the probability of the true class")
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
        Metric(
            "average_precision", "Average precision", "higher", "mean precision over all recalls"
        ),
        Metric("precision", "Precision", "higher", "share of predicted positives that are right"),
        Metric("recall", "Recall", "higher", "share of positives that are predicted as such"),
        Metric("f1", "F1", "higher", "harmonic mean of precision and recall"),
    ),
    "multiclass": (
        _LOG_LOSS,
        _ACCURACY,
        Metric("macro_f1", "Macro F1", "higher", "mean F1 of the classes"),
        Metric("micro_f1", "Micro F1", "higher", "F1 over all rows together"),
        Metric("macro_precision", "Macro precision", "higher", "mean precision of the classes"),
        Metric("macro_recall", "Macro recall", "higher", "mean recall of the classes"),
        Metric("macro_auc", "Macro AUC", "higher", "mean AUC of each class against the rest"),
        _BRIER,
        _CALIBRATION,
    ),
    "regression": (
        Metric("rmse", "RMSE", "lower", "root of the mean squared error"),
        Metric("mae", "MAE", "lower", "mean absolute error"),
        Metric("r2", "R²", "higher", "share of the label's variance that is explained"),
        Metric("mean_error", "Mean error", "zero", "mean of prediction minus label"),
    ),
}


def metrics_of(task: str) -> tuple[str, ...]:
    """Returns the names of the metrics that a gate may bound for a task."""
    return tuple(m.name for m in METRICS[task])


def loss_of(task: str) -> str:
    """Returns the metric by which models of a task are compared; lower is better."""
    return "rmse" if task == "regression" else "log_loss"


@dataclass(frozen=True)
class MetricEstimate:
    """A metric and its 95 % interval; NaN where it cannot be computed from the rows."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def normal(
        cls, value: float, error: float, low: float = -math.inf, high: float = math.inf
    ) -> MetricEstimate:
        """Returns an estimate with a normal interval, cut to [low, high]."""
        if math.isnan(error):
            return cls(value)
        return cls(value, max(value - Z95 * error, low), min(value + Z95 * error, high))

    @classmethod
    def share(cls, value: float, n: float) -> MetricEstimate:
        """Returns an estimate of a share of n rows, with Wilson's interval."""
        return cls(value, *wilson(value, n))
