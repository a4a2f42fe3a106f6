"""Columns of a block as codes of their distinct values: what follows from a value is done once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from trainer.features import Input, Raw, raw_inputs

Encoded = Mapping[str, pa.DictionaryArray]
"""By name `[N]` codes of `[K]` distinct values; a missing value is one of them."""


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
