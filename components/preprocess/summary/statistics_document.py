"""statistics.json: the columns of each split, and the part that later runs compare with."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from quatrain.components.preprocess.summary.histograms import histogram
from quatrain.components.preprocess.summary.summary import Summary, classes_of
from quatrain.components.specification.schema import ModelSpec
from quatrain.trainer.features.base import Input
from quatrain.trainer.features.statistics import (
    Categories,
    ColumnStatistics,
    Distribution,
    TableStatistics,
)

VERSION = 2
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
TOP = 20
LISTED = 200
"""How many of the most frequent categories are listed, to compare another run by them."""


def document(
    summary: Summary, spec: ModelSpec, columns: tuple[Input, ...], warnings: list[str]
) -> dict[str, Any]:
    """Returns the content of statistics.json, still without the audit."""
    splits = {
        name: {
            "rows": table.rows,
            "columns": {c.name: _describe(table.columns[c.name], c.type) for c in columns},
        }
        for name, table in summary.splits.items()
    }
    tables = summary.splits.values()
    merged = {c.name: reduce(add, (t.columns[c.name] for t in tables)) for c in columns}
    whole = TableStatistics(sum(t.rows for t in tables), merged)
    return {
        "version": VERSION,
        "splits": splits,
        "kept": comparable(whole, spec, columns),
        "warnings": warnings,
    }


def comparable(
    table: TableStatistics, spec: ModelSpec, columns: tuple[Input, ...]
) -> dict[str, Any]:
    """Returns the statistics of all splits together, which a later run compares with its own."""
    label: dict[str, Any] = {"column": spec.label}
    if spec.task != "regression":
        labels = table.columns[spec.label]
        type_ = next(c.type for c in columns if c.name == spec.label)
        rows = zip(classes_of(labels, type_), labels.counts.tolist(), strict=True)
        label["classes"] = dict(sorted(rows, key=lambda r: (-r[1], r[0]))[:LISTED])
    return {"rows": table.rows, "label": label, "columns": comparable_columns(table, columns)}


def comparable_columns(table: TableStatistics, columns: tuple[Input, ...]) -> dict[str, Any]:
    """Returns what of a table's columns can be compared with another table's, by name."""
    return {c.name: _comparable_column(table.columns[c.name], c.type) for c in columns}


def _comparable_column(column: ColumnStatistics, type_: str) -> dict[str, Any]:
    """Returns what a later run needs to compare a column: frequent values, or moments and bins."""
    shared = {"type": type_, "count": column.count, "missing": column.missing}
    if isinstance(column, Categories):
        return {**shared, "distinct": column.distinct, "values": dict(column.top(LISTED))}
    if not column.count:
        return shared
    mean, stddev = column.moments()
    edges, counts = histogram(column, whole=type_ in ("int", "bool"))
    return {
        **shared,
        "mean": mean,
        "stddev": stddev,
        "kurtosis": column.moments(lambda v: ((v - mean) / (stddev or 1.0)) ** 4)[0],
        "histogram": {"edges": edges, "counts": counts},
    }


def _describe(column: ColumnStatistics, type_: str) -> dict[str, Any]:
    """Returns a column of one split as statistics.json describes it."""
    shared = {"type": type_, "count": column.count, "missing": column.missing}
    if isinstance(column, Categories):
        top = [{"value": v, "count": n} for v, n in column.top(TOP)]
        return {**shared, "distinct": column.distinct, "exact": column.exact, "top": top}
    return {**shared, **_numbers(column, type_)}


def _numbers(column: Distribution, type_: str) -> dict[str, Any]:
    """Returns a column of numbers as statistics.json describes it; None for what has no value."""
    shared: dict[str, Any] = {"distinct": len(column.keys), "exact": column.exact}
    if not column.count:
        return {**shared, **dict.fromkeys(("mean", "stddev", "min", "max", "quantiles"))}
    mean, stddev = column.moments()
    quantiles = column.quantile(list(QUANTILES)).tolist()
    by_share = {f"{q:g}": v for q, v in zip(QUANTILES, quantiles, strict=True)}
    described = {
        **shared,
        "mean": mean,
        "stddev": stddev,
        "min": quantiles[0],
        "max": quantiles[-1],
    }
    if type_ in ("int", "bool") and len(column.keys) <= TOP:
        values = zip(classes_of(column, type_), column.counts.tolist(), strict=True)
        described["values"] = [{"value": v, "count": n} for v, n in values]
    return {**described, "quantiles": by_share}
