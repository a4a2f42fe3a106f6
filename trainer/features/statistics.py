"""Mergeable statistics of columns: a zero, `of` a batch, and `+`.

Every statistic is made of exact integer counts, and `+` is associative and commutative. So the same
rows give the same statistics, to the last bit, for any cut into batches, any number of workers and
any order; everything derived (mean, quantiles, top values) is computed once, in sorted order.
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
MAX_VALUES = 1 << 14
"""Of a column whose strings need not be known one by one; the number is then known to 1 %."""
_SIGN = np.int64(np.iinfo(np.int64).min)


@dataclass(frozen=True, eq=False)
class Distribution:
    """Counts of numbers by a prefix of their float64 bits; NaN and infinities are missing.

    With `shift` 0 every distinct value has its own bin. Past `MAX_BINS` distinct values the lowest
    `shift` bits are dropped, the fewest that bring the bins down to `MAX_BINS`; a value is then
    known to a relative error of 2**(shift - 53). The number of bins at a shift only grows with
    rows, so the final shift is the same however the rows were cut and merged.

    Attributes:
        keys: Order-preserving bits of the values, without the dropped ones, ascending,
            `[K] int64`.
        counts: Rows in each bin, `[K] int64`.
        missing: Rows without a value.
        shift: How many low bits are dropped.
    """

    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    missing: int = 0
    shift: int = 0

    @classmethod
    def of(cls, values: np.ndarray) -> Distribution:
        """Counts `[N] float64` values."""
        # -0.0 + 0.0 is 0.0: both zeros are one value.
        counted = pc.value_counts(pa.array((values + 0.0).view(np.int64)))
        distinct = counted.field("values").to_numpy().view(np.float64)
        return cls.parts(distinct, counted.field("counts").to_numpy()[:, None])[0]

    @classmethod
    def parts(cls, values: np.ndarray, counts: np.ndarray) -> list[Distribution]:
        """Returns the distribution of each of P parts of the rows, by one sort.

        Args:
            values: `[K] float64`.
            counts: How many rows of each part have each of them, `[K, P] int64`.
        """
        known = np.isfinite(values)
        keys, rows = _sum_by_key(ordered((values[known] + 0.0).view(np.int64)), counts[known])
        missing = counts[~known].sum(axis=0).tolist()
        there = rows.T > 0
        return [
            cls(keys[has], part[has], lacking)._bounded()
            for has, part, lacking in zip(there, rows.T, missing, strict=True)
        ]

    @classmethod
    def total(cls, parts: Sequence[Distribution]) -> Distribution:
        """Returns the sum of one or more, by one sort."""
        shift = max(p.shift for p in parts)
        level = [p._at(shift) for p in parts]
        keys, counts = _sum_by_key(
            np.concatenate([p.keys for p in level]), np.concatenate([p.counts for p in level])
        )
        return cls(keys, counts, sum(p.missing for p in parts), shift)._bounded()

    def __add__(self, other: Distribution) -> Distribution:
        return self.total([self, other])

    def _at(self, shift: int) -> Distribution:
        if shift == self.shift:
            return self
        keys, counts = _sum_by_key(self.keys >> np.int64(shift - self.shift), self.counts)
        return Distribution(keys, counts, self.missing, shift)

    def _bounded(self) -> Distribution:
        step = 0
        while _n_distinct_sorted(self.keys >> np.int64(step)) > MAX_BINS:
            step += 1
        return self._at(self.shift + step)

    @property
    def exact(self) -> bool:
        """Whether every distinct value has its own bin."""
        return self.shift == 0

    @property
    def count(self) -> int:
        """Rows that have a value."""
        return int(self.counts.sum())

    @property
    def values(self) -> np.ndarray:
        """The value of each bin, ascending, `[K] float64`: exact, or the middle of the bin."""
        half = np.int64(1 << (self.shift - 1)) if self.shift else np.int64(0)
        return ordered((self.keys << np.int64(self.shift)) + half).view(np.float64)

    def quantile(self, q: np.ndarray | list[float]) -> np.ndarray:
        """Returns the lower quantiles: the smallest value with at least a share `q` of the rows.

        Args:
            q: Shares in [0, 1].

        Returns:
            `[Q] float64`; NaN when there is no value.
        """
        if not len(self.keys):
            return np.full(len(q), np.nan)
        cumulative = np.cumsum(self.counts)
        ranks = np.ceil(np.asarray(q) * cumulative[-1]).clip(1, cumulative[-1])
        return self.values[np.searchsorted(cumulative, ranks)]

    def mode(self) -> float:
        """Returns the most frequent value, the least of equally frequent ones."""
        return float(self.values[np.argmax(self.counts)])

    def knots(self, n: int) -> np.ndarray:
        """Returns up to `n` (at least 2) bins, ascending, that part the rows most evenly.

        A bin with more rows than a part is among them, and what is left of `n` parts the other
        rows into equal shares; so a frequent value takes no place from the rest. (LightGBM's
        `GreedyFindBin` rests on the same thought.) The least and the greatest bin are always in.

        Returns:
            Their positions in `values`, `[<=n] int64`.
        """
        if len(self.counts) <= n:
            return np.arange(len(self.counts))
        rest, n_left = np.arange(len(self.counts)), n
        while (heavy := self.counts[rest] * (n_left - 1) > self.counts[rest].sum()).any():
            rest, n_left = rest[~heavy], n_left - int(heavy.sum())
        cumulative = np.cumsum(self.counts[rest])
        ranks = np.ceil(np.arange(n_left) / (n_left - 1) * cumulative[-1]).clip(1, cumulative[-1])
        chosen = rest[np.searchsorted(cumulative, ranks)]
        return np.union1d(chosen, np.setdiff1d(np.arange(len(self.counts)), rest))

    def moments(self, function: Any = None) -> tuple[float, float]:
        """Returns the mean and the population standard deviation of `function(value)`."""
        if not len(self.keys):
            return float("nan"), float("nan")
        values = self.values if function is None else function(self.values)
        weights = self.counts / self.counts.sum()
        mean = float(np.sum(values * weights))
        # Divided by the largest first: the square of 1e200 is no float64.
        far = float(np.max(np.abs(values - mean))) or 1.0
        return mean, far * float(np.sqrt(np.sum(((values - mean) / far) ** 2 * weights)))


@dataclass(frozen=True, eq=False)
class Categories:
    """Exact counts of distinct strings; '' and null are missing.

    With a `limit`, as of texts that no transform needs to know one by one, the counts are those of
    a sample of the distinct strings once they are more: of those whose fingerprint begins with
    `shift` zero bits, the fewest that leave `limit` of them (adaptive sampling: Flajolet, "On
    adaptive sampling", Computing 43, 1990). As of a `Distribution`, the final shift does not depend
    on how the rows were cut and merged.

    Attributes:
        values: Distinct strings in byte order, `[K]`.
        counts: Rows of each, `[K] int64`.
        missing: Rows without a value.
        left_out: Rows of the strings that are not in the sample.
        shift: How many bits must be zero; 0 when all strings are there.
        limit: The most strings that are kept; None: all.
    """

    values: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    missing: int = 0
    left_out: int = 0
    shift: int = 0
    limit: int | None = None

    @classmethod
    def of(cls, values: pa.Array, limit: int | None = None) -> Categories:
        """Counts `[N]` strings."""
        counted = pc.value_counts(values)
        counts = counted.field("counts").to_numpy()
        return cls.parts(counted.field("values"), counts[:, None], limit)[0]

    @classmethod
    def parts(
        cls, values: pa.Array, counts: np.ndarray, limit: int | None = None
    ) -> list[Categories]:
        """Returns the categories of each of P parts of the rows, by one sort.

        Args:
            values: `[K]` strings, distinct but for '' and null.
            counts: How many rows of each part have each of them, `[K, P] int64`.
            limit: The most strings that are kept of a part; None: all.
        """
        known = pc.fill_null(pc.not_equal(values, ""), False)
        is_known = known.to_numpy(zero_copy_only=False)
        missing = counts[~is_known].sum(axis=0).tolist()
        values, counts = values.filter(known), counts[is_known]
        order = pc.sort_indices(values)
        values, counts = values.take(order), counts[order.to_numpy()]
        there = counts.T > 0
        return [
            cls(values.filter(pa.array(has)), part[has], lacking, limit=limit)._bounded()
            for has, part, lacking in zip(there, counts.T, missing, strict=True)
        ]

    @classmethod
    def total(cls, parts: Sequence[Categories]) -> Categories:
        """Returns the sum of one or more, by one pass."""
        shift = max(p.shift for p in parts)
        level = [p._at(shift) for p in parts]
        encoded = pa.concat_arrays([p.values for p in level]).dictionary_encode()
        counts = np.zeros(len(encoded.dictionary), np.int64)
        np.add.at(counts, encoded.indices.to_numpy(), np.concatenate([p.counts for p in level]))
        left_out, missing = sum(p.left_out for p in level), sum(p.missing for p in level)
        limit = next((p.limit for p in parts if p.limit is not None), None)
        order = pc.sort_indices(encoded.dictionary)
        values, counts = encoded.dictionary.take(order), counts[order.to_numpy()]
        return cls(values, counts, missing, left_out, shift, limit)._bounded()

    def __add__(self, other: Categories) -> Categories:
        return self.total([self, other])

    def _at(self, shift: int) -> Categories:
        if shift == self.shift:
            return self
        kept = fingerprint64(self.values) < np.uint64(1 << (64 - shift))
        return replace(
            self,
            values=self.values.filter(pa.array(kept)),
            counts=self.counts[kept],
            left_out=self.left_out + int(self.counts[~kept].sum()),
            shift=shift,
        )

    def _bounded(self) -> Categories:
        if self.limit is None or len(self.values) <= self.limit:
            return self
        # The first string too many must go, and with it all that share its leading zero bits.
        too_many = int(np.partition(fingerprint64(self.values), self.limit)[self.limit])
        return self._at(64 - too_many.bit_length() + 1)

    @property
    def exact(self) -> bool:
        """Whether every distinct string is there."""
        return self.shift == 0

    @property
    def distinct(self) -> int:
        """The number of distinct strings; of a sample an estimate (deviation 1.2 / sqrt(limit))."""
        return len(self.values) << self.shift

    @property
    def count(self) -> int:
        """Rows that have a value."""
        return int(self.counts.sum()) + self.left_out

    def top(self, k: int | None = None, min_count: int = 1) -> list[tuple[str, int]]:
        """Returns up to `k` (value, rows) pairs, most frequent first, ties in byte order."""
        order = np.argsort(-self.counts, kind="stable")
        order = order[self.counts[order] >= min_count][:k]
        values, counts = self.values.take(order).to_pylist(), self.counts[order].tolist()
        return list(zip(values, counts, strict=True))


ColumnStatistics = Distribution | Categories


@dataclass(frozen=True, eq=False)
class TableStatistics:
    """Statistics of every raw input of a table.

    Attributes:
        rows: Rows counted.
        columns: By name: `Distribution` of float64 columns, `Categories` of string columns.
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
        """Counts the columns of a batch, as `trainer.features.raw_inputs` gives them.

        Args:
            raw: The columns by name.
            rows: How many rows they have.
            sampled: The columns of which no more than `MAX_VALUES` distinct strings are kept.
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
        """Counts the columns of a batch for each of P parts of its rows, each column once.

        Args:
            values: The distinct values of each column, `[K]`, as `of` takes them.
            counts: How many rows of each part have each of them, `[K, P] int64`.
            rows: How many rows each part has, `[P]`.
            sampled: The columns of which no more than `MAX_VALUES` distinct strings are kept.
        """
        columns: dict[str, Sequence[ColumnStatistics]] = {
            name: Distribution.parts(found, counts[name])
            if isinstance(found, np.ndarray)
            else Categories.parts(found, counts[name], MAX_VALUES if name in sampled else None)
            for name, found in values.items()
        }
        return [
            cls(n, {name: parts[i] for name, parts in columns.items()}) for i, n in enumerate(rows)
        ]

    @classmethod
    def total(cls, parts: Sequence[TableStatistics]) -> TableStatistics:
        """Returns the sum of any number; those that counted no batch have no columns."""
        counted = [p.columns for p in parts if p.columns]
        if len(counted) < 2:
            return cls(sum(p.rows for p in parts), counted[0] if counted else {})
        columns: dict[str, ColumnStatistics] = {}
        for name, first in counted[0].items():
            total: Any = type(first).total  # of one class or the other, as all of a column are
            columns[name] = total([c[name] for c in counted])
        return cls(sum(p.rows for p in parts), columns)

    def __add__(self, other: TableStatistics) -> TableStatistics:
        return self.total([self, other])


def ordered(bits: np.ndarray) -> np.ndarray:
    """Maps float64 bits to integers of the same order as the floats, and back."""
    return np.where(bits < 0, ~bits ^ _SIGN, bits)


def _n_distinct_sorted(keys: np.ndarray) -> int:
    return int(np.count_nonzero(np.diff(keys))) + (len(keys) > 0)


def _sum_by_key(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct keys, ascending, and the sums of their counts, `[K]` or `[K, P]`."""
    if not len(keys):
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    if len(first) < len(keys):
        keys, counts = keys[first], np.add.reduceat(counts, first)
    return keys, counts
