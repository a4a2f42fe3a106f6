"""What a first pass over the rows collects: train labels, test weights and values of slices."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import DataError
from quatrain.components.evaluate.measures.exact_sums import ExactSum, MeanSums
from quatrain.components.evaluate.measures.reference import Reference, SliceValues

TOP_VALUES = 20
"""Values of a slice column that are measured on their own; all others are measured together."""
MAX_VALUES = 50_000
"""A column with more distinct values is not sliced: all its rows are one slice."""
PLOTTED_DEVIATIONS = 3.0
"""The plots of a regression reach this many deviations from the mean label."""
MISSING = "(missing)"
OTHER = "(other)"
TOO_MANY = f"(more than {MAX_VALUES:,} different values)"

ValueCounts = Mapping[str, Counter[str] | None]


@dataclass(frozen=True)
class Survey:
    """Mergeable statistics of train labels, test weights and slice values.

    Attributes:
        classes: Weight of the train rows by class index; empty for regression.
        labels: Sums of the train labels.
        low: Lowest train label; infinity without rows.
        high: Highest train label; minus infinity without rows.
        test_rows: Number of test rows.
        test_weight: Sum of the weights of the test rows.
        values: Test rows by value, for every slice column; None beyond `MAX_VALUES` values.
    """

    classes: Mapping[int, ExactSum] = field(default_factory=dict)
    labels: MeanSums = field(default_factory=MeanSums)
    low: float = math.inf
    high: float = -math.inf
    test_rows: int = 0
    test_weight: ExactSum = field(default_factory=ExactSum)
    values: ValueCounts = field(default_factory=dict)

    @classmethod
    def of_train(cls, labels: np.ndarray, weights: np.ndarray | None) -> Survey:
        """Returns the survey of a train batch: `[N]` labels, and `[N] float32` weights or None."""
        if not len(labels):
            return cls()
        y = labels.astype(np.float64)
        w = np.ones(len(y)) if weights is None else weights.astype(np.float64)
        classes = {}
        if labels.dtype.kind == "i":
            classes = {int(k): ExactSum.of(w[labels == k]) for k in np.unique(labels)}
        return cls(classes, MeanSums.of(y, w), float(y.min()), float(y.max()))

    @classmethod
    def of_test(cls, rows: int, weights: np.ndarray | None, slices: pa.Table) -> Survey:
        """Returns the survey of a test batch.

        Args:
            rows: Number of rows.
            weights: `[N] float32`, or None.
            slices: The slice columns, as read.
        """
        total = ExactSum() if weights is None else ExactSum.of(weights)
        counts = {name: _bounded(_count(slices[name])) for name in slices.column_names}
        return cls(test_rows=rows, test_weight=total, values=counts)

    def __add__(self, other: Survey) -> Survey:
        zero = ExactSum()
        mine, theirs = self.classes, other.classes
        return Survey(
            {k: mine.get(k, zero) + theirs.get(k, zero) for k in sorted({*mine, *theirs})},
            self.labels + other.labels,
            min(self.low, other.low),
            max(self.high, other.high),
            self.test_rows + other.test_rows,
            self.test_weight + other.test_weight,
            _add_values(self.values, other.values),
        )

    def reference(self, task: str, n_classes: int, weighted: bool) -> Reference:
        """Returns what the test rows are measured against.

        Raises:
            DataError: The train or the test split has no rows, or no weight.
        """
        if not self.labels.weight.units or not self.test_rows:
            split = "test" if self.labels.weight.units else "train"
            raise DataError(f"the {split} split has no rows; make its share in `split` larger")
        if weighted and not self.test_weight.units:
            raise DataError(
                "the weight is 0 in every row of the test split; correct it, or change the split"
            )
        mean_weight = float(self.test_weight) / self.test_rows if weighted else None
        if task == "regression":
            mean, deviation = self.labels.mean, math.sqrt(max(self.labels.variance, 0.0)) or 1.0
            low = max(mean - PLOTTED_DEVIATIONS * deviation, self.low)
            high = min(mean + PLOTTED_DEVIATIONS * deviation, self.high)
            slices = self.slices()
            return Reference(task, 0, (mean,), deviation, low, high, mean_weight, slices)
        shares = tuple(
            self.classes.get(k, ExactSum()).units / self.labels.weight.units
            for k in range(n_classes)
        )
        return Reference(task, n_classes, shares, mean_weight=mean_weight, slices=self.slices())

    def slices(self, top: int = TOP_VALUES) -> SliceValues:
        """Returns the most frequent values of each slice column; ties are in alphabetical order."""
        return {name: _most_frequent(counts, top) for name, counts in self.values.items()}


def rows_of_slices(
    column: pa.Array | pa.ChunkedArray, values: tuple[str, ...] | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields each slice of a column with the rows in it, `[N] bool`; a slice may have none.

    Arrow compares the texts: numpy drops the last NUL characters of a text, and joins two values.

    Args:
        column: The column, as read.
        values: The values that are slices of their own; None: there are too many for any.
    """
    text = as_text(column)
    rest = np.ones(len(text), bool)
    if values is None:
        yield TOO_MANY, rest
        return
    for value in values:
        rows = pc.equal(text, pa.scalar(value, text.type)).to_numpy(zero_copy_only=False)
        rest = rest & ~rows
        yield value, rows
    yield OTHER, rest


def as_text(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Returns the values of a slice column as text; null and '' are `(missing)`."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    text = pc.fill_null(column.cast(pa.string()), "")
    return pc.if_else(pc.equal(text, ""), MISSING, text)


def _count(column: pa.ChunkedArray) -> Counter[str]:
    """Counts the rows by their value in a slice column."""
    counted = pc.value_counts(as_text(column))
    return Counter(
        dict(
            zip(
                counted.field("values").to_pylist(),
                counted.field("counts").to_pylist(),
                strict=True,
            )
        )
    )


def _bounded(counts: Counter[str]) -> Counter[str] | None:
    """Returns the counts, or None beyond `MAX_VALUES` values, so that memory stays bounded."""
    return counts if len(counts) <= MAX_VALUES else None


def _add_values(a: ValueCounts, b: ValueCounts) -> ValueCounts:
    empty: Counter[str] = Counter()
    return {n: _add_counts(a.get(n, empty), b.get(n, empty)) for n in sorted({*a, *b})}


def _add_counts(a: Counter[str] | None, b: Counter[str] | None) -> Counter[str] | None:
    return None if a is None or b is None else _bounded(a + b)


def _most_frequent(counts: Counter[str] | None, top: int) -> tuple[str, ...] | None:
    """Returns the most frequent values of a slice column, or None if it has too many."""
    if counts is None:
        return None
    # A row whose value is literally `(other)` is measured with the other values.
    named = [value for value in counts if value != OTHER]
    return tuple(sorted(named, key=lambda value: (-counts[value], value))[:top])
