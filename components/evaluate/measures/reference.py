"""What test rows are measured against: the task, the train prior, and the unit of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from quatrain.components.errors import DataError

WEIGHT_UNITS = 1 << 30
"""The number of units that the mean weight counts for in the histograms.

Whole numbers add up exactly in any order. Rounding a weight to 2**-30 of the mean changes it by at
most 5e-10 of the mean, and an int64 still holds 2**33 rows of average weight.
"""

SliceValues = Mapping[str, tuple[str, ...] | None]
"""The values of each slice column; None for a column with too many, whose rows are one slice."""


@dataclass(frozen=True)
class Reference:
    """What must be known before the first test row is measured.

    Attributes:
        task: binary, multiclass or regression.
        n_classes: Number of classes; 0 for regression.
        prior: Train share of each class; the mean train label alone for regression.
        deviation: Standard deviation of the train labels; 1 for classification.
        low: Lowest label that the plots of a regression show.
        high: Highest one.
        mean_weight: Mean weight of a test row; None without weights.
        slices: Values of each slice column that are measured apart, most rows first.
        class_weights: What multiplies a row's weight, by its class, where losses are compared;
            empty without class weights.
    """

    task: str
    n_classes: int
    prior: tuple[float, ...]
    deviation: float = 1.0
    low: float = 0.0
    high: float = 1.0
    mean_weight: float | None = None
    slices: SliceValues = field(default_factory=dict)
    class_weights: tuple[float, ...] = ()

    def with_class_weights(self, class_weights: Sequence[float]) -> Reference:
        """Returns the reference of a model that was trained with class weights, `[C]`.

        Its prior is that of train rows weighted so: what is compared with the model has the same
        aim. The weights are scaled so that a train row weighs 1 on average.
        """
        if not class_weights:
            return self
        scale = sum(p * w for p, w in zip(self.prior, class_weights, strict=True))
        scaled = tuple(w / scale for w in class_weights)
        prior = tuple(p * w for p, w in zip(self.prior, scaled, strict=True))
        return replace(self, prior=prior, class_weights=scaled)

    def loss_weights(self, weights: np.ndarray | None, labels: np.ndarray) -> np.ndarray:
        """Returns how much the loss of each row counts in a comparison, `[N] float64`.

        Args:
            weights: The weights of the rows, `[N] float32`; None: each row weighs 1.
            labels: `[N]` class indices or numbers.

        Raises:
            DataError: A weight is negative or not finite.
        """
        shares = self.units(weights, len(labels)) / self.unit
        return np.asarray(shares * self.factors(labels))

    def factors(self, labels: np.ndarray) -> np.ndarray | float:
        """Returns the class weight of each row, `[N] float64`, or 1 without class weights."""
        return np.asarray(self.class_weights)[labels] if self.class_weights else 1.0

    def units(self, weights: np.ndarray | None, n_rows: int) -> np.ndarray:
        """Returns weights in whole units, `[N] int64`: 1 a row, or 2**30 for the mean weight.

        Raises:
            DataError: A weight is negative or not finite.
        """
        if weights is None or self.mean_weight is None:
            return np.ones(n_rows, np.int64)
        if not np.all(np.isfinite(weights) & (weights >= 0)):
            wrong = weights[~(np.isfinite(weights) & (weights >= 0))][0]
            raise DataError(f"a row has weight {wrong}; weights must be finite and at least 0")
        scaled = weights.astype(np.float64) / self.mean_weight * WEIGHT_UNITS
        return np.rint(scaled).astype(np.int64)

    @property
    def unit(self) -> int:
        """The number of units of a row of average weight."""
        return 1 if self.mean_weight is None else WEIGHT_UNITS
