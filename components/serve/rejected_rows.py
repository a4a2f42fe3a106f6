"""Rows that cannot be predicted: their count, their line numbers, and the file for them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Protocol, Self

import pyarrow as pa

from quatrain.components.specification.source import Source
from quatrain.components.table.block import REJECTED, Block
from quatrain.components.table.line_numbers import LineNumbers
from quatrain.components.wording import counted

REJECTED_SCHEMA = pa.schema(
    [
        *(REJECTED.field(name) for name in ("source", "position")),
        pa.field("line", pa.int64()),
        *(REJECTED.field(name) for name in ("reason", "detail", "row")),
    ]
)
"""The columns of rejected/, with the line of a text file on which the row begins."""


class Writer(Protocol):
    """Takes tables of one schema: pyarrow's writers, and `BytesWriter`."""

    def write_table(self, table: pa.Table) -> None:
        """Writes rows."""


class RejectedRows:
    """Counts the rows that cannot be read, and writes them if there is a file for them."""

    def __init__(self, source: Source) -> None:
        self.rows = self.n = 0
        self._is_text = source.format != "parquet"
        self._first: dict[str, Any] = {}
        self._lines = LineNumbers(source.encoding)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def take(self, block: Block, writer: Writer | None) -> None:
        """Counts the rows of a block, and writes those that cannot be read if there is a writer."""
        bad = block.rejected
        self.rows += block.batch.num_rows + bad.num_rows
        self.n += bad.num_rows
        if bad.num_rows and (writer or not self._first):
            table = self._located(pa.Table.from_batches([bad]) if writer else bad.slice(0, 1))
            self._first = self._first or table.slice(0, 1).to_pylist()[0]
            if writer:
                writer.write_table(table)

    def _located(self, bad: pa.Table | pa.RecordBatch) -> pa.Table:
        """Returns rejected rows with the schema `REJECTED_SCHEMA`; Parquet rows have no line."""
        positions = bad.column("position").to_pylist()
        lines: list[int | None] = [None] * len(positions)
        if self._is_text:
            lines = self._lines.at(bad.column("source")[0].as_py(), positions)
        columns = {name: bad.column(name) for name in bad.schema.names}
        return pa.table({**columns, "line": pa.array(lines, pa.int64())}).select(
            REJECTED_SCHEMA.names
        )

    @property
    def sentence(self) -> str:
        """The message: where the first rejected row is, how many there are, and the ways out."""
        shown = self._first["row"][:200].decode("utf-8", "replace")
        return sentence_of_rejected({**self._first, "row": shown}, self.n, self.rows, "FILE")


def sentence_of_rejected(row: Mapping[str, Any], n: int, n_rows: int, where: str) -> str:
    """Returns the message about rows that cannot be read, where there is no place for them.

    Args:
        row: The first one: its `source`, `line` (None for typed rows), `position`, `reason`,
            `detail` and `row`, as text.
        n: The number of such rows.
        n_rows: The number of all rows.
        where: What `--rejected` takes: FILE or DIR.
    """
    line = "" if row["line"] is None else f", line {row['line']:,}"
    place = "byte" if line else "row"
    which = "it" if n == 1 else "such rows"
    return (
        f"{row['source']}{line}: the row at {place} {row['position']:,} cannot be read "
        f"({row['reason']}: {row['detail']}): {row['row']!r}; mend or remove {which}, or give "
        f"--rejected {where}, which takes {which} and lets the others be predicted. "
        f"{n:,} of the {counted(n_rows, 'row')} cannot be read. "
        "Nothing was written, so that no prediction stands beside the wrong row"
    )


class BytesStream(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> Any:
        """Writes bytes."""

    def close(self) -> None:
        """Closes the stream."""


class BytesWriter:
    """Writes rejected rows as CSV, byte for byte: pyarrow's writer refuses what is not UTF-8."""

    def __init__(self, place: Path | BytesStream, schema: pa.Schema) -> None:
        self._file = place.open("wb") if isinstance(place, Path) else place
        self._write([schema.names])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write_table(self, table: pa.Table) -> None:
        """Writes rows; the bytes of the column `row` stay as they are."""
        columns = zip(*(c.to_pylist() for c in table.columns), strict=True)
        self._write([*cells, row.decode("utf-8", "surrogateescape")] for *cells, row in columns)

    def _write(self, rows: Iterable[Sequence[Any]]) -> None:
        text = StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode("utf-8", "surrogateescape"))
