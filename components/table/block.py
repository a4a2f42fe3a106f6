"""Blocks of rows, and the rows that are rejected with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.specification.encodings import REPLACEMENT, UNDECODABLE
from quatrain.components.table.sql import run_query

REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("row", pa.binary()),
    ]
)
"""A rejected row: its file, byte offset (text) or row number (Parquet), why, and the raw row."""


_FAR = {"s": (2**63 - 1) // 10**6, "ms": (2**63 - 1) // 10**3}
"""The last time that DuckDB can write, which it counts in microseconds, by the unit of times."""


def no_rejected_rows() -> pa.RecordBatch:
    """Returns an empty batch of rejected rows."""
    return pa.RecordBatch.from_pylist([], REJECTED)


@dataclass(frozen=True)
class Fault:
    """Rows of a block that break one rule.

    Attributes:
        rows: The indices of these rows in the block's batch, `[K] int64`.
        reason: The rule's name, under which rejected rows are counted.
        detail: A sentence with the value seen: one for each row, `[K]`, or one for all of them.
    """

    rows: np.ndarray
    reason: str
    detail: pa.Array | str = ""

    @classmethod
    def where(cls, mask: pa.Array | np.ndarray, reason: str, detail: str = "") -> Fault:
        """Marks the rows where `mask` is true; null counts as false."""
        if not isinstance(mask, np.ndarray):
            mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
        return cls(np.flatnonzero(mask), reason, detail)


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one file.

    All M raw rows stay in `rows`, and `indices` says which N of them are in `batch`. Copying the
    raw rows at each filter would cost more than it saves: only the few rejected ones are ever used.

    Attributes:
        source: The file's path or uri.
        batch: Typed columns of the rows that are not rejected, N of M.
        positions: Where each raw row is in the file, `[M] int64`: its byte (text) or row number.
        rows: The raw rows, `[M]`: bytes (text) or structs (Parquet, BigQuery).
        rejected: The rejected rows, with the schema `REJECTED`, ascending by position.
        indices: The index in `rows` of each row of `batch`, `[N] int64`; None when N is M.
        faults: The faults of rows that are in `batch` until `without_faults` rejects them.
    """

    source: str
    batch: pa.RecordBatch
    positions: pa.Array
    rows: pa.Array
    rejected: pa.RecordBatch = field(default_factory=no_rejected_rows)
    indices: np.ndarray | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def batch_positions(self) -> pa.Array:
        """Where each row of `batch` is in the file, `[N] int64`."""
        if self.indices is None:
            return self.positions
        return self.positions.take(pa.array(self.indices))

    @property
    def batch_rows(self) -> pa.Array:
        """The raw row of each row of `batch`, `[N]`; not copied when nothing is rejected."""
        return self.rows if self.indices is None else self.rows.take(pa.array(self.indices))

    @property
    def is_good(self) -> np.ndarray:
        """Whether each row of `batch` is free of faults, `[N] bool`."""
        good = np.ones(self.batch.num_rows, bool)
        for fault in self.faults:
            good[fault.rows] = False
        return good

    def with_rows(self, rows: pa.Array) -> Block:
        """Returns the block with other bytes for each of its M raw rows, `[M]` binary."""
        at = pc.index_in(self.rejected.column("position"), value_set=self.positions)
        rejected = self.rejected.set_column(4, REJECTED.field("row"), raw_bytes(rows.take(at)))
        return replace(self, rows=rows, rejected=rejected)

    def with_faults(self, faults: Sequence[Fault]) -> Block:
        """Returns the block with more faults; the first fault of a row is its reason."""
        return replace(self, faults=(*self.faults, *(f for f in faults if len(f.rows))))

    def without_faults(self, faults: Sequence[Fault] = ()) -> Block:
        """Returns the block with its faulty rows rejected, after adding `faults` to its own."""
        block = self.with_faults(faults)
        if not block.faults:
            return self
        good = block.is_good
        return replace(
            self,
            batch=self.batch.filter(pa.array(good)),
            rejected=block.all_rejected,
            indices=np.flatnonzero(good) if self.indices is None else self.indices[good],
            faults=(),
        )

    @property
    def all_rejected(self) -> pa.RecordBatch:
        """The rejected rows and those that have a fault, ascending by position."""
        if not self.faults:
            return self.rejected
        rejected = pa.concat_batches([self.rejected, self._faulty_rows()])
        return rejected.take(pc.sort_indices(rejected.column("position")))

    def _faulty_rows(self) -> pa.RecordBatch:
        """Returns each row that has a fault once, with the schema `REJECTED`."""
        rows = np.concatenate([f.rows for f in self.faults])
        # The sort is stable and faults are in order, so the first of each row is its first fault.
        order = np.argsort(rows, kind="stable")
        first = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
        reasons = pa.concat_arrays([pa.repeat(f.reason, len(f.rows)) for f in self.faults])
        raw = pa.array(rows[first] if self.indices is None else self.indices[rows[first]])
        return pa.record_batch(
            [
                pa.repeat(self.source, len(first)),
                self.positions.take(raw),
                reasons.take(pa.array(first)),
                pa.concat_arrays([_details(f) for f in self.faults]).take(pa.array(first)),
                raw_bytes(self.rows.take(raw)),
            ],
            schema=REJECTED,
        )


def raw_bytes(rows: pa.Array) -> pa.Array:
    """Returns raw rows as bytes: lines without their line end, typed rows as JSON."""
    if pa.types.is_binary(rows.type):
        for end in (b"\n", b"\r"):
            rows = pc.if_else(pc.ends_with(rows, pattern=end), pc.binary_slice(rows, 0, -1), rows)
        return pc.replace_substring(rows, UNDECODABLE, REPLACEMENT)
    columns = [_writable(column) for column in rows.flatten()]
    table = pa.table({"row": pa.StructArray.from_arrays(columns, rows.type.names)})
    text = run_query("SELECT to_json(row) AS text FROM batch", table).column("text")
    return text.combine_chunks().cast(pa.binary())


def _writable(column: pa.Array) -> pa.Array:
    """Returns a column that DuckDB writes as JSON: values that it cannot write become texts."""
    type_ = column.type
    if type_ == pa.float16():
        return column.cast(pa.float32())
    if pa.types.is_decimal256(type_):
        return column.cast(pa.string())
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        texts = (v and v.decode("utf-8", "backslashreplace") for v in column.to_pylist())
        return pa.array(texts, pa.string())
    if pa.types.is_timestamp(type_) and type_.unit in _FAR:
        since = column.view(pa.int64())
        outside = pc.or_(pc.less(since, -_FAR[type_.unit]), pc.greater(since, _FAR[type_.unit]))
        if pc.any(outside).as_py():
            times = pa.table({"time": pc.if_else(outside, None, column)})
            inside = run_query("SELECT time::VARCHAR AS text FROM batch", times).column("text")
            return pc.coalesce(inside.combine_chunks(), since.cast(pa.string()))
    return column


def _details(fault: Fault) -> pa.Array:
    if isinstance(fault.detail, str):
        return pa.repeat(fault.detail, len(fault.rows))
    return fault.detail
