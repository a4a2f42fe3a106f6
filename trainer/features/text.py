"""Transforms of free text: hashed counts of the words or characters that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from .base import Feature, in_range
from .categories import MAX_COLUMNS, Counted
from .fingerprint import fingerprint_spans, text_bytes
from .statistics import ColumnStatistics

if TYPE_CHECKING:
    import tensorflow as tf

SEPARATORS = r"[\x00-/:-@\[-`{-\x7f]+"
"""Runs of ASCII that are neither letters nor digits."""
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[ord("A") : ord("Z") + 1] += 32
_IN_WORD = np.array([chr(i).isalnum() or i > 127 for i in range(256)])


@dataclass(frozen=True, kw_only=True)
class Text(Counted):
    """Free text as ln(1 + n-grams of that fingerprint modulo `buckets`), a column a bucket.

    First ASCII letters become lower case, and every run of ASCII that is neither letter nor digit
    becomes one space, none at the ends; other characters stay as they are. Then the pieces are the
    words, the pairs of neighbours and so on up to `words` of them, or all runs of `characters`
    characters. A text without a piece, as a missing one, is 0 everywhere.
    """

    transform: Literal["text"] = "text"
    buckets: int
    words: int = 1
    characters: int | None = None

    def check(self) -> str | None:
        """A bounded number of columns, and one kind of n-grams."""
        if self.characters is not None and self.words != 1:
            return "give `words` or `characters`, not both"
        longest = 1 if self.characters is None else self.characters
        return (
            in_range("buckets", self.buckets, 2, MAX_COLUMNS)
            or in_range("words", self.words, 1, 5)
            or in_range("characters", longest, 1, 10)
        )

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Nothing to fit."""
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    @property
    def n_buckets(self) -> int:
        """The given buckets."""
        return self.buckets

    @property
    def _sizes(self) -> list[int]:
        """How many words or characters the pieces have."""
        return list(range(1, self.words + 1)) if self.characters is None else [self.characters]

    def buckets_numpy(self, text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """The row and the bucket of each n-gram; no n-gram becomes a string of its own."""
        plain, words = _plain(*text_bytes(text))
        units = words if self.characters is None else _characters(plain, words)
        pieces = [_joined(units, size) for size in self._sizes]
        start, end, row = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        bucket = fingerprint_spans(plain, start, end - start) % np.uint64(self.buckets)
        return row, bucket.astype(np.int64)

    def buckets_tensor(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        lower = tf.strings.lower(text)  # without an encoding: ASCII alone
        plain = tf.strings.strip(tf.strings.regex_replace(lower, SEPARATORS, " "))
        if self.characters is None:
            cut, between = tf.strings.split(plain, " "), " "
        else:
            cut, between = tf.strings.unicode_split(plain, "UTF-8"), ""
        unit, row = cut.flat_values, cut.value_rowids()
        row, unit = (tf.boolean_mask(part, unit != "") for part in (row, unit))
        rows, pieces = [], []
        for size in self._sizes:
            n = tf.maximum(tf.size(unit) - size + 1, 0)
            inside = row[:n] == row[size - 1 : size - 1 + n]
            joined = tf.strings.join([unit[i : i + n] for i in range(size)], between)
            rows.append(tf.boolean_mask(row[:n], inside))
            pieces.append(tf.boolean_mask(joined, inside))
        return tf.concat(rows, 0), tf.strings.to_hash_bucket_fast(
            tf.concat(pieces, 0), self.buckets
        )


@dataclass(frozen=True)
class _Units:
    """Spans of a text in its order: `[P] int64` each of first byte, byte after the last, row."""

    start: np.ndarray
    end: np.ndarray
    row: np.ndarray


def _plain(text: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, _Units]:
    """Returns lower-case words, those of a row with one space between them, and their spans."""
    lower = _LOWER[text[offsets[0] : offsets[-1]]]
    offsets = offsets - offsets[0]
    in_word = _IN_WORD[lower]
    cut = np.zeros(len(lower) + 1, bool)  # where a row begins or ends
    cut[offsets] = True
    outside = np.concatenate([[True], ~in_word, [True]])
    first = np.flatnonzero(in_word & (cut[:-1] | outside[:-2]))
    length = np.flatnonzero(in_word & (cut[1:] | outside[2:])) + 1 - first
    row = np.searchsorted(offsets, first, side="right") - 1
    follows = np.concatenate([[False], row[1:] == row[:-1]])[: len(row)]
    lower[first[follows] - 1] = ord(" ")
    in_word[first[follows] - 1] = True
    start = np.cumsum(length + follows) - length
    return lower[in_word], _Units(start, start + length, row)


def _characters(text: np.ndarray, words: _Units) -> _Units:
    """The characters of words and of the spaces between those of a row."""
    start = np.flatnonzero((text & 0xC0) != 0x80)  # every byte but UTF-8's continuations
    new = np.concatenate([[True], words.row[1:] != words.row[:-1]])[: len(words.row)]
    row = words.row[new][np.searchsorted(words.start[new], start, side="right") - 1]
    return _Units(start, np.append(start[1:], len(text)), row)


def _joined(units: _Units, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, end and row of every `size` neighbours of one row."""
    n = max(len(units.row) - size + 1, 0)
    inside = units.row[:n] == units.row[size - 1 : size - 1 + n]
    return units.start[:n][inside], units.end[size - 1 :][:n][inside], units.row[:n][inside]
