"""Engineered columns: each feature computed once for each distinct combination of its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.preprocess.dictionary import FEW, decode
from quatrain.trainer.features.base import Feature, raw_inputs
from quatrain.trainer.features.fingerprint import distinct_rows
from quatrain.trainer.features.transform import Transform


@dataclass(frozen=True, eq=False)
class LookupColumn:
    """A column whose rows look up their values.

    Attributes:
        values: `[K]`, in numpy or Arrow; `[N]` if `rows` is None.
        rows: The index of each row's value, `[N]` integers; None if each row has its own.
    """

    values: Any
    rows: np.ndarray | None

    def cast(self, type_: pa.DataType) -> LookupColumn:
        """Returns the column as another Arrow type; a value that the type lacks is rounded."""
        values = self.values
        values = pa.array(values) if isinstance(values, np.ndarray) else values
        return LookupColumn(values.cast(type_, safe=False), self.rows)

    def slice(self, start: int, length: int) -> pa.Array:
        """Returns the values of consecutive rows, `[M]`; `cast` must have made them Arrow's."""
        if self.rows is None:
            return self.values.slice(start, length)
        rows = pa.array(self.rows[start : start + length])
        return pc.take(self.values, rows, boundscheck=False)

    def take(self, places: np.ndarray) -> pa.Array:
        """Returns the values of the rows at `[M]` places; `cast` must have made them Arrow's."""
        rows = places if self.rows is None else self.rows[places]
        return pc.take(self.values, pa.array(rows), boundscheck=False)


def lookup_column(column: pa.Array) -> LookupColumn:
    """Returns a column that `compact` returned, codes or values, as a lookup."""
    if pa.types.is_dictionary(column.type):
        return LookupColumn(column.dictionary, column.indices.to_numpy())
    return LookupColumn(column, None)


def apply(transform: Transform, batch: pa.RecordBatch) -> dict[str, LookupColumn]:
    """Applies the fitted transform, each feature once to each distinct combination of its inputs.

    The result is the same as row by row: a feature sees one row at a time, so rows with equal
    inputs have equal values.

    Args:
        transform: The fitted transform.
        batch: The transform's inputs, as `compact` returns them.
    """
    engineered: dict[str, LookupColumn] = {}
    for part in _by_columns(transform):
        rows, distinct = _combinations([batch.column(i.name) for i in part.inputs])
        combinations = pa.record_batch(distinct, names=[i.name for i in part.inputs])
        raw = raw_inputs(combinations, part.inputs)
        values = {**part.numpy(raw), **part.sets_numpy(raw)}
        engineered |= {name: LookupColumn(column, rows) for name, column in values.items()}
    return engineered


def _by_columns(transform: Transform) -> Iterator[Transform]:
    """Divides a transform into transforms of the features with the same inputs."""
    groups: dict[frozenset[str], list[Feature]] = {}
    for feature in transform.features:
        groups.setdefault(frozenset(feature.columns), []).append(feature)
    for columns, features in groups.items():
        inputs = tuple(i for i in transform.inputs if i.name in columns)
        yield replace(transform, features=tuple(features), inputs=inputs)


def _combinations(columns: Sequence[pa.Array]) -> tuple[np.ndarray | None, list[pa.Array]]:
    """Returns the distinct combinations, and the index of each row's, `[N]`.

    Where most rows are distinct, it returns None and the rows as they are.
    """
    if all(pa.types.is_dictionary(c.type) for c in columns):
        if len(columns) == 1:
            return columns[0].indices.to_numpy(), [columns[0].dictionary]
        rows, distinct = distinct_rows(list(columns))
        if len(distinct[0]) <= FEW * len(rows):
            return rows, distinct
    return None, [decode(column) for column in columns]
