"""Columns of a block as codes of their distinct values: what follows from a value is done once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.features import Feature, Input, Raw, raw_inputs
from trainer.fingerprint import distinct_rows
from trainer.transform import Transform

Encoded = Mapping[str, pa.DictionaryArray]
"""By name `[N]` codes of `[K]` distinct values; a missing value is one of them."""
_CODES = (pa.int8(), pa.int16(), pa.int32())
FEW = 0.5
"""Up to so many distinct values a row, codes are smaller and quicker than the values."""


def encode(batch: pa.RecordBatch, names: Iterable[str]) -> Encoded:
    """Returns the codes of some columns; of those that are distinct everywhere, too."""
    return {n: batch.column(n).dictionary_encode(null_encoding="encode") for n in names}


def distinct_inputs(encoded: Encoded, inputs: Iterable[Input]) -> Raw:
    """Returns the distinct values of each column, `[K]`, as `raw_inputs` gives them."""
    raw: dict[str, np.ndarray | pa.Array] = {}
    for column in inputs:
        distinct = pa.record_batch([encoded[column.name].dictionary], names=[column.name])
        raw |= raw_inputs(distinct, [column])
    return raw


def count(column: pa.DictionaryArray, part: np.ndarray, n_parts: int) -> np.ndarray:
    """Counts the rows of each part that have each value, `[K, P] int64`.

    Args:
        column: `[N]` codes.
        part: The part of each row, `[N]` integers below `n_parts`.
        n_parts: P.
    """
    k = len(column.dictionary)
    cells = column.indices.to_numpy() * np.int64(n_parts) + part
    return np.bincount(cells, minlength=k * n_parts).reshape(k, n_parts)


def compact(encoded: Encoded) -> pa.RecordBatch:
    """Returns columns in few bytes: the smallest codes, or values where most are distinct."""
    return pa.record_batch([_compact(c) for c in encoded.values()], names=list(encoded))


def _compact(column: pa.DictionaryArray) -> pa.Array:
    n_distinct = len(column.dictionary)
    if n_distinct > FEW * len(column):
        return column.dictionary.take(column.indices)
    codes = next(t for t in _CODES if n_distinct <= 1 << (t.bit_width - 1))
    return pa.DictionaryArray.from_arrays(column.indices.cast(codes), column.dictionary)


@dataclass(frozen=True, eq=False)
class Looked:
    """A column that is looked up.

    Attributes:
        values: `[K]`, or `[N]` without rows, of numpy or Arrow.
        rows: Which value each row has, `[N]` integers; None: each has its own.
    """

    values: Any
    rows: np.ndarray | None

    def take(self, at: np.ndarray) -> pa.Array:
        """Returns the values of some rows, `[M]`."""
        if self.rows is not None:
            at = self.rows.take(at)
        if isinstance(self.values, np.ndarray):
            return pa.array(self.values.take(at))
        return self.values.take(pa.array(at))


def looked(column: pa.Array) -> Looked:
    """Returns a column of `compact`."""
    if pa.types.is_dictionary(column.type):
        return Looked(column.dictionary, column.indices.to_numpy())
    return Looked(column, None)


def apply(transform: Transform, batch: pa.RecordBatch) -> dict[str, Looked]:
    """Applies every feature once to each distinct combination of its columns.

    A feature looks at one row at a time, so rows that agree in its columns have the same values.

    Args:
        transform: The fitted transform.
        batch: Its inputs, of `compact`.
    """
    engineered: dict[str, Looked] = {}
    for part in _by_columns(transform):
        rows, distinct = _combinations([batch.column(i.name) for i in part.inputs])
        found = pa.record_batch(distinct, names=[i.name for i in part.inputs])
        values = part.numpy(raw_inputs(found, part.inputs))
        engineered |= {name: Looked(column, rows) for name, column in values.items()}
    return engineered


def _by_columns(transform: Transform) -> Iterator[Transform]:
    """Parts a transform into those of features with the same inputs."""
    groups: dict[frozenset[str], list[Feature]] = {}
    for feature in transform.features:
        groups.setdefault(frozenset(feature.columns), []).append(feature)
    for columns, features in groups.items():
        inputs = tuple(i for i in transform.inputs if i.name in columns)
        yield replace(transform, features=tuple(features), inputs=inputs)


def _combinations(columns: Sequence[pa.Array]) -> tuple[np.ndarray | None, list[pa.Array]]:
    """Returns the combination of each row, `[N]`, and these; or None and the rows as they are."""
    if all(pa.types.is_dictionary(c.type) for c in columns):
        if len(columns) == 1:
            return columns[0].indices.to_numpy(), [columns[0].dictionary]
        rows, distinct = distinct_rows(list(columns))
        if len(distinct[0]) <= FEW * len(rows):
            return rows, distinct
    values = (c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in columns)
    return None, list(values)
