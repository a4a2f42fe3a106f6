"""The evidence for the audit of the splits: samples and extents, collected in the first pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from quatrain.components.preprocess.dictionary import EncodedBatch, count, count_values
from quatrain.components.preprocess.summary.distinct_sample import DistinctSample, fingerprints
from quatrain.components.specification.split import SPLITS, Split
from quatrain.trainer.features.fingerprint import distinct_rows

MICROS = {"timestamp": 1, "date": 86_400_000_000}
"""The microseconds in a unit of each type of times."""
Extent = tuple[int, int]
"""The first and the last time, in microseconds since 1970 UTC."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Samples and extents of good rows; `Evidence()` is the zero of `+`.

    Attributes:
        rows: A sample of the distinct rows, compared without the columns that decide the split and
            are no inputs: with them, no row could be in two splits.
        sample: A sample of the distinct rows, compared by all declared columns. Its words are those
            of the features' inputs and, last, of the label.
        keys: A sample of the distinct keys of a split by hash; empty for any other split.
        times: The first and the last value of each declared time, by column and split.
    """

    rows: DistinctSample = field(default_factory=DistinctSample)
    sample: DistinctSample = field(default_factory=DistinctSample)
    keys: DistinctSample = field(default_factory=DistinctSample)
    times: Mapping[tuple[str, str], Extent] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        encoded: EncodedBatch,
        sizes: np.ndarray,
        types: Mapping[str, str],
        predictors: Sequence[str],
        split: Split,
    ) -> Evidence:
        """Returns the evidence of a block.

        Args:
            encoded: The block's columns, encoded, split after split.
            sizes: The number of rows of train, validation and test, `[3] int64`.
            types: The declared columns and their types.
            predictors: The inputs of the features and, last, the label.
            split: How the rows are split.
        """
        if not encoded.num_rows:
            return cls()
        deciding = deciding_columns(split, types, predictors[:-1])
        others = [n for n in types if n not in deciding] or list(predictors[-1:])
        content = fingerprints({n: encoded.column(n) for n in others})
        # Fingerprints of disjoint columns add up, so no column is hashed twice.
        whole = content + fingerprints({n: encoded.column(n) for n in deciding})
        sides = np.repeat(np.arange(len(SPLITS)), sizes)
        columns = [encoded.column(n) for n in predictors]
        rows = DistinctSample.of(content, sides)
        sample = DistinctSample.of(whole, sides, columns)
        keys = DistinctSample()
        if split.by == "hash":
            row, distinct = distinct_rows([encoded.column(k) for k in split.key_columns])
            counts = count(row, len(distinct[0]), sizes)
            distinct_keys = dict(zip(split.key_columns, distinct, strict=True))
            keys = DistinctSample.of_distinct(fingerprints(distinct_keys), counts)
        return cls(rows, sample, keys, dict(_extents(types, encoded, sizes)))

    @classmethod
    def total(cls, parts: Sequence[Evidence]) -> Evidence:
        """Returns the sum of any number of parts."""
        times: dict[tuple[str, str], Extent] = {}
        for part in parts:
            for place, (first, last) in part.times.items():
                low, high = times.get(place, (first, last))
                times[place] = min(first, low), max(last, high)
        names = ("rows", "sample", "keys")
        rows, sample, keys = (DistinctSample.total([getattr(p, n) for p in parts]) for n in names)
        return cls(rows, sample, keys, times)

    def __add__(self, other: Evidence) -> Evidence:
        return self.total([self, other])


def deciding_columns(
    split: Split, types: Mapping[str, str], inputs: Sequence[str]
) -> tuple[str, ...]:
    """Returns the declared columns that decide the split of a row, and say nothing else of it.

    A key that is an input as well tells rows apart for the model, so they are no copies.
    """
    if split.by != "hash":
        return (split.column,) if split.column in types else ()
    return tuple(name for name in split.key_columns if name in types and name not in inputs)


def _extents(
    types: Mapping[str, str], encoded: EncodedBatch, sizes: np.ndarray
) -> Iterator[tuple[tuple[str, str], Extent]]:
    """Yields the first and the last value of each declared time in each split."""
    for name in (n for n, type_ in types.items() if type_ in MICROS):
        column = encoded.column(name)
        units = column.dictionary.cast(pa.int32() if types[name] == "date" else pa.int64())
        known = units.is_valid().to_numpy(zero_copy_only=False)
        times = units.fill_null(0).to_numpy().astype(np.int64) * MICROS[types[name]]
        for split, rows in zip(SPLITS, count_values(column, sizes).T, strict=True):
            if len(part := times[known & (rows > 0)]):
                yield (name, split), (int(part.min()), int(part.max()))
