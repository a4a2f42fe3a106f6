"""CSV blocks: bytes cut at row ends, read typed at once; value by value where one is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from components.errors import SourceError
from components.preprocess.conversion import FALSE, TRUE, TYPES, ZONE, ZONED, from_text, settle
from components.preprocess.rejection import Block, Fault
from components.preprocess.sources import Range, compression_of, open_filesystem
from components.spec.schema import Source

BLOCK_BYTES = 4 << 20
"""About 43 000 flights: more costs memory (8 MB: 45 MB at the peak), less costs DuckDB calls."""
MAX_ROW_BYTES = 64 << 20
"""A longer row is an error of the file; one bound keeps memory bounded."""
_LINE_FEED, _RETURN = 10, 13
_SCAN_BYTES = 1 << 16
_PEEK_ROWS = 100

Piece = tuple[int, bytes, np.ndarray]
"""Where it starts in the file, its bytes, and where each of its rows ends, `[N] int64`."""


def read_blocks(
    span: Range, source: Source, columns: Mapping[str, str], block_bytes: int = BLOCK_BYTES
) -> Iterator[Block]:
    """Yields the rows of a range of a CSV file.

    A row is a line, or with `source.quoted_newlines` a line that ends outside quotes. An empty line
    is not a row (it is the missing value of a file of one column).

    Raises:
        SourceError: The file cannot be read, or a row is too long.
    """
    streamed = source.quoted_newlines or compression_of(span.path) is not None
    pieces = _stream(span, source, block_bytes) if streamed else _cut(span, block_bytes)
    try:
        for piece in pieces:
            yield _read(piece, span, source, columns)
    except OSError as error:
        raise SourceError(f"{span.path} cannot be read: {error}") from error


def row_ends(data: bytes, quoted_newlines: bool) -> np.ndarray:
    """Returns where each row that has a line end stops, `[N] int64`."""
    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == _LINE_FEED)
    if quoted_newlines and b'"' in data:
        quotes = np.flatnonzero(characters == ord('"'))
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return ends + 1


def _cut(span: Range, block_bytes: int) -> Iterator[Piece]:
    """Cuts the rows that start in [start, stop); a neighbour finds the same bounds."""
    filesystem, path = open_filesystem(span.path)
    with filesystem.open_input_file(path) as file:
        stop = file.size() if span.stop is None else min(span.stop, file.size())
        position = _next_row(file, span.start)
        end = _next_row(file, stop)
        wanted = block_bytes
        while position < end:
            data = file.read_at(min(wanted, end - position), position)
            ends = row_ends(data, quoted_newlines=False)
            if position + len(data) == end:
                ends = _with_last(ends, len(data))
            if len(ends):
                yield position, data[: ends[-1]], ends
                position, wanted = position + int(ends[-1]), block_bytes
            else:
                wanted = _longer(wanted, len(data), span.path, position)


def _next_row(file: pa.NativeFile, at: int) -> int:
    """Returns where the first row at or after a byte starts, or the size of the file."""
    size = file.size()
    start = at - 1
    while start < size:
        found = file.read_at(_SCAN_BYTES, start).find(b"\n")
        if found >= 0:
            return int(start + found + 1)
        start += _SCAN_BYTES
    return int(size)


def _stream(span: Range, source: Source, block_bytes: int) -> Iterator[Piece]:
    filesystem, path = open_filesystem(span.path)
    with filesystem.open_input_stream(path, compression=compression_of(span.path)) as stream:
        stream.read(span.start)
        position, left = span.start, b""
        while True:
            read = stream.read(block_bytes)
            data = left + read
            ends = row_ends(data, source.quoted_newlines)
            if not read:
                _require_closed(data, ends, span.path, position, source)
                ends = _with_last(ends, len(data))
            if not len(ends):
                if not read:
                    return
                _longer(len(data), len(data), span.path, position)
                left = data
                continue
            yield position, data[: ends[-1]], ends
            position, left = position + int(ends[-1]), data[ends[-1] :]


def _require_closed(
    data: bytes, ends: np.ndarray, path: str, position: int, source: Source
) -> None:
    """Refuses a quote that is open at the end: it would make one row of all that follows."""
    if source.quoted_newlines and data.count(b'"') % 2:
        row = position + int(ends[-1] if len(ends) else 0)
        raise SourceError(
            f"{path}: a quote in the row at byte {row:,} never closes, so where rows end after it "
            f"cannot be told; close it, or set source.quoted_newlines: false"
        )


def _with_last(ends: np.ndarray, size: int) -> np.ndarray:
    """Adds the end of a last row that has no line end."""
    return ends if size == (ends[-1] if len(ends) else 0) else np.append(ends, size)


def _longer(wanted: int, seen: int, path: str, position: int) -> int:
    if seen > MAX_ROW_BYTES:
        raise SourceError(
            f"{path}: the row at byte {position:,} is longer than {MAX_ROW_BYTES >> 20} MB; "
            f"is a quote left open, or is the file not a CSV?"
        )
    return wanted * 2


def _read(piece: Piece, span: Range, source: Source, columns: Mapping[str, str]) -> Block:
    block = _raw_block(piece, span)
    _, data, ends = piece
    parser = _Parser(span.header, source, columns)
    last = block.rows.slice(max(len(block.rows) - 1, 0))
    # An open quote joins its line to the next, so the count differs; the last line has no next one.
    if not _has_stray_return(data) and parser.is_sound(last):
        typed = parser.parse_typed(data, ends)
        if typed is not None and typed.num_rows == len(block.rows):
            return _filled(block, {n: settle(n, typed.column(n)) for n in columns})
    if _may_be_unsound(data):
        block = block.without(_unsound(block.rows, parser))
    return _read_slowly(block, parser)


def _has_stray_return(data: bytes) -> bool:
    return b"\r" in data and data.count(b"\r") != data.count(b"\r\n")


def _may_be_unsound(data: bytes) -> bool:
    return b'"' in data or _has_stray_return(data)


def _raw_block(piece: Piece, span: Range) -> Block:
    """Makes the block of raw rows; they share the piece's bytes."""
    position, data, ends = piece
    starts = np.concatenate([[0], ends[:-1]])
    rows = pa.Array.from_buffers(
        pa.binary(),
        len(ends),
        [None, pa.py_buffer(np.append(starts, ends[-1]).astype(np.int32)), pa.py_buffer(data)],
    )
    positions = pa.array(starts + position)
    if len(span.header) > 1:
        short = np.flatnonzero(ends - starts <= 2)
        empty = [i for i in short if not data[starts[i] : ends[i]].strip(b"\r\n")]
        if empty:
            keep = np.ones(len(ends), bool)
            keep[empty] = False
            rows, positions = rows.filter(pa.array(keep)), positions.filter(pa.array(keep))
    return Block(span.path, pa.record_batch({"row": rows}), positions, rows)


class _Parser:
    """pyarrow's CSV reader, set up for the columns of one file."""

    def __init__(self, header: tuple[str, ...], source: Source, columns: Mapping[str, str]) -> None:
        self.header = header
        self.source = source
        self.columns = columns
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

    def parse_typed(self, data: bytes, ends: np.ndarray) -> pa.RecordBatch | None:
        """Reads typed columns, or gives None when something does not convert."""
        types = {name: TYPES[type_] for name, type_ in self.columns.items()}
        times = [name for name, type_ in self.columns.items() if type_ == "timestamp"]
        try:
            if times:
                peeked = self.parse_text(data[: ends[min(_PEEK_ROWS, len(ends)) - 1]], times)
                types |= {name: ZONED for name in times if _has_zone(peeked.column(name))}
            return self._parse(data, types)
        except pa.ArrowInvalid:
            return None

    def parse_text(self, data: bytes | pa.Buffer, names: list[str]) -> pa.RecordBatch:
        """Reads columns as they are written; every row must have all columns."""
        return self._parse(data, {n: pa.binary() for n in names})

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

    def _parse(self, data: bytes | pa.Buffer, types: dict[str, pa.DataType]) -> pa.RecordBatch:
        table = pacsv.read_csv(
            pa.BufferReader(data),
            read_options=pacsv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=self.header
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self.source.delimiter,
                newlines_in_values=self.source.quoted_newlines,
                ignore_empty_lines=len(self.header) > 1,
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
        return pa.record_batch(
            [c.combine_chunks() for c in table.columns], names=table.column_names
        )


def _has_zone(text: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern=ZONE)).as_py())


def _read_slowly(block: Block, parser: _Parser) -> Block:
    """Finds every row of another length and every bad value of a block of sound rows."""
    block = block.without(_lengths(parser.n_values(_good(block)), len(parser.header)))
    if not block.batch.num_rows:
        return _filled(block, {n: (pa.array([], TYPES[t]), []) for n, t in parser.columns.items()})
    text = parser.parse_text(_bytes_of(_good(block)), list(parser.columns))
    if text.num_rows != block.batch.num_rows:
        raise SourceError(
            f"{block.source}: {block.batch.num_rows:,} rows near byte "
            f"{block.positions[0].as_py():,} were read as {text.num_rows:,}; please report this as "
            f"a bug"
        )
    return _filled(block, {n: from_text(n, text.column(n), t) for n, t in parser.columns.items()})


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


def _lengths(n_values: np.ndarray, expected: int) -> list[Fault]:
    faults = []
    for reason, wrong in (("short_row", n_values < expected), ("long_row", n_values > expected)):
        rows = np.flatnonzero(wrong)
        found = pa.array(n_values[rows]).cast(pa.string())
        detail = pc.binary_join_element_wise(found, f"values for {expected} columns", " ")
        faults.append(Fault(rows, reason, detail))
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
    return replace(block, batch=batch).without(
        [f for _, faults in columns.values() for f in faults]
    )
