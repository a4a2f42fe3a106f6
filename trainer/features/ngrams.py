"""The set of n-grams of a text as one value: how it is written, read and taken in a graph.

A set is a text of three characters an n-gram, each one digit of the bucket in base 64: it fits into
a column of strings, of a shard as of a signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import tensorflow as tf

BUCKETS = 2**16
"""Buckets of the n-grams of a text: a model has a number a bucket and class."""
NGRAMS_PREFIX = "ngrams_"
"""Prefix of the column of a text's n-grams, before the name of its feature."""
DIGITS = 3
"""Characters of an n-gram in a set."""
_ZERO = ord("0")  # the digits are the 64 characters from 0 to o
_PLACES = np.array([64**2, 64, 1], np.int32)


def write_sets(row: np.ndarray, bucket: np.ndarray, n_rows: int, buckets: int) -> pa.Array:
    """Returns the set of each row, `[N]` strings: each bucket once, ascending.

    Args:
        row: Row of each n-gram, `[P] int64`.
        bucket: Its bucket, `[P] int64`.
        n_rows: Number of rows.
        buckets: Number of buckets, at most 2^18.
    """
    row, bucket = np.divmod(np.unique(row * buckets + bucket), buckets)
    digits = bucket[:, None] // _PLACES % 64 + _ZERO
    offsets = np.searchsorted(row, np.arange(n_rows + 1)).astype(np.int64) * DIGITS
    texts = pa.LargeStringArray.from_buffers(
        n_rows, pa.py_buffer(offsets), pa.py_buffer(digits.astype(np.uint8).tobytes())
    )
    return texts.cast(pa.string())


def read_sets(sets: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Reads what `write_sets` wrote.

    Returns:
        Number of n-grams of each row, `[N] int64`, and the buckets of all rows, `[P] int32`.
    """
    large = sets.cast(pa.large_string())
    _, offset_buffer, data = large.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[large.offset : large.offset + len(large) + 1]
    text = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    digits = text[offsets[0] : offsets[-1]].reshape(-1, DIGITS).astype(np.int32) - _ZERO
    return np.diff(offsets) // DIGITS, digits @ _PLACES


def read_sets_tensor(sets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the row and the bucket of each n-gram, `[P] int64` each, from `[B] string`."""
    import tensorflow as tf

    counts = tf.cast(tf.strings.length(sets), tf.int64) // DIGITS
    row = tf.repeat(tf.range(tf.size(sets, tf.int64)), counts)
    digits = tf.io.decode_raw(tf.strings.reduce_join(sets), tf.uint8)
    digits = tf.cast(tf.reshape(digits, [-1, DIGITS]), tf.int64) - _ZERO
    return row, tf.reduce_sum(digits * tf.constant(_PLACES, tf.int64), axis=1)


def distinct_tensor(row: tf.Tensor, bucket: tf.Tensor, buckets: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each pair of a row and a bucket once, `[Q] int64` each, in no order of the rows."""
    import tensorflow as tf

    pair = tf.unique(row * buckets + bucket, tf.int64).y
    return pair // buckets, pair % buckets
