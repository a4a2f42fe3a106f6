"""CSV blocks: read typed at once; value by value where one is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from components.errors import SourceError
from components.preprocess.conversion import (
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
from components.preprocess.lines import BLOCK_BYTES, Piece, pieces, raw_block
from components.preprocess.rejection import Block, Fault
from components.preprocess.sources import Range
from components.spec.schema import Source
from trainer.spelling import Spelling

_PEEK_ROWS = 100


def read_blocks(
    span: Range,
    source: Source,
    columns: Mapping[str, str],
    block_bytes: int = BLOCK_BYTES,
    spellings: Mapping[str, Spelling] = {},
) -> Iterator[Block]:
    """Yields the rows of a range of a CSV file.

    A row is a line, or with `source.quoted_newlines` a line that ends outside quotes. An empty line
    is not a row (it is the missing value of a file of one column).

    Raises:
        SourceError: The file cannot be read, or a row is too long.
    """
    parser, clean = _Parser(span.header, source, columns, spellings), True
    for piece in pieces(span, block_bytes, quoted_newlines=source.quoted_newlines):
        block = raw_block(piece, span, empty_is_row=len(span.header) == 1)
        # Where one block had a wrong row, the next one likely has one too: to try costs a third.
        read = _read_typed(block, piece, parser) if clean else None
        if read is None:
            sound = (
                block.without(_unsound(block.rows, parser)) if _may_be_unsound(piece[1]) else block
            )
            read = _read_slowly(sound, parser)
        clean = read.kept is None
        yield read


def _read_typed(block: Block, piece: Piece, parser: _Parser) -> Block | None:
    _, data, ends = piece
    last = block.rows.slice(max(len(block.rows) - 1, 0))
    # An open quote joins its line to the next, so the count differs; the last line has no next one.
    if _has_stray_return(data) or not parser.is_sound(last):
        return None
    typed = parser.parse_typed(data, data[: ends[min(_PEEK_ROWS, len(ends)) - 1]])
    if typed is None or typed.num_rows != len(block.rows):
        return None
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
    ) -> None:
        self.header = header
        self.source = source
        self.columns = columns
        self.spellings = spellings
        # Columns that had a wrong value; None until a block was read value by value.
        self.suspects: frozenset[str] | None = None
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
        self, data: bytes | pa.Buffer, peeked: bytes | pa.Buffer
    ) -> pa.RecordBatch | None:
        """Reads typed columns, suspects as text; gives None when something does not convert.

        Args:
            data: Rows.
            peeked: The first of them, which tell whether times have zones.
        """
        types = {name: TYPES[type_] for name, type_ in self.columns.items()}
        as_text = dict.fromkeys([*self.spellings, *(self.suspects or ())], pa.binary())
        usual = [name for name in self.columns if name not in as_text]
        times = [name for name in usual if self.columns[name] == "timestamp"]
        try:
            if times:
                first = self.parse_text(peeked, times)
                types |= {name: ZONED for name in times if _has_zone(first.column(name))}
            return self._parse(data, types | as_text)
        except pa.ArrowInvalid:
            return None

    def settled(self, name: str, column: pa.Array) -> Column:
        """Finishes a column that `parse_typed` read."""
        if name in self.spellings or name in (self.suspects or ()):
            return self.converted(name, column)
        return settle(name, column)

    def converted(self, name: str, text: pa.Array) -> Column:
        """Converts a column that `parse_text` read."""
        return from_text(name, text, self.columns[name], self.spellings.get(name, USUAL))

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
    good = _good(block)
    if parser.suspects is not None:
        typed = parser.parse_typed(_bytes_of(good), _bytes_of(good.slice(0, _PEEK_ROWS)))
        if typed is not None and typed.num_rows == len(good):
            return _filled(block, {n: parser.settled(n, typed.column(n)) for n in parser.columns})
    text = parser.parse_text(_bytes_of(good), list(parser.columns))
    if text.num_rows != block.batch.num_rows:
        raise SourceError(
            f"{block.source}: {block.batch.num_rows:,} rows near byte "
            f"{block.positions[0].as_py():,} were read as {text.num_rows:,}; please report this as "
            f"a bug"
        )
    columns = {n: parser.converted(n, text.column(n)) for n in parser.columns}
    wrong = {n for n, (_, faults) in columns.items() if any(len(f.rows) for f in faults)}
    parser.suspects = (parser.suspects or frozenset()) | wrong
    return _filled(block, columns)


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
