"""Transforms of free text: hashed counts of its words or characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa

from .base import Feature, Raw, Tensors, in_range
from .categories import MAX_COLUMNS, ROWS, PieceCounts
from .fingerprint import fingerprint_spans, text_bytes
from .ngrams import BUCKETS, NGRAMS_PREFIX, distinct_tensor, write_sets
from .statistics import ColumnStatistics

if TYPE_CHECKING:
    import tensorflow as tf

SEPARATORS = r"[\x00-/:-@\[-`{-\x7f]+"
"""Matches a run of ASCII characters that are neither letters nor digits."""
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[ord("A") : ord("Z") + 1] += 32
_IN_WORD = np.array([chr(i).isalnum() or i > 127 for i in range(256)])


@dataclass(frozen=True, kw_only=True)
class Text(PieceCounts):
    """Free text as counts of its n-grams: ln(1 + n) of each bucket, a column a bucket.

    The bucket of an n-gram is its fingerprint modulo `buckets`. ASCII letters become lower case
    first, and every run of other ASCII characters but digits becomes one space, or nothing at the
    ends; characters beyond ASCII stay as they are. The n-grams are then the words, the pairs of
    neighbouring words and so on up to `words` of them, or all runs of `characters` characters. All
    columns are 0 where the text is missing or has no n-gram.

    The trainer also gets the set of the n-grams, of words and pairs at least, in `set_buckets`
    buckets: a column of its own beside the engineered ones, which `trainer/text_fit.py` reads.
    """

    fitted: ClassVar[tuple[str, ...]] = ("set_buckets",)
    transform: Literal["text"] = "text"
    buckets: int
    words: int = 1
    characters: int | None = None
    set_buckets: int = 0

    def check(self) -> str | None:
        """Checks the number of columns, and for a single kind of n-grams."""
        if self.characters is not None and self.words != 1:
            return "give `words` or `characters`, not both"
        longest = 1 if self.characters is None else self.characters
        return (
            in_range("buckets", self.buckets, 2, MAX_COLUMNS)
            or in_range("words", self.words, 1, 5)
            or in_range("characters", longest, 1, 10)
        )

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Returns the feature with sets of n-grams: the values of the rows change nothing."""
        return replace(self, set_buckets=BUCKETS)

    @property
    def needs(self) -> tuple[str, ...]:
        """No statistics."""
        return ()

    @property
    def n_buckets(self) -> int:
        """The number of buckets, as the spec says."""
        return self.buckets

    @property
    def _sizes(self) -> list[int]:
        """The lengths of the n-grams, in words or characters."""
        return list(range(1, self.words + 1)) if self.characters is None else [self.characters]

    @property
    def set_name(self) -> str:
        """Name of the column of the sets of n-grams."""
        return NGRAMS_PREFIX + self.name

    @property
    def _of_sets(self) -> Text:
        """The feature whose buckets are those of the sets."""
        words = self.words if self.characters is not None else max(2, self.words)
        return replace(self, buckets=self.set_buckets, words=words)

    def sets_numpy(self, raw: Raw) -> pa.Array:
        """Returns the set of n-grams of each row, `[N]` strings."""
        text, by_bucket = raw[self.columns[0]], self._of_sets
        parts = []
        for first in range(0, len(text), ROWS):
            part = text[first : first + ROWS]
            parts.append(write_sets(*by_bucket.buckets_numpy(part), len(part), self.set_buckets))
        return pa.concat_arrays(parts) if parts else pa.array([], pa.string())

    def sets_tensor(self, raw: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the row and the bucket of each n-gram of the sets, `[Q] int64` each."""
        pieces = self._of_sets.buckets_tensor(raw[self.columns[0]])
        return distinct_tensor(*pieces, self.set_buckets)

    def buckets_numpy(self, text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Returns the row and the bucket of each n-gram, `[P] int64` each.

        An n-gram is hashed as a span of the text's bytes; no string is made of it.
        """
        plain, words = _plain(*text_bytes(text))
        units = words if self.characters is None else _characters(plain, words)
        pieces = [_joined(units, size) for size in self._sizes]
        start, end, row = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        bucket = fingerprint_spans(plain, start, end - start) % np.uint64(self.buckets)
        return row, bucket.astype(np.int64)

    def buckets_tensor(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Does the same with tensors."""
        import tensorflow as tf

        lower = tf.strings.lower(text)  # without an encoding it changes ASCII only
        plain = tf.strings.strip(tf.strings.regex_replace(lower, SEPARATORS, " "))
        if self.characters is None:
            units, between = tf.strings.split(plain, " "), " "
        else:
            units, between = tf.strings.unicode_split(plain, "UTF-8"), ""
        unit, row = units.flat_values, units.value_rowids()
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
    """Words or characters in the order of the text: spans of its bytes.

    Attributes:
        start: First byte, `[P] int64`.
        end: The byte after the last, `[P] int64`.
        row: The row, `[P] int64`.
    """

    start: np.ndarray
    end: np.ndarray
    row: np.ndarray


def _plain(text: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, _Units]:
    """Returns the words in lower case, with one space between two words of a row, and their spans.

    Args:
        text: UTF-8 bytes, `[B] uint8`.
        offsets: Where each row begins and the last one ends, `[N + 1] int64`.
    """
    lower = _LOWER[text[offsets[0] : offsets[-1]]]
    offsets = offsets - offsets[0]
    in_word = _IN_WORD[lower]
    at_edge = np.zeros(len(lower) + 1, bool)  # where a row begins or ends
    at_edge[offsets] = True
    outside = np.concatenate([[True], ~in_word, [True]])
    first = np.flatnonzero(in_word & (at_edge[:-1] | outside[:-2]))
    length = np.flatnonzero(in_word & (at_edge[1:] | outside[2:])) + 1 - first
    row = np.searchsorted(offsets, first, side="right") - 1
    follows = np.concatenate([[False], row[1:] == row[:-1]])[: len(row)]
    # The separator before a word that follows another in its row stays, as the space.
    lower[first[follows] - 1] = ord(" ")
    in_word[first[follows] - 1] = True
    start = np.cumsum(length + follows) - length
    return lower[in_word], _Units(start, start + length, row)


def _characters(text: np.ndarray, words: _Units) -> _Units:
    """Returns the characters of the words, and of the spaces between words of a row."""
    start = np.flatnonzero((text & 0xC0) != 0x80)  # every byte but UTF-8's continuation bytes
    is_first = np.concatenate([[True], words.row[1:] != words.row[:-1]])[: len(words.row)]
    row = words.row[is_first][np.searchsorted(words.start[is_first], start, side="right") - 1]
    return _Units(start, np.append(start[1:], len(text)), row)


def _joined(units: _Units, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns start, end and row of every run of `size` neighbours within a row."""
    n = max(len(units.row) - size + 1, 0)
    inside = units.row[:n] == units.row[size - 1 : size - 1 + n]
    return units.start[:n][inside], units.end[size - 1 :][:n][inside], units.row[:n][inside]
