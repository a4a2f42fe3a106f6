"""Scores of texts: the outputs of a linear model of TF-IDF, as numbers for every other model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .features.ngrams import read_sets
from .sparse_linear import SparseRows, outputs_of

if TYPE_CHECKING:
    import tensorflow as tf

BATCH_ROWS = 65_536
"""Most rows whose sets are read at a time."""


@dataclass(frozen=True, eq=False)
class TextScores:
    """A fitted model of the texts.

    Attributes:
        numbers: Names of the numbers that a model takes: those of other features, then the scores.
        columns: Names of the columns of the sets, `[T]`.
        scales: The inverse document frequency of each bucket, `[T, D] float32`; 0: left out.
        weights: What an n-gram adds to each score, `[T, D, units] float32`.
        intercepts: `[units] float32`.
        record: What metadata.json says about it.
    """

    numbers: tuple[str, ...]
    columns: tuple[str, ...]
    scales: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    record: Mapping[str, Any]

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the numbers of other features."""
        return self.numbers[: -len(self.intercepts)]

    def numpy(self, sets: pa.Table) -> np.ndarray:
        """Returns the scores of the rows of a table of sets, `[N, units] float32`."""
        parts = [np.zeros((0, len(self.intercepts)), np.float32)]
        x = np.concatenate([*self.weights, self.intercepts[None]]).astype(np.float64)
        for batch in sets.select(self.columns).to_batches(BATCH_ROWS):
            read = map(read_sets, batch.columns)
            blocks = [tfidf_rows(r, s) for r, s in zip(read, self.scales, strict=True)]
            parts.append(outputs_of(blocks, x).astype(np.float32))
        return np.concatenate(parts)

    def variables(self) -> list[tf.Variable]:
        """Returns the variables that `tensor` reads: for each column, squares and weights."""
        import tensorflow as tf

        tables = []
        for scales, weights in zip(self.scales, self.weights, strict=True):
            tables += [np.square(scales)[:, None], scales[:, None] * weights]
        return [tf.Variable(t, trainable=False, dtype=tf.float32) for t in tables]

    def tensor(
        self,
        sets: Mapping[str, tuple[tf.Tensor, tf.Tensor]],
        rows: tf.Tensor,
        variables: Sequence[tf.Variable],
    ) -> tf.Tensor:
        """Returns the scores of `rows` rows, `[B, units] float32`.

        The sums are of float64: the n-grams of a text of a megabyte come in another order from a
        raw row than from its set.

        Args:
            sets: The row and the bucket of each n-gram, `[P] int64`, by column.
            rows: Number of rows.
            variables: Those of `variables`.
        """
        import tensorflow as tf

        scores = tf.cast(tf.constant(self.intercepts), tf.float64)[None, :]
        for place, name in enumerate(self.columns):
            row, bucket = sets[name]
            sums = [
                tf.math.unsorted_segment_sum(
                    tf.cast(tf.gather(table, bucket), tf.float64), row, rows
                )
                for table in variables[2 * place : 2 * place + 2]
            ]
            scores += tf.math.divide_no_nan(sums[1], tf.sqrt(sums[0]))
        return tf.cast(tf.broadcast_to(scores, [rows, len(self.intercepts)]), tf.float32)


def tfidf_rows(read: tuple[np.ndarray, np.ndarray], scales: np.ndarray) -> SparseRows:
    """Returns rows of TF-IDF, each with a length of 1, or 0 without an n-gram that counts."""
    counts, buckets = read
    scales = scales.astype(np.float64)
    row = np.repeat(np.arange(len(counts)), counts)
    is_known = scales[buckets] > 0
    row, buckets = row[is_known], buckets[is_known].astype(np.intp)  # which numpy indexes by
    counts = np.bincount(row, minlength=len(counts))
    squares = np.bincount(row, np.square(scales)[buckets], minlength=len(counts))
    norms = 1.0 / np.sqrt(np.where(squares > 0, squares, np.inf))
    return SparseRows(counts, buckets, scales, norms)
