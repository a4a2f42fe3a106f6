"""Columns of a block as codes of their distinct values: what follows from a value is done once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.trainer.features import Feature, Input, Raw, raw_inputs
from quatrain.trainer.features.fingerprint import distinct_rows
from quatrain.trainer.features.transform import Transform

Encoded: TypeAlias = pa.RecordBatch
"""Columns of `[N]` codes of `[K]` values, of which a missing one is one; some may have no row."""
_CODES = (pa.int8(), pa.int16(), pa.int32())
FEW = 0.5
"""Up to so many distinct values a row, codes are smaller and quicker than the values."""
NARROW = 1 / 16
"""Up to so many integers a row, each of a range may have a code, whether it occurs or not."""


def encode(batch: pa.RecordBatch) -> Encoded:
    """Returns the codes of all columns; of those that are distinct everywhere, too."""
    return pa.record_batch([_encode(c) for c in batch.columns], names=batch.schema.names)


def _encode(column: pa.Array) -> pa.DictionaryArray:
    if pa.types.is_int64(column.type):
        low, high = pc.min_max(column).as_py().values()
        if low is not None and high - low < NARROW * len(column):
            return _narrow(column, low, high)
    return column.dictionary_encode(null_encoding="encode")


def _narrow(column: pa.Array, low: int, high: int) -> pa.DictionaryArray:
    """Encodes integers in a narrow range by their distance from its start: nothing is hashed."""
    values = np.arange(low, high + 1 + (column.null_count > 0))
    filled = column.fill_null(high + 1) if column.null_count else column
    codes = np.subtract(filled.to_numpy(), np.int64(low), dtype=np.int32, casting="unsafe")
    dictionary = pa.array(values, mask=values > high)
    return pa.DictionaryArray.from_arrays(pa.array(codes), dictionary, safe=False)


def decoded(column: pa.Array) -> pa.Array:
    """Returns the values of a column that may be encoded, `[N]`."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def distinct_inputs(encoded: Encoded, inputs: Iterable[Input]) -> Raw:
    """Returns the distinct values of each column, `[K]`, as `raw_inputs` gives them."""
    raw: dict[str, np.ndarray | pa.Array] = {}
    for column in inputs:
        distinct = pa.record_batch([encoded.column(column.name).dictionary], names=[column.name])
        raw |= raw_inputs(distinct, [column])
    return raw


def count(codes: np.ndarray, n: int, sizes: np.ndarray) -> np.ndarray:
    """Counts the rows of each part that have each code, `[K, P] int64`.

    Args:
        codes: `[N]` integers, those of a part after those of the one before.
        n: K, which they are below.
        sizes: The rows of each part, `[P]`.
    """
    parts = np.split(codes, np.cumsum(sizes)[:-1])
    return np.stack([np.bincount(part, minlength=n) for part in parts], axis=1)


def count_values(column: pa.DictionaryArray, sizes: np.ndarray) -> np.ndarray:
    """Counts the rows of each part that have each value of a column, `[K, P] int64`."""
    return count(column.indices.to_numpy(), len(column.dictionary), sizes)


def compact(encoded: Encoded) -> pa.RecordBatch:
    """Returns columns in few bytes: the smallest codes, or values where most are distinct."""
    return pa.record_batch([_compact(c) for c in encoded.columns], names=encoded.schema.names)


def _compact(column: pa.DictionaryArray) -> pa.Array:
    n_distinct = len(column.dictionary)
    if n_distinct > FEW * len(column):
        return column.dictionary.take(column.indices)
    codes = next(t for t in _CODES if n_distinct <= 1 << (t.bit_width - 1))
    return pa.DictionaryArray.from_arrays(
        column.indices.cast(codes, safe=False), column.dictionary, safe=False
    )


@dataclass(frozen=True, eq=False)
class Looked:
    """A column that is looked up.

    Attributes:
        values: `[K]`, or `[N]` without rows, of numpy or Arrow.
        rows: Which value each row has, `[N]` integers; None: each has its own.
    """

    values: Any
    rows: np.ndarray | None

    def cast(self, type_: pa.DataType) -> Looked:
        """Returns them as another type, of Arrow; the nearest where it does not hold a value."""
        values = self.values
        values = pa.array(values) if isinstance(values, np.ndarray) else values
        return Looked(values.cast(type_, safe=False), self.rows)

    def slice(self, start: int, length: int) -> pa.Array:
        """Returns the values of consecutive rows, `[M]`, once they are of Arrow."""
        if self.rows is None:
            return self.values.slice(start, length)
        rows = pa.array(self.rows[start : start + length])
        return pc.take(self.values, rows, boundscheck=False)


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
    return None, [decoded(column) for column in columns]
