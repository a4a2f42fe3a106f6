"""Blocks of rows, and the rows that are set aside with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.table.sql import ask

REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("row", pa.binary()),
    ]
)
"""A rejected row: its file, byte offset (CSV) or row number (Parquet), why, and the row as read."""


def none_rejected() -> pa.RecordBatch:
    """Returns rejected rows: none."""
    return pa.RecordBatch.from_pylist([], REJECTED)


@dataclass(frozen=True)
class Fault:
    """Rows of a block that break one rule.

    Attributes:
        rows: Their indices in the block, `[K] int64`.
        reason: The rule's name, by which rejected rows are counted.
        detail: What was seen: a sentence for each, `[K]`, or one for all.
    """

    rows: np.ndarray
    reason: str
    detail: pa.Array | str = ""

    @classmethod
    def where(cls, mask: pa.Array | np.ndarray, reason: str, detail: str = "") -> Fault:
        """Marks the rows where `mask` is true (null is not true)."""
        if not isinstance(mask, np.ndarray):
            mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
        return cls(np.flatnonzero(mask), reason, detail)


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one file.

    The rows as read are kept whole, as few of them are asked for; `kept` says which are in `batch`.

    Attributes:
        source: The file's path or uri.
        batch: Typed columns of the rows that are not set aside, N of M.
        positions: Where each row stands in the file, `[M] int64`.
        rows: The rows as read, `[M]`: bytes (CSV) or structs (Parquet).
        rejected: The rows set aside, with the schema `REJECTED`, ascending by position.
        kept: The indices of the others, `[N] int64`; None are all.
        faults: What is wrong with rows of `batch`, which stand there until `without`.
    """

    source: str
    batch: pa.RecordBatch
    positions: pa.Array
    rows: pa.Array
    rejected: pa.RecordBatch = field(default_factory=none_rejected)
    kept: np.ndarray | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def kept_positions(self) -> pa.Array:
        """Where the rows of `batch` stand in the file, `[N] int64`."""
        return self.positions if self.kept is None else self.positions.take(pa.array(self.kept))

    @property
    def is_good(self) -> np.ndarray:
        """Whether nothing is wrong with a row of `batch`, `[N] bool`."""
        good = np.ones(self.batch.num_rows, bool)
        for fault in self.faults:
            good[fault.rows] = False
        return good

    def found(self, faults: Sequence[Fault]) -> Block:
        """Adds faults; the first one of a row is its reason."""
        return replace(self, faults=(*self.faults, *(f for f in faults if len(f.rows))))

    def without(self, faults: Sequence[Fault] = ()) -> Block:
        """Sets aside the rows that have a fault, of these or found before."""
        block = self.found(faults)
        if not block.faults:
            return self
        good = block.is_good
        return replace(
            self,
            batch=self.batch.filter(pa.array(good)),
            rejected=block.all_rejected,
            kept=np.flatnonzero(good) if self.kept is None else self.kept[good],
            faults=(),
        )

    @property
    def all_rejected(self) -> pa.RecordBatch:
        """The rows set aside and those that have a fault, ascending by position."""
        if not self.faults:
            return self.rejected
        rejected = pa.concat_batches([self.rejected, self._rejected(self.faults)])
        return rejected.take(pc.sort_indices(rejected.column("position")))

    def _rejected(self, faults: Sequence[Fault]) -> pa.RecordBatch:
        rows = np.concatenate([f.rows for f in faults])
        order = np.argsort(rows, kind="stable")
        first = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
        reason = pa.concat_arrays([pa.repeat(f.reason, len(f.rows)) for f in faults])
        chosen = pa.array(rows[first] if self.kept is None else self.kept[rows[first]])
        return pa.record_batch(
            [
                pa.repeat(self.source, len(first)),
                self.positions.take(chosen),
                reason.take(pa.array(first)),
                pa.concat_arrays([_details(f) for f in faults]).take(pa.array(first)),
                as_read(self.rows.take(chosen)),
            ],
            schema=REJECTED,
        )


def as_read(rows: pa.Array) -> pa.Array:
    """Returns the bytes of rows: CSV rows without their line end, Parquet rows as JSON text."""
    if pa.types.is_binary(rows.type):
        for end in (b"\n", b"\r"):
            rows = pc.if_else(pc.ends_with(rows, pattern=end), pc.binary_slice(rows, 0, -1), rows)
        return rows
    # DuckDB does not know numbers of two bytes.
    fields = [f.with_type(pa.float32()) if f.type == pa.float16() else f for f in rows.type]
    text = ask(
        "SELECT to_json(row) AS text FROM read", pa.table({"row": rows.cast(pa.struct(fields))})
    )
    return text.column("text").combine_chunks().cast(pa.binary())


def _details(fault: Fault) -> pa.Array:
    if isinstance(fault.detail, str):
        return pa.repeat(fault.detail, len(fault.rows))
    return fault.detail
