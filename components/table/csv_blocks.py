"""CSV blocks: pyarrow reads a whole block at once where it can, else its columns one by one.

One bad cell fails a whole block of pyarrow's reader. 1.13 million flights take 0.44 CPU-s when all
values are good, and 0.85 when each block is read a second time because of a bad one. So a column
that has had a bad value becomes a suspect, and later blocks read it as text: 0.59 CPU-s.
"""

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
from quatrain.components.table.encoded_text import undecodable
from quatrain.components.table.formats import DOUBLED_QUOTES, LINE_FEEDS, WITHOUT_NULS, command
from quatrain.components.table.range import Range
from quatrain.components.table.sql import one_batch
from quatrain.components.table.text_pieces import Piece, pieces, raw_block
from quatrain.components.table.values.bounds import TYPES, TypedColumn, finish_column
from quatrain.components.table.values.conversion import FALSE, TRUE, USUAL, from_text
from quatrain.components.table.values.time_text import ZONE, ZONED
from quatrain.trainer.features.text_format import Spelling

BLOCK_BYTES = 10 << 20
"""About 113 000 rows of flights: a whole range of `plan_ranges`."""
_PEEK_ROWS = 100
"""The first rows of a block, which show whether its times have zones."""
_RAW = pa.dictionary(pa.int32(), pa.binary())
"""The type of a column that is read as text: each distinct value is converted only once."""


def read_blocks(
    span: Range,
    source: Source,
    columns: Mapping[str, str],
    block_bytes: int = BLOCK_BYTES,
    spellings: Mapping[str, Spelling] = {},
    suspects: set[str] | None = None,
) -> Iterator[Block]:
    """Yields the rows of a range of a CSV file.

    A row is a line; with `source.quoted_newlines`, line ends inside quotes do not end it. An empty
    line is not a row, except in a file of one column, where it is a missing value.

    Args:
        span: The range.
        source: How the rows are written.
        columns: The declared types of the columns to read.
        block_bytes: About the size of a block.
        spellings: The formats of columns that do not have the usual one.
        suspects: Columns in which an earlier block had a bad value; this call adds more. Their
            values are converted one by one, which saves reading the block twice. The rows are the
            same either way.

    Raises:
        SourceError: The file cannot be read, or a row is too long.
    """
    suspects = set[str]() if suspects is None else suspects
    parser, is_sound = _CsvParser(span.header, source, columns, spellings, suspects), True

    def typed(piece: Piece) -> Block:
        nonlocal is_sound
        as_read = raw_block(piece, span, empty_is_row=len(span.header) == 1)
        block = as_read
        if span.surplus:
            piece = parser.without_surplus(piece, span)
            block = raw_block(piece, span, empty_is_row=len(span.header) == 1)
        # After a block with an open quote the next one most likely has one too, and trying the
        # fast way in vain would cost a third more.
        typed_block = _read_typed(block, piece, parser) if is_sound else None
        if typed_block is None:
            unsound = _unsound_rows(block, parser) if _may_be_unsound(piece.data) else []
            typed_block = _read_slowly(block.without_faults(unsound), parser)
            is_sound = not any(len(f.rows) for f in unsound)
        return typed_block.with_rows(as_read.rows) if span.surplus else typed_block

    rows_in_utf8 = pieces(
        span, block_bytes, quoted_newlines=source.quoted_newlines, encoding=source.encoding
    )
    return map(typed, rows_in_utf8)


def _read_typed(block: Block, piece: Piece, parser: _CsvParser) -> Block | None:
    """Reads a block at once, without rows of the wrong length; None when that is impossible."""
    data, ends = piece.data, piece.ends
    if parser.source.quoted_newlines and b'"' in data:
        # Row ends were found by counting quotes, and a quote inside a bare value upsets the count.
        doubtful = block.rows.filter(pc.match_substring(block.rows, pattern='"'))
    else:
        # pyarrow joins a line with an open quote to the next one, so the numbers of rows differ.
        # Only the last line has no line after it to join.
        doubtful = block.rows.slice(max(len(block.rows) - 1, 0))
    if _may_be_odd(data) or not parser.is_sound(doubtful):
        return None
    ragged: list[tuple[int, int]] = []
    typed = parser.parse_typed(data, data[: ends[min(_PEEK_ROWS, len(ends)) - 1]], ragged)
    if typed is None or typed.num_rows + len(ragged) != len(block.rows):
        return None
    if ragged:
        at, n_values = np.array(ragged, np.int64).T
        block = block.without_faults(_wrong_lengths(n_values, len(parser.header), at))
    return _with_columns(block, {n: parser.finish(n, typed.column(n)) for n in parser.columns})


def _has_stray_return(data: bytes) -> bool:
    """Whether a carriage return has no line feed after it: pyarrow would end the row there."""
    return b"\r" in data and data.count(b"\r") != data.count(b"\r\n")


def _may_be_odd(data: bytes) -> bool:
    """Whether pyarrow may take some rows for others than they are, without an error."""
    has_escape = b"\\" in data and b'\\"' in data  # a single byte is found faster
    return has_escape or b"\0" in data or _has_stray_return(data)


def _may_be_unsound(data: bytes) -> bool:
    return b'"' in data or _may_be_odd(data)


class _CsvParser:
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
        # A value may go on after its closing quote: pyarrow reads `"a"b` as `ab`.
        plain = rf'(?:[^"{delimiter}\r\n][^{delimiter}\r\n]*)'
        field = rf'(?:"(?:[^"]|"")*"{plain}?|{plain})?'
        self._quoted = rf'(\A|{delimiter})"(?:[^"]|"")*"'
        self._escaped = rf'\A(?:{field}{delimiter})*"(?:[^"]|"")*\\"[^"{delimiter}\r\n]'
        self._sound = rf"\A{field}(?:{delimiter}{field})*\r?\n?\z"

    def is_sound(self, rows: pa.Array) -> bool:
        """Whether every quote in the rows is closed, and no carriage return is alone."""
        return bool(pc.all(self.sound(rows)).as_py() is not False)

    def sound(self, rows: pa.Array) -> pa.Array:
        """Marks the rows that pyarrow's reader takes for one record each."""
        return pc.match_substring_regex(rows, pattern=self._sound)

    def escaped(self, rows: pa.Array) -> pa.Array:
        """Marks the rows in which a backslash stands before a quote that would close its value."""
        return pc.match_substring_regex(rows, pattern=self._escaped)

    def without_surplus(self, piece: Piece, span: Range) -> Piece:
        """Returns a piece without the empty values that rows have beyond those of the header."""
        rows = raw_block(piece, span, empty_is_row=True).rows
        n_beyond = self.n_values(rows) - len(self.header)
        for n in np.unique(n_beyond[(n_beyond > 0) & (n_beyond <= span.surplus)]).tolist():
            pattern = rf"{re.escape(self.source.delimiter)}{{{n}}}(\r?\n?)\z"
            shorter = pc.replace_substring_regex(rows, pattern=pattern, replacement=r"\1")
            rows = pc.if_else(pa.array(n_beyond == n), shorter, rows)
        ends = np.cumsum(pc.binary_length(rows).to_numpy())
        return replace(piece, data=_bytes_of(rows).to_pybytes(), ends=ends)

    def parse_typed(
        self,
        data: bytes | pa.Buffer,
        first_rows: bytes | pa.Buffer,
        ragged: list[tuple[int, int]] | None = None,
    ) -> pa.RecordBatch | None:
        """Reads typed columns, suspects as text; returns None when that is impossible.

        A column that does not convert becomes a suspect, and the rows are read once more.

        Args:
            data: Whole rows.
            first_rows: The first of them, which show whether times have zones.
            ragged: Filled with the index and the number of values of each row of the wrong length,
                which is left out; None if the caller has removed such rows.
        """
        types = {name: TYPES[type_] for name, type_ in self.columns.items()}
        types |= {n: _RAW for n in types if n in self.spellings or n in self.suspects}
        times = [n for n, type_ in types.items() if pa.types.is_timestamp(type_)]
        # pyarrow fails when it hands a row that is not UTF-8 to the handler of ragged rows.
        handled = ragged if ragged is not None and _is_utf8(data) else None
        try:
            if times:
                first = self._parse(first_rows, dict.fromkeys(times, pa.binary()), handled)
                types |= {name: ZONED for name in times if _has_zone(first.column(name))}
            return self._parse_and_suspect(data, types, handled)
        except pa.ArrowInvalid:
            return None

    def _parse_and_suspect(
        self,
        data: bytes | pa.Buffer,
        types: dict[str, pa.DataType],
        ragged: list[tuple[int, int]] | None,
    ) -> pa.RecordBatch:
        """Parses rows until no column fails; each column that does becomes a suspect.

        Raises:
            ArrowInvalid: The rows do not parse even with every column that failed read as text.
        """
        while True:
            if ragged is not None:
                ragged.clear()
            try:
                return self._parse(data, types, ragged)
            except pa.ArrowInvalid as error:
                # pyarrow's error has no field for the column: its text alone names it (25.0).
                column = re.match(r"In CSV column #(\d+): ", str(error))
                name = self.header[int(column[1])] if column else ""
                if types.get(name, _RAW) == _RAW:
                    raise
                self.suspects.add(name)
                types[name] = _RAW

    def finish(self, name: str, column: pa.Array) -> TypedColumn:
        """Returns a column that `parse_typed` read, with its faults."""
        if pa.types.is_dictionary(column.type):
            spelling = self.spellings.get(name, USUAL)
            values, faults = from_text(name, column, self.columns[name], spelling)
            return values, [self._with_way_out(name, fault) for fault in faults]
        return finish_column(name, column)

    def _with_way_out(self, name: str, fault: Fault) -> Fault:
        """Returns a fault of a column; that of its encoding says which key of the spec names it."""
        if fault.reason != "bad_encoding":
            return fault
        return replace(fault, detail=undecodable(f"{name}: the value", self.source.encoding))

    def n_values(self, rows: pa.Array) -> np.ndarray:
        """Returns the number of values in each sound row, `[N] int64`."""
        characters = np.frombuffer(_bytes_of(rows), np.uint8)
        if (characters == ord('"')).any():
            unquoted = pc.replace_substring_regex(rows, pattern=self._quoted, replacement=r"\1")
            rows = pc.if_else(pc.match_substring(rows, pattern='"'), unquoted, rows)
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
        """Parses rows into columns of the given Arrow types.

        Raises:
            ArrowInvalid: A value does not convert, or a row is ragged and `ragged` is None.
        """

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
    """Returns whether data is valid UTF-8; Arrow's cast checks it without creating Python text."""
    ends = pa.py_buffer(np.array([0, len(data)]))
    text = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(data)])
    try:
        text.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _has_zone(text: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern=ZONE)).as_py())


def _read_slowly(block: Block, parser: _CsvParser) -> Block:
    """Reads a block of sound rows, after counting the values of each one."""
    n_values = parser.n_values(block.batch_rows)
    block = block.without_faults(_wrong_lengths(n_values, len(parser.header)))
    if not block.batch.num_rows:
        empty: dict[str, TypedColumn]
        empty = {n: (pa.array([], TYPES[t]), []) for n, t in parser.columns.items()}
        return _with_columns(block, empty)
    rows = block.batch_rows
    typed = parser.parse_typed(_bytes_of(rows), _bytes_of(rows.slice(0, _PEEK_ROWS)))
    if typed is None or typed.num_rows != len(rows):
        outcome = "not" if typed is None else f"as {typed.num_rows:,}"
        raise SourceError(
            f"{block.source}: {len(rows):,} of the rows near byte {block.positions[0].as_py():,} "
            f"were read {outcome}; report that as a bug"
        )
    return _with_columns(block, {n: parser.finish(n, typed.column(n)) for n in parser.columns})


def _unsound_rows(block: Block, parser: _CsvParser) -> list[Fault]:
    """Returns the faults of rows that pyarrow does not read, or would read wrong."""
    rows = block.rows
    quoted = pc.match_substring(rows, pattern='"')
    odd = pc.or_(
        pc.match_substring(rows, pattern="\0"), pc.match_substring_regex(rows, pattern=r"\r[^\n]")
    )
    at = np.flatnonzero(pc.or_(quoted, odd).to_numpy(zero_copy_only=False))
    doubtful = rows.take(pa.array(at))
    is_sound = parser.sound(doubtful).to_numpy(zero_copy_only=False)
    has_quote = quoted.to_numpy(zero_copy_only=False)[at]
    has_nul = pc.match_substring(doubtful, pattern="\0").to_numpy(zero_copy_only=False)
    has_escape = pc.match_substring(doubtful, pattern='\\"').to_numpy(zero_copy_only=False)
    is_escaped = parser.escaped(doubtful).to_numpy(zero_copy_only=False)
    is_escaped |= has_escape & has_quote & ~is_sound
    hint = (
        "a quote is left open, or is not doubled inside quotes"
        if parser.source.quoted_newlines
        else "a quote is not closed on its line; "
        "if values hold line ends, set `source.quoted_newlines: true`"
    )
    programs = (WITHOUT_NULS, DOUBLED_QUOTES, LINE_FEEDS)
    nuls, quotes, feeds = (command(program, block.source, ".csv") for program in programs)
    return [
        Fault(at[has_nul], "nul_byte", f"the row has a NUL byte; this takes it out: {nuls}"),
        Fault(
            at[is_escaped],
            "escaped_quote",
            f"a backslash escapes a quote, which a CSV doubles; this doubles it: {quotes}",
        ),
        Fault(at[~is_sound & has_quote], "unclosed_quote", hint),
        Fault(
            at[~is_sound & ~has_quote],
            "stray_return",
            f"a carriage return alone breaks it; {feeds}",
        ),
    ]


def _wrong_lengths(
    n_values: np.ndarray, expected: int, rows: np.ndarray | None = None
) -> list[Fault]:
    """Returns the faults of rows that have too few or too many values.

    Args:
        n_values: The numbers of values, `[K] int64`.
        expected: The number of columns.
        rows: The index of each of the K rows in its block; by default 0 to K - 1.
    """
    faults = []
    for reason, wrong in (("short_row", n_values < expected), ("long_row", n_values > expected)):
        at = np.flatnonzero(wrong)
        actual = pa.array(n_values[at]).cast(pa.string())
        detail = pc.binary_join_element_wise(actual, f"values for {expected} columns", " ")
        faults.append(Fault(at if rows is None else rows[at], reason, detail))
    return faults


def _bytes_of(rows: pa.Array) -> pa.Buffer:
    """Returns the bytes of consecutive rows, without a copy."""
    offsets = np.frombuffer(rows.buffers()[1], np.int32)[rows.offset :]
    first, last = int(offsets[0]), int(offsets[len(rows)])
    return rows.buffers()[2].slice(first, last - first)


def _with_columns(block: Block, columns: dict[str, TypedColumn]) -> Block:
    batch = pa.record_batch([c for c, _ in columns.values()], names=list(columns))
    return replace(block, batch=batch).with_faults(
        [f for _, faults in columns.values() for f in faults]
    )
