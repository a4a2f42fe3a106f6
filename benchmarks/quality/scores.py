"""What predictions are worth: losses of rows, and the metrics of a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

N_BINS = 15
LEAST = 1e-15
"""The least probability that counts; a class that a system does not know has it."""


@dataclass(frozen=True)
class Scores:
    """The test rows of one cell.

    Attributes:
        losses: The log-loss of each row, or the squared error, `[N] float64`.
        stated: With classes, the probability of the positive class, or with more than two classes
            that of the likeliest, `[N]`; empty for a regression.
        right: Whether the row is of that class, `[N] bool`.
        is_class: Whether classes are predicted.
    """

    losses: np.ndarray
    stated: np.ndarray
    right: np.ndarray
    is_class: bool

    @classmethod
    def of(cls, predicted: np.ndarray, labels: np.ndarray, classes: list[str]) -> Scores:
        """Scores predictions.

        Args:
            predicted: Numbers `[N]`, or the probabilities of the classes `[N, C]`.
            labels: Numbers, or texts of classes, `[N]`.
            classes: The classes of the train rows; a label may be none of them.
        """
        if not classes:
            nothing = np.empty(0)
            return cls((predicted - labels.astype(np.float64)) ** 2, nothing, nothing > 0, False)
        codes = np.array([classes.index(x) if x in classes else -1 for x in labels.tolist()])
        chosen = np.where(codes >= 0, predicted[np.arange(len(codes)), codes], 0.0)
        losses = -np.log(np.clip(chosen, LEAST, 1.0))
        if len(classes) == 2:
            return cls(losses, predicted[:, 1], codes == 1, True)
        return cls(losses, predicted.max(axis=1), codes == predicted.argmax(axis=1), True)

    def metrics(self, task: str) -> dict[str, float]:
        """Returns the metrics of a task: rmse; or log_loss and ece, for a binary one auc too."""
        if not self.is_class:
            return {"rmse": float(np.sqrt(self.losses.mean()))}
        ece = calibration_error(self.stated, self.right)
        metrics = {"log_loss": float(self.losses.mean()), "ece": ece}
        return metrics | ({"auc": auc(self.stated, self.right)} if task == "binary" else {})

    def save(self, path: Path) -> None:
        """Writes the scores, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        half = {"losses": self.losses, "stated": self.stated}
        arrays = {name: values.astype(np.float32) for name, values in half.items()}
        np.savez_compressed(part, right=self.right, is_class=self.is_class, **arrays)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Reads scores."""
        with np.load(path) as saved:
            losses, stated = (saved[n].astype(np.float64) for n in ("losses", "stated"))
            return cls(losses, stated, saved["right"], bool(saved["is_class"]))


def bins_of(stated: np.ndarray) -> np.ndarray:
    """Returns the bin of each probability, of equal widths."""
    return np.minimum((stated * N_BINS).astype(int), N_BINS - 1)


def calibration_error(stated: np.ndarray, right: np.ndarray) -> float:
    """Returns the expected calibration error (Guo et al. 2017)."""
    gaps = np.bincount(bins_of(stated), stated - right, minlength=N_BINS)
    return float(np.abs(gaps).sum() / len(stated))


def auc(stated: np.ndarray, right: np.ndarray) -> float:
    """Returns the area under the ROC curve of `right` by `stated`; .5 if all rows are alike."""
    values, counts = np.unique(stated, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    positive = int(right.sum())
    if positive in (0, len(right)):
        return 0.5
    total = ranks[np.searchsorted(values, stated[right])].sum()
    return float((total - positive * (positive + 1) / 2) / (positive * (len(right) - positive)))
