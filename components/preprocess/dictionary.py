"""Columns of a block as codes of their distinct values, so that work is done once a value."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EncodedBatch: TypeAlias = pa.RecordBatch
"""Columns of `[N]` codes into `[K]` values: null has a code, too, and a value may be unused."""
_CODES = (pa.int8(), pa.int16(), pa.int32())
FEW = 0.5
"""With at most this many distinct values per row, codes are smaller and quicker than values."""
NARROW = 1 / 16
"""A range of integers no wider than this share of the rows has a code for each integer in it."""


def encode(batch: pa.RecordBatch) -> EncodedBatch:
    """Encodes all columns, even those whose values are all distinct."""
    return pa.record_batch([_encode(c) for c in batch.columns], names=batch.schema.names)


def _encode(column: pa.Array) -> pa.DictionaryArray:
    if pa.types.is_int64(column.type):
        low, high = pc.min_max(column).as_py().values()
        if low is not None and high - low < NARROW * len(column):
            return _narrow(column, low, high)
    return column.dictionary_encode(null_encoding="encode")


def _narrow(column: pa.Array, low: int, high: int) -> pa.DictionaryArray:
    """Encodes integers of a narrow range by their distance from its start, without hashing them."""
    # Null takes the code after the last one, since a dictionary holds it as a value, too.
    values = np.arange(low, high + 1 + (column.null_count > 0))
    filled = column.fill_null(high + 1) if column.null_count else column
    codes = np.subtract(filled.to_numpy(), np.int64(low), dtype=np.int32, casting="unsafe")
    dictionary = pa.array(values, mask=values > high)
    return pa.DictionaryArray.from_arrays(pa.array(codes), dictionary, safe=False)


def decode(column: pa.Array) -> pa.Array:
    """Returns the values of a column, encoded or not, `[N]`."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def count(codes: np.ndarray, n: int, sizes: np.ndarray) -> np.ndarray:
    """Counts the rows with each code in each part, `[K, P] int64`.

    Args:
        codes: `[N]` integers, part after part.
        n: The number of codes, K.
        sizes: The number of rows of each part, `[P]`.
    """
    parts = np.split(codes, np.cumsum(sizes)[:-1])
    return np.stack([np.bincount(part, minlength=n) for part in parts], axis=1)


def count_values(column: pa.DictionaryArray, sizes: np.ndarray) -> np.ndarray:
    """Counts the rows with each value of a column in each part, `[K, P] int64`."""
    return count(column.indices.to_numpy(), len(column.dictionary), sizes)


def compact(encoded: EncodedBatch) -> pa.RecordBatch:
    """Returns the columns in fewer bytes: the smallest codes, or values where most are distinct."""
    return pa.record_batch([_compact(c) for c in encoded.columns], names=encoded.schema.names)


def _compact(column: pa.DictionaryArray) -> pa.Array:
    """Returns a column with the smallest codes, or as values where most are distinct."""
    n_distinct = len(column.dictionary)
    if n_distinct > FEW * len(column):
        return column.dictionary.take(column.indices)
    codes = next(t for t in _CODES if n_distinct <= 1 << (t.bit_width - 1))
    return pa.DictionaryArray.from_arrays(
        column.indices.cast(codes, safe=False), column.dictionary, safe=False
    )
