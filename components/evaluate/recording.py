"""Puts the metrics of an evaluation where Vertex shows them: the KFP metrics artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class ScalarMetrics(Protocol):
    """What is used of `dsl.Metrics`."""

    def log_metric(self, metric: str, value: float) -> None:
        """Records a number."""


class ClassificationCurves(Protocol):
    """What is used of `dsl.ClassificationMetrics`."""

    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None:
        """Records the points of a ROC curve."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Records counts by label and predicted class."""


def record(
    measured: Mapping[str, Any], scalars: ScalarMetrics, curves: ClassificationCurves
) -> None:
    """Records the numbers of metrics.json, and the ROC and confusion matrix of a classifier."""
    for name, estimate in measured["metrics"].items():
        if estimate["value"] is not None:
            scalars.log_metric(name, estimate["value"])
    scalars.log_metric("test_rows", float(measured["rows"]))
    scalars.log_metric("gate_passed", float(measured["gate"]["passed"]))
    if measured["curves"].get("roc"):
        roc = measured["curves"]["roc"]
        keys = ("false_positive_rate", "true_positive_rate", "threshold")
        curves.log_roc_curve(*([point[key] for point in roc] for key in keys))
    if measured["classes"]:
        matrix = [[round(n) for n in row] for row in measured["curves"]["confusion"]]
        curves.log_confusion_matrix(list(measured["classes"]), matrix)
