"""A sample of the test rows that depends on nothing but their numbers, and can be merged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from quatrain.trainer.features.fingerprint import splitmix64

KEY = "key"
"""The column of the hashes, by which a sample is sorted."""
_SEED = np.uint64(0x9E3779B97F4A7C15)
"""Added to a row's number, since `splitmix64` maps 0 to 0: the first row would always be drawn."""


@dataclass(frozen=True, eq=False)
class RowSample:
    """The rows whose numbers have the least hashes, in the order of the hashes; `+` merges.

    The order is a random one (a permutation drawn by the hash), and the first rows of a sample are
    a smaller sample.

    Attributes:
        rows: The columns of the rows, and `KEY`; None without rows.
        n: Most rows of the sample.
    """

    rows: pa.Table | None = None
    n: int = 0

    @classmethod
    def of(cls, rows: pa.Table, first_row: int, n: int) -> RowSample:
        """Returns the sample of a batch.

        Args:
            rows: The columns to keep.
            first_row: Number of the first row in the test split.
            n: Most rows of the sample.
        """
        numbers = np.arange(first_row, first_row + rows.num_rows, dtype=np.uint64)
        keys = splitmix64(numbers + _SEED)  # a bijection, so no two rows have the same
        return cls(_least(rows.append_column(KEY, pa.array(keys)), n), n)

    def __add__(self, other: RowSample) -> RowSample:
        parts = [s.rows for s in (self, other) if s.rows is not None]
        n = max(self.n, other.n)
        if len(parts) < 2:
            return RowSample(parts[0] if parts else None, n)
        return RowSample(_least(pa.concat_tables(parts), n), n)

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return 0 if self.rows is None else self.rows.num_rows


def _least(rows: pa.Table, n: int) -> pa.Table:
    """Returns the n rows with the least keys, sorted by them."""
    order = np.argsort(rows[KEY].to_numpy())[:n]
    return rows.take(pa.array(order)).combine_chunks()
