"""CSV blocks: read typed at once, but for what is known to be wrong; else value by value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table.block import Block, Fault
from quatrain.components.table.conversion import (
    FALSE,
    TRUE,
    TYPES,
    USUAL,
    ZONE,
    ZONED,
    Column,
    from_text,
    settle,
)
from quatrain.components.table.range import Range
from quatrain.components.table.sql import one_batch
from quatrain.components.table.text_pieces import Piece, pieces, raw_block
from quatrain.trainer.features.text_format import Spelling

BLOCK_BYTES = 10 << 20
"""About 113 000 flights: of a file that can be cut anywhere, a whole range."""
_PEEK_ROWS = 100
_WRITTEN = pa.dictionary(pa.int32(), pa.binary())
"""A column as it is written: a value that occurs often is converted once."""


def read_blocks(
    span: Range,
    source: Source,
    columns: Mapping[str, str],
    block_bytes: int = BLOCK_BYTES,
    spellings: Mapping[str, Spelling] = {},
    suspects: set[str] | None = None,
) -> Iterator[Block]:
    """Yields the rows of a range of a CSV file.

    A row is a line, or with `source.quoted_newlines` a line that ends outside quotes. An empty line
    is not a row (it is the missing value of a file of one column).

    Args:
        span: The range.
        source: How the rows are written.
        columns: The declared types of the columns that are read.
        block_bytes: About the size of a block.
        spellings: How columns are written that are not written the usual way.
        suspects: Columns that had a wrong value in what was read before. Their values are converted
            one by one, which spares a second reading; the rows are the same. More are added.

    Raises:
        SourceError: The file cannot be read, or a row is too long.
    """
    known = set[str]() if suspects is None else suspects
    parser, is_sound = _Parser(span.header, source, columns, spellings, known), True

    def typed(piece: Piece) -> Block:
        nonlocal is_sound
        block = raw_block(piece, span, empty_is_row=len(span.header) == 1)
        # Where one block had an open quote, the next one likely has one too: to try costs a third.
        read = _read_typed(block, piece, parser) if is_sound else None
        if read is None:
            unsound = _unsound(block.rows, parser) if _may_be_unsound(piece[1]) else []
            read = _read_slowly(block.without(unsound), parser)
            is_sound = not any(len(f.rows) for f in unsound)
        return read

    return map(typed, pieces(span, block_bytes, quoted_newlines=source.quoted_newlines))


def _read_typed(block: Block, piece: Piece, parser: _Parser) -> Block | None:
    """Reads a block at once, but for rows of another length; None when that cannot be done."""
    _, data, ends = piece
    if parser.source.quoted_newlines and b'"' in data:
        # Where rows end was told by counting quotes, which a quote inside a bare value upsets.
        asked = block.rows.filter(pc.match_substring(block.rows, pattern='"'))
    else:
        # An open quote joins its line to the next, so the count differs; the last one has no next.
        asked = block.rows.slice(max(len(block.rows) - 1, 0))
    if _has_stray_return(data) or not parser.is_sound(asked):
        return None
    ragged: list[tuple[int, int]] = []
    typed = parser.parse_typed(data, data[: ends[min(_PEEK_ROWS, len(ends)) - 1]], ragged)
    if typed is None or typed.num_rows + len(ragged) != len(block.rows):
        return None
    if ragged:
        at, found = np.array(ragged, np.int64).T
        block = block.without(_lengths(found, len(parser.header), at))
    return _filled(block, {n: parser.settled(n, typed.column(n)) for n in parser.columns})


def _has_stray_return(data: bytes) -> bool:
    return b"\r" in data and data.count(b"\r") != data.count(b"\r\n")


def _may_be_unsound(data: bytes) -> bool:
    return b'"' in data or _has_stray_return(data)


class _Parser:
    """pyarrow's CSV reader, set up for the columns of one file."""

    def __init__(
        self,
        header: tuple[str, ...],
        source: Source,
        columns: Mapping[str, str],
        spellings: Mapping[str, Spelling],
        suspects: set[str],
    ) -> None:
        self.header = header
        self.source = source
        self.columns = columns
        self.spellings = spellings
        self.suspects = suspects
        delimiter = re.escape(source.delimiter)
        plain = rf'(?:[^"{delimiter}\r\n][^{delimiter}\r\n]*)'
        field = rf'(?:"(?:[^"]|"")*"{plain}?|{plain})?'
        self._quoted = rf'(\A|{delimiter})"(?:[^"]|"")*"'
        self._sound = rf"\A{field}(?:{delimiter}{field})*\r?\n?\z"

    def is_sound(self, rows: pa.Array) -> bool:
        """Whether all quotes of rows close, and no carriage return stands alone."""
        return bool(pc.all(self.sound(rows)).as_py() is not False)

    def sound(self, rows: pa.Array) -> pa.Array:
        """Marks rows that hold one record, as pyarrow's reader sees it."""
        return pc.match_substring_regex(rows, pattern=self._sound)

    def parse_typed(
        self,
        data: bytes | pa.Buffer,
        peeked: bytes | pa.Buffer,
        ragged: list[tuple[int, int]] | None = None,
    ) -> pa.RecordBatch | None:
        """Reads typed columns, suspects as text; gives None when that cannot be done.

        A column that does not convert becomes a suspect, and the rows are read once more.

        Args:
            data: Rows.
            peeked: The first of them, which tell whether times have zones.
            ragged: Is given the number and the values of each row of another length, which is left
                out; None: there is none.
        """
        types = {name: TYPES[type_] for name, type_ in self.columns.items()}
        types |= {n: _WRITTEN for n in types if n in self.spellings or n in self.suspects}
        times = [n for n, type_ in types.items() if pa.types.is_timestamp(type_)]
        # pyarrow cannot show us a row that is not UTF-8.
        shown = ragged if ragged is not None and _is_utf8(data) else None
        try:
            if times:
                first = self._parse(peeked, dict.fromkeys(times, pa.binary()), shown)
                types |= {name: ZONED for name in times if _has_zone(first.column(name))}
            return self._parse_and_suspect(data, types, shown)
        except pa.ArrowInvalid:
            return None

    def _parse_and_suspect(
        self,
        data: bytes | pa.Buffer,
        types: dict[str, pa.DataType],
        ragged: list[tuple[int, int]] | None,
    ) -> pa.RecordBatch:
        while True:
            if ragged is not None:
                ragged.clear()
            try:
                return self._parse(data, types, ragged)
            except pa.ArrowInvalid as error:
                named = re.match(r"In CSV column #(\d+): ", str(error))
                name = self.header[int(named[1])] if named else ""
                if types.get(name, _WRITTEN) == _WRITTEN:
                    raise
                self.suspects.add(name)
                types[name] = _WRITTEN

    def settled(self, name: str, column: pa.Array) -> Column:
        """Finishes a column that `parse_typed` read."""
        if pa.types.is_dictionary(column.type):
            return from_text(name, column, self.columns[name], self.spellings.get(name, USUAL))
        return settle(name, column)

    def n_values(self, rows: pa.Array) -> np.ndarray:
        """Counts the values of sound rows, `[N] int64`."""
        characters = np.frombuffer(_bytes_of(rows), np.uint8)
        if (characters == ord('"')).any():
            bare = pc.replace_substring_regex(rows, pattern=self._quoted, replacement=r"\1")
            rows = pc.if_else(pc.match_substring(rows, pattern='"'), bare, rows)
            characters = np.frombuffer(_bytes_of(rows), np.uint8)
        delimiters = np.flatnonzero(characters == ord(self.source.delimiter))
        ends = np.cumsum(pc.binary_length(rows).to_numpy())
        return np.diff(np.searchsorted(delimiters, ends), prepend=0) + 1

    def _parse(
        self,
        data: bytes | pa.Buffer,
        types: dict[str, pa.DataType],
        ragged: list[tuple[int, int]] | None = None,
    ) -> pa.RecordBatch:
        def leave_out(row: pacsv.InvalidRow) -> str:
            ragged.append((row.number - 1, row.actual_columns))  # type: ignore[union-attr]
            return "skip"

        table = pacsv.read_csv(
            pa.BufferReader(data),
            read_options=pacsv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=self.header
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self.source.delimiter,
                newlines_in_values=self.source.quoted_newlines,
                ignore_empty_lines=len(self.header) > 1,
                invalid_row_handler=None if ragged is None else leave_out,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=["", *self.source.nulls],
                strings_can_be_null=True,
                true_values=TRUE,
                false_values=FALSE,
            ),
        )
        return one_batch(table)


def _is_utf8(data: bytes | pa.Buffer) -> bool:
    ends = pa.py_buffer(np.array([0, len(data)]))
    text = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(data)])
    try:
        text.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _has_zone(text: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern=ZONE)).as_py())


def _read_slowly(block: Block, parser: _Parser) -> Block:
    """Finds every row of another length, of a block of sound rows."""
    block = block.without(_lengths(parser.n_values(_good(block)), len(parser.header)))
    if not block.batch.num_rows:
        return _filled(block, {n: (pa.array([], TYPES[t]), []) for n, t in parser.columns.items()})
    good = _good(block)
    typed = parser.parse_typed(_bytes_of(good), _bytes_of(good.slice(0, _PEEK_ROWS)))
    if typed is None or typed.num_rows != len(good):
        found = "not" if typed is None else f"as {typed.num_rows:,}"
        raise SourceError(
            f"{block.source}: {len(good):,} rows near byte {block.positions[0].as_py():,} were "
            f"read {found}; please report this as a bug"
        )
    return _filled(block, {n: parser.settled(n, typed.column(n)) for n in parser.columns})


def _unsound(rows: pa.Array, parser: _Parser) -> list[Fault]:
    quoted = pc.match_substring(rows, pattern='"')
    suspects = pc.or_(quoted, pc.match_substring_regex(rows, pattern=r"\r[^\n]"))
    at = np.flatnonzero(suspects.to_numpy(zero_copy_only=False))
    broken = at[~parser.sound(rows.take(pa.array(at))).to_numpy(zero_copy_only=False)]
    has_quote = quoted.to_numpy(zero_copy_only=False)[broken]
    hint = (
        "a quote is left open, or is not doubled inside quotes"
        if parser.source.quoted_newlines
        else "a quote is not closed on its line; "
        "if values hold line ends, set `source.quoted_newlines: true`"
    )
    return [
        Fault(broken[has_quote], "unclosed_quote", hint),
        Fault(broken[~has_quote], "stray_return", "a carriage return alone breaks the row"),
    ]


def _lengths(n_values: np.ndarray, expected: int, rows: np.ndarray | None = None) -> list[Fault]:
    """Returns the rows that have not the expected number of values; `rows` says which are given."""
    faults = []
    for reason, wrong in (("short_row", n_values < expected), ("long_row", n_values > expected)):
        at = np.flatnonzero(wrong)
        found = pa.array(n_values[at]).cast(pa.string())
        detail = pc.binary_join_element_wise(found, f"values for {expected} columns", " ")
        faults.append(Fault(at if rows is None else rows[at], reason, detail))
    return faults


def _good(block: Block) -> pa.Array:
    """Returns the good rows as read, without a copy where all are."""
    return block.rows if block.kept is None else block.rows.take(pa.array(block.kept))


def _bytes_of(rows: pa.Array) -> pa.Buffer:
    """Returns the bytes of consecutive rows, without a copy."""
    offsets = np.frombuffer(rows.buffers()[1], np.int32)[rows.offset :]
    first, last = int(offsets[0]), int(offsets[len(rows)])
    return rows.buffers()[2].slice(first, last - first)


def _filled(block: Block, columns: dict[str, tuple[pa.Array, list[Fault]]]) -> Block:
    batch = pa.record_batch([c for c, _ in columns.values()], names=list(columns))
    return replace(block, batch=batch).found([f for _, faults in columns.values() for f in faults])
