"""A sample of the distinct rows of a table that does not depend on their order, and can be merged.

Every row gets a 64-bit fingerprint of its values, and the sample is the `SIZE` distinct rows with
the smallest fingerprints (a bottom-k sketch: Cohen & Kaplan, "Summarizing data using bottom-k
sketches", 2007). A fingerprint among the smallest of the table is also among the smallest of each
part that has it. So no part drops one that the whole table needs, and the rows of each sampled
fingerprint are counted exactly, however the table is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.preprocess.dictionary import decode
from quatrain.components.specification.split import SPLITS
from quatrain.trainer.features.fingerprint import (
    WORD_MULTIPLIER,
    fingerprint64,
    multiply_xorshift,
    splitmix64,
)

U64 = np.ndarray[Any, np.dtype[np.uint64]]

SIZE = 4096
"""A test split of a tenth has 410 of them; a 1 % share of repeats then shows in 98 % of cases."""
MISSING = np.uint64(0x9E3779B97F4A7C15)
"""The word of a missing value. As a float it is about -2e-162, which no column holds."""
_SLACK = 1.25
"""How many times `SIZE` keys a bound preselects: enough if up to a fifth of them are copies."""
_WORD, _SHORT = 8, 64
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(_WORD + 1)], np.uint64)


@dataclass(frozen=True, eq=False)
class DistinctSample:
    """A sample of the distinct rows of a table; `DistinctSample()` is the zero of `+`.

    Attributes:
        keys: Fingerprints of rows, ascending, `[K] uint64`; K below `SIZE` means all of them.
        counts: The number of rows with each fingerprint, by split, `[K, 3] int64`.
        words: The words of some columns of these rows, `[C, K] uint64`; see `words`.
        n_rows: The number of rows of the table.
    """

    keys: U64 = field(default_factory=lambda: np.zeros(0, np.uint64))
    counts: np.ndarray = field(default_factory=lambda: np.zeros((0, len(SPLITS)), np.int64))
    words: U64 = field(default_factory=lambda: np.zeros((0, 0), np.uint64))
    n_rows: int = 0

    @classmethod
    def of(cls, keys: U64, split: np.ndarray, columns: Sequence[pa.Array] = ()) -> DistinctSample:
        """Samples a batch.

        Args:
            keys: The fingerprint of each row, `[N] uint64`.
            split: The split of each row, `[N]`: 0 train, 1 validation, 2 test.
            columns: The columns whose words go into the sample, `[N]` each.
        """
        rows, counts = _grouped(keys, split)
        order = np.argsort(keys[rows])
        rows = rows[order]
        first, counts = _runs(keys[rows], counts[order])
        rows = rows[first]
        by_column = [words(decode(column.take(pa.array(rows)))) for column in columns]
        # Without columns, numpy would give the array the shape [0].
        stacked = np.array(by_column, np.uint64).reshape(len(columns), len(rows))
        return cls(keys[rows], counts, stacked, len(keys))

    @classmethod
    def of_distinct(cls, keys: U64, counts: np.ndarray) -> DistinctSample:
        """Samples a batch by its distinct rows.

        Args:
            keys: The fingerprints of the distinct rows, `[K] uint64`.
            counts: The number of rows with each fingerprint, by split, `[K, 3] int64`.
        """
        order = np.argsort(keys)
        first, n_rows = _runs(keys[order], counts[order])
        smallest = keys[order][first]
        no_words = np.zeros((0, len(smallest)), np.uint64)
        return cls(smallest, n_rows, no_words, int(counts.sum()))

    @classmethod
    def total(cls, parts: Sequence[DistinctSample]) -> DistinctSample:
        """Returns the sum of any number of samples, with a single sort."""
        filled = [p for p in parts if len(p.keys)]
        if len(filled) < 2:
            return filled[0] if filled else cls()
        # No key above the last one of a full sample can be among the smallest of all.
        ends = [s.keys[-1] for s in filled if not s.complete]
        last = min(ends) if ends else max(s.keys[-1] for s in filled)
        cut = [(s, np.searchsorted(s.keys, last, side="right")) for s in filled]
        keys = np.concatenate([s.keys[:stop] for s, stop in cut])
        counts = np.concatenate([s.counts[:stop] for s, stop in cut])
        words = np.concatenate([s.words[..., :stop] for s, stop in cut], axis=-1)
        order = np.argsort(keys)
        first, counts = _runs(keys[order], counts[order])
        order = order[first]
        return cls(keys[order], counts, words[..., order], sum(s.n_rows for s in filled))

    def __add__(self, other: DistinctSample) -> DistinctSample:
        return self.total([self, other])

    @property
    def complete(self) -> bool:
        """Whether the sample has every distinct row of the table."""
        return len(self.keys) < SIZE

    @property
    def distinct(self) -> int:
        """The number of distinct rows: exact, or with a standard error of 1.6 %, which is k^-0.5.

        If the k-th smallest of D evenly spread keys is at the share u of their range, (k - 1) / u
        estimates D without bias (Bar-Yossef et al., "Counting distinct elements in a data stream",
        2002).
        """
        if self.complete:
            return len(self.keys)
        return min(self.n_rows, round((len(self.keys) - 1) * 2.0**64 / float(self.keys[-1])))


def words(column: pa.Array) -> U64:
    """Returns a 64-bit word for each value, `[N] uint64`; words are equal where values are.

    The word of a number or a time is its own bits, so that the audit can read it back. The word of
    a text is a hash. Null and '' are missing.
    """
    if pa.types.is_string(column.type):
        return _of_texts(column)
    if pa.types.is_floating(column.type):
        # -0.0 + 0.0 is 0.0: both zeros are one value.
        column = pc.add(column.cast(pa.float64()), 0.0).view(pa.int64())
    elif pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    values = column.cast(pa.int64())
    if values.null_count:
        values = pc.fill_null(values, pa.scalar(int(MISSING.view(np.int64)), pa.int64()))
    return values.to_numpy(zero_copy_only=False).view(np.uint64)


def fingerprints(columns: Mapping[str, pa.Array]) -> U64:
    """Returns the fingerprint of each row, `[N] uint64`; 0 without columns.

    A fingerprint is the sum of one pseudorandom number for each value of each column (Zobrist, "A
    new hashing method with application for game playing", 1970). So the sums over two sets of
    columns add up to the fingerprint by both, and in an encoded column only the distinct values are
    hashed. The name of the column takes part, so that swapped values give another row.

    Args:
        columns: The columns by name, `[N]` each, plain or encoded.
    """
    total: Any = np.uint64(0)
    for name, column in columns.items():
        is_encoded = pa.types.is_dictionary(column.type)
        bits = words(column.dictionary if is_encoded else column)
        bits = splitmix64(bits ^ np.frombuffer(sha256(name.encode()).digest()[:8], "<u8"))
        total = total + (bits.take(column.indices.to_numpy()) if is_encoded else bits)
    return cast(U64, total)


def _grouped(keys: U64, split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows that include the `SIZE` smallest keys, and their counts by split.

    Keys are evenly spread, so a bound a little above the needed share selects few rows, and not all
    keys need sorting.
    """
    if len(keys) > _SLACK * SIZE:
        rows = np.flatnonzero(keys <= np.uint64(int(_SLACK * SIZE / len(keys) * 2.0**64)))
        if np.count_nonzero(np.diff(np.sort(keys[rows]))) + 1 >= SIZE:
            return rows, (split[rows, None] == np.arange(len(SPLITS))).astype(np.int64)
    # With few keys or many copies the bound selects too few distinct keys: group all rows.
    group = pa.array(keys).dictionary_encode().indices.to_numpy().astype(np.int64)
    n_groups = int(group.max(initial=-1)) + 1
    rows = np.zeros(n_groups, np.int64)
    rows[group] = np.arange(len(keys))  # any row of a group will do: equal keys are equal rows
    counts = np.bincount(group * len(SPLITS) + split, minlength=n_groups * len(SPLITS))
    return rows, counts.reshape(n_groups, len(SPLITS))


def _runs(keys: U64, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the start of each run of equal keys, `SIZE` at most, and the sum of its counts."""
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
    if len(first) < len(keys):
        counts = np.add.reduceat(counts, first)
    return first[:SIZE], counts[:SIZE]


def _of_texts(column: pa.Array) -> U64:
    """Returns the words of texts: hashes, eight bytes at a time for all rows together.

    Texts above 64 bytes are hashed by FarmHash, since few texts would be left in the later rounds.
    """
    column = pc.fill_null(column, "")
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1].astype(np.int64)
    first, last = (int(ends[0]), int(ends[-1])) if len(column) else (0, 0)
    text = np.zeros(last - first + _WORD, np.uint8)
    if last > first:
        text[: last - first] = np.frombuffer(data, np.uint8)[first:last]
    # A view of overlapping words: element i is the eight bytes that start at byte i.
    loaded = np.ndarray((last - first + 1,), np.uint64, text, strides=(1,))
    start, length = ends[:-1] - first, np.diff(ends)
    state = length.astype(np.uint64) * WORD_MULTIPLIER
    longest, shortest = int(length.max(initial=0)), int(length.min(initial=_SHORT))
    for at in range(0, min(longest, _SHORT), _WORD):
        rows = slice(None) if shortest > at else np.flatnonzero(length > at)
        # In columns of codes all texts have one length, so one mask serves all of them.
        n_unread = longest - at if longest == shortest else length[rows] - at
        word = loaded.take(start[rows] + at) & _MASKS[np.minimum(n_unread, _WORD)]
        word ^= state[rows]
        multiply_xorshift(word, np.empty_like(word))
        state[rows] = word
    if len(long := np.flatnonzero(length > _SHORT)):
        state[long] = fingerprint64(column.take(pa.array(long)))
    if shortest == 0:
        state[length == 0] = MISSING
    return state
