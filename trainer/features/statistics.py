"""Mergeable statistics of columns: a zero, `of` a batch, and `+`.

Statistics hold exact integer counts, and `+` is associative and commutative. The same rows give the
same statistics to the last bit, however they are cut into batches, whatever the number of workers
and in any order. What is derived (mean, quantiles, top values) is computed once, at the end, from
the values in sorted order: a running sum of floats would depend on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .fingerprint import fingerprint64

MAX_BINS = 1 << 16
"""Most bins of a `Distribution`: 1 MiB of keys and counts a column, however many rows there are."""
MAX_VALUES = 1 << 14
"""Most strings of a sampled column. The number of distinct strings is then known to 1 %: the
relative standard deviation of the estimate is 1.2 / sqrt(2^14) = 0.9 % (Flajolet 1990)."""
_SIGN = np.int64(np.iinfo(np.int64).min)


@dataclass(frozen=True, eq=False)
class Distribution:
    """Counts of numbers, binned by the leading bits of float64; NaN and infinities are missing.

    While there are at most `limit` distinct values, `shift` is 0 and each value has its own bin.
    Beyond, the lowest `shift` bits are dropped, as few as bring the bins down to `limit`; a value
    is then known to a relative error of 2**(shift - 53). More rows never mean fewer bins at one
    shift, so the final shift does not depend on how the rows were cut and merged.

    Attributes:
        keys: The bits of the values as integers of the same order, without the dropped bits,
            ascending, `[K] int64`.
        counts: Rows in each bin, `[K] int64`.
        missing: Rows without a finite value.
        shift: Number of low bits that are dropped, from 0 to 63.
        limit: Most bins; the same for all parts of a sum.
    """

    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    missing: int = 0
    shift: int = 0
    limit: int = MAX_BINS

    @classmethod
    def of(cls, values: np.ndarray, limit: int = MAX_BINS) -> Distribution:
        """Counts values of `[N] float64`, in at most `limit` bins."""
        # -0.0 + 0.0 is 0.0, which makes one value of both zeros.
        value_counts = pc.value_counts(pa.array((values + 0.0).view(np.int64)))
        distinct = value_counts.field("values").to_numpy().view(np.float64)
        return cls.parts(distinct, value_counts.field("counts").to_numpy()[:, None], limit)[0]

    @classmethod
    def parts(
        cls, values: np.ndarray, counts: np.ndarray, limit: int = MAX_BINS
    ) -> list[Distribution]:
        """Returns the distribution of each of P parts of the rows, with a single sort.

        Args:
            values: `[K] float64`.
            counts: Rows of each part that hold each value, `[K, P] int64`.
            limit: Most bins of a part.
        """
        finite = np.isfinite(values)
        keys, rows = _sum_by_key(ordered((values[finite] + 0.0).view(np.int64)), counts[finite])
        missing = counts[~finite].sum(axis=0).tolist()
        return [
            cls(keys[occurs], part[occurs], n_missing, limit=limit)._bounded()
            for part, occurs, n_missing in zip(rows.T, rows.T > 0, missing, strict=True)
        ]

    @classmethod
    def total(cls, parts: Sequence[Distribution]) -> Distribution:
        """Returns the sum of one or more distributions, with a single sort."""
        shift = max(p.shift for p in parts)
        aligned = [p._at(shift) for p in parts]
        keys, counts = _sum_by_key(
            np.concatenate([p.keys for p in aligned]), np.concatenate([p.counts for p in aligned])
        )
        missing, limit = sum(p.missing for p in parts), min(p.limit for p in parts)
        return cls(keys, counts, missing, shift, limit)._bounded()

    def __add__(self, other: Distribution) -> Distribution:
        return self.total([self, other])

    def _at(self, shift: int) -> Distribution:
        """Returns the distribution with a larger shift, so with fewer bins."""
        if shift == self.shift:
            return self
        # The shift of a signed integer rounds down, so a bin never holds values of both signs.
        keys, counts = _sum_by_key(self.keys >> np.int64(shift - self.shift), self.counts)
        return replace(self, keys=keys, counts=counts, shift=shift)

    def _bounded(self) -> Distribution:
        """Returns the distribution with at most `limit` bins."""
        n_dropped = 0
        while _n_distinct_sorted(self.keys >> np.int64(n_dropped)) > self.limit:
            n_dropped += 1
        return self._at(self.shift + n_dropped)

    @property
    def exact(self) -> bool:
        """Whether every distinct value has its own bin."""
        return self.shift == 0

    @property
    def count(self) -> int:
        """Rows with a finite value."""
        return int(self.counts.sum())

    @property
    def values(self) -> np.ndarray:
        """The value of each bin, ascending, `[K] float64`; the bin's middle unless `exact`."""
        # The middle: the lower edge would move every quantile down by half a bin.
        half = np.int64(1 << (self.shift - 1)) if self.shift else np.int64(0)
        return ordered((self.keys << np.int64(self.shift)) + half).view(np.float64)

    def quantile(self, q: np.ndarray | list[float]) -> np.ndarray:
        """Returns lower quantiles: the least value that a share `q` of the rows does not exceed.

        They are values of the column, never a mean of two: a quantile stays a whole number where
        the column holds whole numbers.

        Args:
            q: Shares in [0, 1], `[Q]`.

        Returns:
            `[Q] float64`; NaN where the column has no value at all.
        """
        if not len(self.keys):
            return np.full(len(q), np.nan)
        cumulative = np.cumsum(self.counts)
        ranks = np.ceil(np.asarray(q) * cumulative[-1]).clip(1, cumulative[-1])
        return self.values[np.searchsorted(cumulative, ranks)]

    def mode(self) -> float:
        """Returns the most frequent value; among equally frequent values, the least."""
        return float(self.values[np.argmax(self.counts)])

    def knots(self, n: int) -> np.ndarray:
        """Chooses bins that divide the rows as evenly as possible.

        A bin with more rows than an even share becomes a knot of its own, and the remaining knots
        divide the remaining rows evenly. Plain quantiles would spend several knots on one frequent
        value (0 of an amount) and leave few to the rest. LightGBM's `GreedyFindBin` does the same.

        Args:
            n: Most knots, at least 2. The least and the greatest bin are always among them.

        Returns:
            Positions in `values`, ascending, `[<=n] int64`.
        """
        if len(self.counts) <= n:
            return np.arange(len(self.counts))
        rest, n_rest = np.arange(len(self.counts)), n
        # Without the heavy bins an even share is smaller, so further bins may be heavy in the rest.
        while (heavy := self.counts[rest] * (n_rest - 1) > self.counts[rest].sum()).any():
            rest, n_rest = rest[~heavy], n_rest - int(heavy.sum())
        cumulative = np.cumsum(self.counts[rest])
        ranks = np.ceil(np.arange(n_rest) / (n_rest - 1) * cumulative[-1]).clip(1, cumulative[-1])
        chosen = rest[np.searchsorted(cumulative, ranks)]
        return np.union1d(chosen, np.setdiff1d(np.arange(len(self.counts)), rest))

    def moments(self, function: Any = None) -> tuple[float, float]:
        """Returns the mean and the population standard deviation of `function(value)`.

        Both are NaN where the column has no value.
        """
        if not len(self.keys):
            return float("nan"), float("nan")
        values = self.values if function is None else function(self.values)
        weights = self.counts / self.counts.sum()
        mean = float(np.sum(values * weights))
        # Deviations are scaled to at most 1 before squaring: the square of 1e200 overflows float64.
        largest = float(np.max(np.abs(values - mean))) or 1.0
        return mean, largest * float(np.sqrt(np.sum(((values - mean) / largest) ** 2 * weights)))


@dataclass(frozen=True, eq=False)
class Categories:
    """Exact counts of distinct strings; '' and null are missing.

    A column that no transform needs string by string has a `limit`. Beyond that many distinct
    strings it holds a sample: the strings whose fingerprint begins with `shift` zero bits, where
    `shift` is the least that leaves at most `limit` of them (Flajolet, "On adaptive sampling",
    Computing 43, 1990). The counts of sampled strings stay exact, and as with a `Distribution` the
    final shift does not depend on how the rows were cut and merged.

    Attributes:
        values: Distinct strings in byte order, `[K]`.
        counts: Rows of each string, `[K] int64`.
        missing: Rows without a value.
        unsampled: Rows whose string is not in the sample.
        shift: Number of leading zero bits that a sampled fingerprint has; 0: every string is in.
        limit: Most strings; None: no limit.
    """

    values: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    missing: int = 0
    unsampled: int = 0
    shift: int = 0
    limit: int | None = None

    @classmethod
    def of(cls, values: pa.Array, limit: int | None = None) -> Categories:
        """Counts strings of `[N]`."""
        value_counts = pc.value_counts(values)
        counts = value_counts.field("counts").to_numpy()
        return cls.parts(value_counts.field("values"), counts[:, None], limit)[0]

    @classmethod
    def parts(
        cls, values: pa.Array, counts: np.ndarray, limit: int | None = None
    ) -> list[Categories]:
        """Returns the categories of each of P parts of the rows, with a single sort.

        Args:
            values: `[K]` strings, distinct except that '' and null both mean missing.
            counts: Rows of each part that hold each string, `[K, P] int64`.
            limit: Most strings of a part; None: no limit.
        """
        present = pc.fill_null(pc.not_equal(values, ""), False)
        is_present = present.to_numpy(zero_copy_only=False)
        missing = counts[~is_present].sum(axis=0).tolist()
        values, counts = values.filter(present), counts[is_present]
        order = pc.sort_indices(values)
        values, counts = values.take(order), counts[order.to_numpy()]
        return [
            cls(values.filter(pa.array(occurs)), part[occurs], n_missing, limit=limit)._bounded()
            for part, occurs, n_missing in zip(counts.T, counts.T > 0, missing, strict=True)
        ]

    @classmethod
    def total(cls, parts: Sequence[Categories]) -> Categories:
        """Returns the sum of one or more, in one pass over their strings."""
        shift = max(p.shift for p in parts)
        aligned = [p._at(shift) for p in parts]
        encoded = pa.concat_arrays([p.values for p in aligned]).dictionary_encode()
        counts = np.zeros(len(encoded.dictionary), np.int64)
        # add.at, since a string may occur in several parts: `counts[i] += n` would add only one.
        np.add.at(counts, encoded.indices.to_numpy(), np.concatenate([p.counts for p in aligned]))
        unsampled, missing = sum(p.unsampled for p in aligned), sum(p.missing for p in aligned)
        limit = next((p.limit for p in parts if p.limit is not None), None)
        order = pc.sort_indices(encoded.dictionary)
        values, counts = encoded.dictionary.take(order), counts[order.to_numpy()]
        return cls(values, counts, missing, unsampled, shift, limit)._bounded()

    def __add__(self, other: Categories) -> Categories:
        return self.total([self, other])

    def _at(self, shift: int) -> Categories:
        """Returns the categories with a larger shift, so with a smaller sample."""
        if shift == self.shift:
            return self
        in_sample = fingerprint64(self.values) < np.uint64(1 << (64 - shift))
        return replace(
            self,
            values=self.values.filter(pa.array(in_sample)),
            counts=self.counts[in_sample],
            unsampled=self.unsampled + int(self.counts[~in_sample].sum()),
            shift=shift,
        )

    def _bounded(self) -> Categories:
        """Returns the categories with at most `limit` strings."""
        if self.limit is None or len(self.values) <= self.limit:
            return self
        # The string after the `limit` smallest must go, and all with no more leading zero bits.
        first_outside = int(np.partition(fingerprint64(self.values), self.limit)[self.limit])
        return self._at(64 - first_outside.bit_length() + 1)

    @property
    def exact(self) -> bool:
        """Whether every distinct string is in `values`."""
        return self.shift == 0

    @property
    def distinct(self) -> int:
        """The number of distinct strings.

        It is an estimate unless `exact`, with a relative deviation of 1.2 / sqrt(limit): each
        sampled string stands for 2**shift of them.
        """
        return len(self.values) << self.shift

    @property
    def count(self) -> int:
        """Rows with a value, those outside the sample included."""
        return int(self.counts.sum()) + self.unsampled

    def top(self, k: int | None = None, min_count: int = 1) -> list[tuple[str, int]]:
        """Returns up to `k` pairs (value, rows), most frequent first, ties in byte order.

        Args:
            k: Most pairs; None: all.
            min_count: Fewest rows of a value.
        """
        order = np.argsort(-self.counts, kind="stable")
        order = order[self.counts[order] >= min_count][:k]
        values, counts = self.values.take(order).to_pylist(), self.counts[order].tolist()
        return list(zip(values, counts, strict=True))


ColumnStatistics = Distribution | Categories


@dataclass(frozen=True, eq=False)
class TableStatistics:
    """Statistics of every raw input of a table.

    Attributes:
        rows: Number of rows.
        columns: By name: a `Distribution` for float64, `Categories` for strings.
    """

    rows: int = 0
    columns: Mapping[str, ColumnStatistics] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        raw: Mapping[str, np.ndarray | pa.Array],
        rows: int,
        sampled: Collection[str] = (),
    ) -> TableStatistics:
        """Counts the columns of a batch, in the form that `raw_inputs` returns.

        Args:
            raw: `[N] float64` or `[N]` strings by column.
            rows: N.
            sampled: Columns that hold at most `MAX_VALUES` distinct strings.
        """
        return cls(
            rows,
            {
                name: Distribution.of(values)
                if isinstance(values, np.ndarray)
                else Categories.of(values, MAX_VALUES if name in sampled else None)
                for name, values in raw.items()
            },
        )

    @classmethod
    def parts(
        cls,
        values: Mapping[str, np.ndarray | pa.Array],
        counts: Mapping[str, np.ndarray],
        rows: Sequence[int],
        sampled: Collection[str] = (),
    ) -> list[TableStatistics]:
        """Counts the columns of a batch for each of P parts of its rows, each column only once.

        Args:
            values: The distinct values of each column, `[K]`, in the form that `of` takes.
            counts: Rows of each part that hold each value, `[K, P] int64`.
            rows: Rows of each part, `[P]`.
            sampled: Columns that hold at most `MAX_VALUES` distinct strings.
        """
        columns: dict[str, Sequence[ColumnStatistics]] = {
            name: Distribution.parts(distinct, counts[name])
            if isinstance(distinct, np.ndarray)
            else Categories.parts(distinct, counts[name], MAX_VALUES if name in sampled else None)
            for name, distinct in values.items()
        }
        return [
            cls(n, {name: parts[i] for name, parts in columns.items()}) for i, n in enumerate(rows)
        ]

    @classmethod
    def total(cls, parts: Sequence[TableStatistics]) -> TableStatistics:
        """Returns the sum of any number of parts; a part without a batch has no columns."""
        filled = [p.columns for p in parts if p.columns]
        if len(filled) < 2:
            return cls(sum(p.rows for p in parts), filled[0] if filled else {})
        columns: dict[str, ColumnStatistics] = {}
        for name, first in filled[0].items():
            total: Any = type(first).total  # all parts of a column have the same class
            columns[name] = total([c[name] for c in filled])
        return cls(sum(p.rows for p in parts), columns)

    def __add__(self, other: TableStatistics) -> TableStatistics:
        return self.total([self, other])


def ordered(bits: np.ndarray) -> np.ndarray:
    """Maps the bits of float64, `[K] int64`, to integers in the order of the floats, and back.

    As integers, negative floats are in reverse order: their magnitude grows with the bits below
    the sign. Inverting those bits turns the order round, and doing it twice changes nothing.
    """
    return np.where(bits < 0, ~bits ^ _SIGN, bits)


def _n_distinct_sorted(keys: np.ndarray) -> int:
    return int(np.count_nonzero(np.diff(keys))) + (len(keys) > 0)


def _sum_by_key(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct keys, ascending, and the sum of counts of each, `[K]` or `[K, P]`."""
    if not len(keys):
        return keys, counts
    order = np.argsort(keys, kind="stable")  # timsort, which merges parts that are sorted already
    keys, counts = keys[order], counts[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    if len(first) < len(keys):
        keys, counts = keys[first], np.add.reduceat(counts, first)
    return keys, counts
