"""Partial dependence: the mean answer if every row had the same value of one input.

Friedman, "Greedy function approximation: a gradient boosting machine" (2001), section 8.2. Numbers
and times are tried at quantiles of the rows, categories at the commonest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from quatrain.components.evaluate.importance.permutation import SampledRows, answers_to_changed
from quatrain.components.evaluate.measures.exact_sums import MeanSums
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.serve.served_model import ServedModel
from quatrain.trainer.features import TIMES, Input

MAX_SHAPES = 4
"""Inputs whose shape is shown."""
N_POINTS = 20
"""Values of a number or a time that are tried; the missing value comes on top."""
MAX_ROWS = 500
"""Rows that get each of the values. All values see the same rows, so a shape is no noisier for
having few of them."""
LEAST_ROWS = 20
"""Rows below which rather fewer shapes are shown."""
OUTER = 0.02
"""The share of the rows beyond each end of the values that are tried."""
N_BINS = 24
"""Bins of the histogram that shows where the rows are."""
MAX_CATEGORIES = 8
LEAST_SHARE, LEAST_COUNT = 0.01, 5
"""The rows of a category that is tried. A rarer one could name a single person."""
MAX_CLASSES = 4
"""Classes of a multiclass task that are shown, those with the most train rows."""

Kind = Literal["number", "time", "category"]


@dataclass(frozen=True)
class Grid:
    """The values of an input that are tried.

    Attributes:
        kind: How they are drawn.
        values: As the model takes them, `[P]`: float64 (times in seconds since 1970), or strings.
        names: As they are shown: numbers, or the names of categories.
        shares: The share of the rows that have each value; None for a number or a time that has
            more values than are tried.
        histogram: Instead, the share of the rows in each of `N_BINS` bins between the outer values.
        missing: The share of the rows where it is missing; a category may be the missing value.
    """

    kind: Kind
    values: np.ndarray | pa.Array
    names: Sequence[float | str]
    shares: Sequence[float] | None = None
    histogram: Sequence[float] = ()
    missing: float = 0.0

    @classmethod
    def of(cls, column: Input, values: np.ndarray | pa.Array) -> Grid | None:
        """Returns the values to try, or None if there are not two.

        Free text and identifiers have none: hardly two rows have the same.

        Args:
            column: The input.
            values: The values of a sample of rows.
        """
        if column.type in ("string", "bool"):
            return cls._of_categories(column, values)
        known = np.sort(values[np.isfinite(values)])
        n = len(known)
        if not n or known[0] == known[-1]:
            return None
        kind: Kind = "time" if column.type in TIMES else "number"
        missing = 1 - n / len(values)
        distinct, counts = np.unique(known, return_counts=True)
        if len(distinct) <= N_POINTS:
            shares = (counts / n).tolist()
            return cls(kind, distinct, distinct.tolist(), shares, missing=missing)
        places = np.linspace(OUTER, 1 - OUTER, N_POINTS) * (n - 1)
        tried = _rounded(known[np.rint(places).astype(int)])
        if len(tried) < 2:
            return None
        counts, _ = np.histogram(known, N_BINS, (tried[0], tried[-1]))
        histogram = (counts / n).tolist()
        return cls(kind, tried, tried.tolist(), histogram=histogram, missing=missing)

    @classmethod
    def _of_categories(cls, column: Input, values: Any) -> Grid | None:
        texts = values.to_pylist() if column.type == "string" else values.tolist()
        if column.type == "bool":  # NaN is no key of a dictionary
            texts = [None if math.isnan(v) else v for v in texts]
        least = max(LEAST_COUNT, LEAST_SHARE * len(texts))
        counts = sorted(Counter(texts).items(), key=lambda c: (-c[1], str(c[0])))
        common = [(value, n) for value, n in counts[:MAX_CATEGORIES] if n >= least]
        if len(common) < 2:
            return None
        named: Any = [value for value, _ in common]
        shares = [n / len(texts) for _, n in common]
        if column.type == "string":
            return cls("category", pa.array(named, values.type), named, shares)
        names = ["" if v is None else str(bool(v)).lower() for v in named]
        return cls("category", np.array(named, np.float64), names, shares)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Returns the distinct values, rounded to a power of ten that is at most 1/200 of their range.

    A value with all its digits could tell which row it is from. A whole number stays one.
    """
    spread = values[-1] - values[0]
    if not 0 < spread < math.inf:
        return np.unique(values)
    return np.unique(np.round(values, -math.floor(math.log10(spread / 200))))


def shapes(
    model: ServedModel,
    rows: SampledRows,
    reference: Reference,
    inputs: Sequence[str],
    affordable: int,
) -> list[dict[str, Any]]:
    """Returns the shapes of the first inputs that have one, as metrics.json lists them.

    Args:
        model: The model.
        rows: Rows, in a random order.
        reference: The task.
        inputs: The inputs, the strongest first.
        affordable: Rows that may be predicted.
    """
    columns = {i.name: i for i in model.transform.inputs}
    cost = N_POINTS + 1
    most = min(MAX_SHAPES, affordable // (cost * LEAST_ROWS))
    tried = ((name, Grid.of(columns[name], rows.columns[name])) for name in inputs)
    grids = dict(islice(((name, grid) for name, grid in tried if grid), most))
    if not grids:
        return []
    few = rows.first(min(MAX_ROWS, affordable // (cost * len(grids))))
    shown = _shown_classes(reference)
    documents = []
    for name, grid in grids.items():
        means = _means(model, few, name, grid, shown)
        documents.append(
            {
                "input": name,
                "kind": grid.kind,
                "classes": [model.classes[k] for k in shown],
                "rows": len(few),
                "points": [
                    {"value": value, "means": mean}
                    for value, mean in zip(grid.names, means, strict=False)
                ],
                "shares": grid.shares,
                "histogram": grid.histogram,
                "missing": {"share": grid.missing, "means": means[-1]} if grid.missing else None,
            }
        )
    return documents


def _means(
    model: ServedModel, rows: SampledRows, name: str, grid: Grid, shown: Sequence[int]
) -> list[list[float]]:
    """Returns the mean answer for each value, and for the missing one if some rows miss it.

    Args:
        model: The model.
        rows: The rows that get the values.
        name: The input.
        grid: The values.
        shown: The classes whose probabilities are shown; none for a regression.
    """
    values = [_repeated(grid.values, k, len(rows)) for k in range(len(grid.values))]
    if grid.missing:
        values.append(np.full(len(rows), np.nan))
    answers = answers_to_changed(model, rows.columns, [(name, value) for value in values])
    outputs = ([answer[:, k] for k in shown] or [answer] for answer in answers)
    return [[_mean(output, rows.weights) for output in of_value] for of_value in outputs]


def _mean(outputs: np.ndarray, weights: np.ndarray) -> float:
    """Returns the weighted mean; NaN if the model gives no answer to a row."""
    if not np.isfinite(outputs).all():
        return math.nan
    return MeanSums.of(outputs.astype(np.float64), weights).mean


def _repeated(values: np.ndarray | pa.Array, k: int, n: int) -> np.ndarray | pa.Array:
    """Returns n times the k-th value."""
    return np.repeat(values[k], n) if isinstance(values, np.ndarray) else pa.repeat(values[k], n)


def _shown_classes(reference: Reference) -> list[int]:
    """Returns the positive class, or the classes with the most train rows, in their order."""
    if reference.task == "regression":
        return []
    if reference.task == "binary":
        return [1]
    by_share = sorted(range(reference.n_classes), key=lambda k: -reference.prior[k])
    return sorted(by_share[:MAX_CLASSES])
