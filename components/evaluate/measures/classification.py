"""Statistics of a classifier's scored rows: whole counts and exact sums, merged by `+`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from quatrain.components.evaluate.measures import histogram
from quatrain.components.evaluate.measures.exact_sums import ExactSum, MeanSums, count
from quatrain.components.evaluate.measures.metrics import MetricEstimate, metrics_of
from quatrain.components.evaluate.measures.reference import Reference

SMALLEST_PROBABILITY = 1e-15
"""A lower probability counts as this one in the log-loss.

A single row whose true class has probability 0 would make the mean infinite; this way it adds 34.5.
"""


@dataclass(frozen=True)
class Classification:
    """Statistics of a classifier's scored rows.

    Attributes:
        reference: The unit of weights, the number of classes and the task.
        rows: Number of rows.
        confusion: Units by label and likeliest class, `[C, C] int64`.
        ranks: Histograms of a class's probability, among rows of other classes and among rows of
            the class, `[K, 2, B] int64`; K is 1 (the positive class) for a binary task, else C.
        confidence: Histograms of the likeliest class's probability, among wrong and among right
            rows, `[2, B] int64`; B is 0 for a binary task, whose `ranks` give its calibration.
        loss: Sums of the log-loss.
        brier: Sums of the Brier score.
        weight2: Sum of squared weights by label.
    """

    reference: Reference
    rows: int
    confusion: np.ndarray
    ranks: np.ndarray
    confidence: np.ndarray
    loss: MeanSums
    brier: MeanSums
    weight2: tuple[ExactSum, ...]

    @classmethod
    def zero(cls, reference: Reference, n_bins: int) -> Classification:
        """Returns the statistics of no rows."""
        c, binary = reference.n_classes, reference.task == "binary"
        return cls(
            reference=reference,
            rows=0,
            confusion=np.zeros((c, c), np.int64),
            ranks=np.zeros((1 if binary else c, 2, n_bins), np.int64),
            confidence=np.zeros((2, 0 if binary else n_bins), np.int64),
            loss=MeanSums(),
            brier=MeanSums(),
            weight2=(ExactSum(),) * c,
        )

    @classmethod
    def of(
        cls,
        reference: Reference,
        labels: np.ndarray,
        probabilities: np.ndarray,
        weights: np.ndarray | None = None,
        n_bins: int = 1_000,
    ) -> Classification:
        """Returns the statistics of a batch.

        Args:
            reference: What the rows are measured against.
            labels: `[N] int32` class indices.
            probabilities: `[N, C] float32`.
            weights: `[N] float32`, or None.
            n_bins: Bins of the histograms.
        """
        n, c = len(labels), reference.n_classes
        units = reference.units(weights, n)
        w = units / reference.unit
        p = probabilities.astype(np.float64)
        rows = np.arange(n)
        likeliest = p.argmax(axis=1)
        binary = reference.task == "binary"
        ranked = (1,) if binary else range(c)
        # The sum over classes of (p - y)**2, with y = 1 for the label and 0 otherwise, expanded.
        squares = np.sum(p * p, axis=1) - 2 * p[rows, labels] + 1
        return cls(
            reference=reference,
            rows=n,
            confusion=count(labels * c + likeliest, units, c * c).reshape(c, c),
            ranks=np.stack([_two_histograms(p[:, k], labels == k, units, n_bins) for k in ranked]),
            confidence=_two_histograms(
                p[rows, likeliest], labels == likeliest, units, 0 if binary else n_bins
            ),
            loss=MeanSums.of(log_losses(labels, p), w),
            # Halved for two classes: Brier (1950) counts both, the usual binary score just one.
            brier=MeanSums.of(squares / 2 if binary else squares, w),
            weight2=tuple(ExactSum.of((w * w)[labels == k]) for k in range(c)),
        )

    def __add__(self, other: Classification) -> Classification:
        return Classification(
            self.reference,
            self.rows + other.rows,
            self.confusion + other.confusion,
            self.ranks + other.ranks,
            self.confidence + other.confidence,
            self.loss + other.loss,
            self.brier + other.brier,
            tuple(a + b for a, b in zip(self.weight2, other.weight2, strict=True)),
        )

    def metrics(self) -> dict[str, MetricEstimate]:
        """Returns every metric of the task, in the order of `METRICS`."""
        estimates = {
            "log_loss": MetricEstimate.normal(self.loss.mean, self.loss.error, low=0.0),
            "accuracy": MetricEstimate.share(self._accuracy, self.loss.n_effective),
            "brier": MetricEstimate.normal(self.brier.mean, self.brier.error, low=0.0),
            "ece": MetricEstimate(histogram.calibration_error(self._calibration())),
            **(self._binary() if self.reference.task == "binary" else self._multiclass()),
        }
        return {name: estimates[name] for name in metrics_of(self.reference.task)}

    def curves(self) -> dict[str, Any]:
        """Returns what the report draws: calibration, confusion, and ROC or metrics by class."""
        curves: dict[str, Any] = {
            "calibration": [asdict(b) for b in self._calibration()],
            "confusion": (self.confusion / self.reference.unit).tolist(),
        }
        if self.reference.task == "binary":
            curves["roc"] = histogram.roc_points(self.ranks[0, 1], self.ranks[0, 0])
            curves["auc_resolution"] = histogram.auc_resolution(self.ranks[0, 1], self.ranks[0, 0])
        else:
            columns = (values.tolist() for values in self._by_class())
            curves["by_class"] = [
                {"precision": p, "recall": r, "f1": f, "rows": s}
                for p, r, f, s in zip(*columns, strict=True)
            ]
        return curves

    @property
    def _accuracy(self) -> float:
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else math.nan

    def _calibration(self) -> list[histogram.CalibrationBin]:
        wrong, right = self.ranks[0] if self.reference.task == "binary" else self.confidence
        return histogram.calibration(right, wrong, self.loss.n_effective)

    def _binary(self) -> dict[str, MetricEstimate]:
        """Returns the metrics that only a binary task has, by name."""
        negatives, positives = self.ranks[0]
        n_negatives, n_positives = (self._n_effective(k) for k in (0, 1))
        error = histogram.auc_error(positives, negatives, n_positives, n_negatives)
        precision, recall, f1, _ = (float(values[1]) for values in self._by_class())
        predicted = float(self.confusion[:, 1].sum() / max(self.confusion.sum(), 1))
        return {
            "auc": MetricEstimate.normal(histogram.auc(positives, negatives), error, 0.0, 1.0),
            "average_precision": MetricEstimate(histogram.average_precision(positives, negatives)),
            "precision": MetricEstimate.share(precision, predicted * self.loss.n_effective),
            "recall": MetricEstimate.share(recall, n_positives),
            "f1": MetricEstimate(f1),
        }

    def _multiclass(self) -> dict[str, MetricEstimate]:
        """Returns the metrics that only a multiclass task has, by name."""
        precision, recall, f1, support = self._by_class()
        # The precision of a class that has rows and is never predicted counts as 0, or a model
        # would gain by ignoring it.
        precision = np.where(support > 0, np.nan_to_num(precision), precision)
        areas = np.array([histogram.auc(p, n) for n, p in self.ranks])
        return {
            "macro_f1": MetricEstimate(_mean(f1)),
            "micro_f1": MetricEstimate.share(self._accuracy, self.loss.n_effective),
            "macro_precision": MetricEstimate(_mean(precision)),
            "macro_recall": MetricEstimate(_mean(recall)),
            "macro_auc": MetricEstimate(_mean(areas)),
        }

    def _n_effective(self, label: int) -> float:
        """Returns how many unweighted rows the rows of a label are worth (Kish 1965)."""
        weight2 = float(self.weight2[label])
        total = float(self.confusion[label].sum()) / self.reference.unit
        return total**2 / weight2 if weight2 else 0.0

    def _by_class(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns precision, recall, F1 and rows of each class, `[C] float64` each.

        Precision is NaN where no row is predicted, recall and F1 where no row has the class: 0
        would say that the model is wrong there.
        """
        hits = np.diag(self.confusion) / self.reference.unit
        predicted, support = (self.confusion.sum(axis=a) / self.reference.unit for a in (0, 1))
        precision, recall, f1 = (
            np.divide(hits, d, out=np.full_like(hits, math.nan), where=known)
            for d, known in (
                (predicted, predicted > 0),
                (support, support > 0),
                ((predicted + support) / 2, support > 0),
            )
        )
        return precision, recall, f1, support


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns -ln of the probability of the true class, `[N] float64`, from `[N, C]`."""
    p = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.maximum(p, SMALLEST_PROBABILITY)))


def _two_histograms(
    scores: np.ndarray, hits: np.ndarray, units: np.ndarray, n_bins: int
) -> np.ndarray:
    """Returns the histograms of the scores of misses and of hits, `[2, B] int64`."""
    if not n_bins:
        return np.zeros((2, 0), np.int64)
    # One count serves both: the bins of the hits follow those of the misses.
    keys = hits * n_bins + histogram.score_bins(scores, n_bins)
    return count(keys, units, 2 * n_bins).reshape(2, n_bins)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
