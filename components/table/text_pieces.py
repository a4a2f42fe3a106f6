"""Text cut where rows end: the pieces of a range, and the blocks of raw rows in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa

from quatrain.components.errors import SourceError
from quatrain.components.specification.encodings import UTF_8
from quatrain.components.storage import open_file
from quatrain.components.table.block import Block
from quatrain.components.table.encoded_text import BOM, is_cuttable, open_text, to_utf8
from quatrain.components.table.range import EvenPlaces, Range
from quatrain.components.wording import first_line

BLOCK_BYTES = 4 << 20
"""About 43 000 rows of flights: larger blocks cost memory, smaller ones cost calls."""
MAX_ROW_BYTES = 64 << 20
"""A longer row is an error: without a bound, one open quote would read a whole file into memory."""
_LINE_FEED = 10
_SCAN_BYTES = 1 << 16
"""How much is read at once to find the next line end: most rows are far shorter."""


@dataclass(frozen=True)
class Piece:
    """Whole rows, one after another.

    Attributes:
        data: Their bytes.
        ends: Where each row ends in them, `[N] int64`.
        positions: Where each row starts in the file, `[N] int64`.
    """

    data: bytes
    ends: np.ndarray
    positions: np.ndarray

    @classmethod
    def at(cls, position: int, data: bytes, ends: np.ndarray) -> Piece:
        """Returns the piece that starts at a byte of the file."""
        return cls(data, ends, np.concatenate([[0], ends[:-1]]) + position)

    @classmethod
    def joined(cls, pieces: Iterable[Piece]) -> Piece:
        """Returns the rows of pieces that may lie apart in the file."""
        parts = list(pieces)
        shifts = np.cumsum([0, *(len(piece.data) for piece in parts)])
        ends = [piece.ends + shift for piece, shift in zip(parts, shifts, strict=False)]
        return cls(
            b"".join(piece.data for piece in parts),
            np.concatenate([np.zeros(0, np.int64), *ends]),
            np.concatenate([np.zeros(0, np.int64), *(piece.positions for piece in parts)]),
        )

    @property
    def starts(self) -> np.ndarray:
        """Where each row starts in the data, `[N] int64`."""
        return np.concatenate([[0], self.ends[:-1]])

    def rows(self, first: int, stop: int) -> Piece:
        """Returns the rows from `first` up to `stop`, at least one."""
        start, ends = int(self.ends[first - 1]) if first else 0, self.ends[first:stop]
        return Piece(self.data[start : ends[-1]], ends - start, self.positions[first:stop])


def pieces(
    span: Range, block_bytes: int, *, quoted_newlines: bool, encoding: str = UTF_8
) -> Iterator[Piece]:
    """Yields the rows that start in a range, in UTF-8, cut where rows end.

    A row is a line; with `quoted_newlines`, line ends inside quotes do not end it. The pieces go
    through `map`, since the variable of a loop would hold one piece in memory while the next one
    is read.

    Raises:
        SourceError: The file cannot be read, or a row is too long.
    """
    is_stream = quoted_newlines or not is_cuttable(span.path, encoding)

    def check(piece: Piece) -> Piece:
        if len(piece.data) > MAX_ROW_BYTES:
            lengths = np.diff(piece.ends, prepend=0)
            at = int(lengths.argmax())
            _check_length(int(lengths[at]), span.path, int(piece.positions[at]))
        return _without_marks(_decoded(piece, quoted_newlines, encoding))

    try:
        if is_stream:
            unchecked = _pieces_in_order(span, block_bytes, quoted_newlines, encoding)
            if span.sample:
                unchecked = _thinned(unchecked, span.sample)
        elif span.sample:
            unchecked = _pieces_of_sample(span, span.sample)
        else:
            unchecked = _pieces_of_range(span, block_bytes)
        yield from map(check, unchecked)
    except OSError as error:
        raise SourceError(
            f"{span.path} cannot be read: {first_line(error)}; write it again"
        ) from error


def row_ends(data: bytes, quoted_newlines: bool) -> np.ndarray:
    """Returns where each row that has a line end stops, `[N] int64`.

    A line end is inside quotes if an odd number of quotes precede it. A doubled quote within a
    value adds two, so it does not change that.
    """
    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == _LINE_FEED)
    if quoted_newlines and b'"' in data:
        quotes = np.flatnonzero(characters == ord('"'))
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return ends + 1


def _decoded(piece: Piece, quoted_newlines: bool, encoding: str) -> Piece:
    """Returns a piece in UTF-8. Its rows keep the places that they have in the file."""
    data = to_utf8(piece.data, encoding)
    if data is piece.data:
        return piece
    # Line ends and quotes are the same bytes as before, so the rows are the same.
    return replace(piece, data=data, ends=_with_last(row_ends(data, quoted_newlines), len(data)))


def _without_marks(piece: Piece) -> Piece:
    """Returns a piece without the byte-order marks at the starts of rows.

    They stand where a file was appended to another.
    """
    # A single byte is found at 20 GB/s, three at 1 GB/s: a tenth of what reading the rows takes.
    if BOM[:1] not in piece.data or BOM not in piece.data:
        return piece
    data, starts = np.frombuffer(piece.data, np.uint8), piece.starts
    starts_with_mark = [piece.data.startswith(BOM, start) for start in starts.tolist()]
    marks = (starts[starts_with_mark, None] + np.arange(len(BOM))).ravel()
    return replace(
        piece,
        data=np.delete(data, marks).tobytes(),
        ends=piece.ends - np.cumsum(starts_with_mark) * len(BOM),
    )


def _pieces_of_range(span: Range, block_bytes: int) -> Iterator[Piece]:
    """Yields the rows that start in [start, stop) as pieces of about `block_bytes`.

    A row that crosses a bound belongs to the range in which it starts. Both neighbours look for the
    first row after the bound, so no row is read twice or left out.
    """
    with open_file(span.path) as file:
        size = file.size()
        stop = size if span.stop is None else min(span.stop, size)
        position = _next_row(file, span.start, span.path)
        end = _next_row(file, stop, span.path)
        # Blocks are of equal size, since a small last one would cost as many calls as a whole one.
        block_bytes = -(-(end - position) // max(round((end - position) / block_bytes), 1))
        while position < end:
            # Each piece ends a little late, at a row's end, so the last one is a little shorter or
            # longer than the others. It may be a quarter longer rather than leave a tiny piece.
            is_last = end - position < block_bytes * 5 // 4
            after = end if is_last else _next_row(file, position + block_bytes, span.path)
            yield _piece(file, position, after)
            position = after


def _piece(file: pa.NativeFile, start: int, stop: int) -> Piece:
    data = file.read_at(stop - start, start)
    return Piece.at(start, data, _with_last(row_ends(data, quoted_newlines=False), len(data)))


def _pieces_of_sample(span: Range, sample: EvenPlaces) -> Iterator[Piece]:
    """Yields the first rows of each of the equal parts of a range, as one piece."""
    with open_file(span.path) as file:
        size = file.size()
        stop = size if span.stop is None else min(span.stop, size)
        length = max(stop - span.start, 0)
        bounds = [span.start + i * length // sample.places for i in range(sample.places + 1)]
        starts = [_next_row(file, bound, span.path) for bound in dict.fromkeys(bounds)]
        parts = [_first_rows(file, a, b, sample.rows) for a, b in pairwise(starts) if a < b]
    if parts:
        yield Piece.joined(parts)


def _first_rows(file: pa.NativeFile, start: int, stop: int, n_rows: int) -> Piece:
    """Returns the first rows of the whole rows in [start, stop), or all if they are fewer."""
    n_bytes = min(_SCAN_BYTES, stop - start)
    while True:
        piece = _piece(file, start, start + n_bytes)
        # The last row may be cut short, unless it ends the part.
        if len(piece.ends) > n_rows:
            return piece.rows(0, n_rows)
        if n_bytes == stop - start:
            return piece
        n_bytes = min(2 * n_bytes, stop - start)


def _thinned(pieces: Iterator[Piece], sample: EvenPlaces) -> Iterator[Piece]:
    """Yields evenly spread groups of rows of a stream whose length is not known, as one piece.

    Once there are twice as many groups as wanted, every other one is dropped, and of the further
    ones as many fewer are kept. So memory holds few rows, however long the stream is.
    """
    kept: dict[int, list[Piece]] = {}
    step, n_rows = 1, 0
    for piece in pieces:
        first, n_rows = n_rows, n_rows + len(piece.ends)
        group = first // sample.rows
        for at in range(group + -group % step, -(-n_rows // sample.rows), step):
            start, stop = at * sample.rows, (at + 1) * sample.rows
            part = piece.rows(max(start, first) - first, min(stop, n_rows) - first)
            kept.setdefault(at, []).append(part)
        while len(kept) > 2 * sample.places:
            step *= 2
            kept = {at: parts for at, parts in kept.items() if at % step == 0}
    chosen = sorted(kept)
    if len(chosen) > sample.places:
        chosen = [chosen[i * len(chosen) // sample.places] for i in range(sample.places)]
    if chosen:
        yield Piece.joined(part for at in chosen for part in kept[at])


def _next_row(file: pa.NativeFile, at: int, path: str) -> int:
    """Returns where the first row at or after a byte starts, or the size of the file."""
    if at == 0:  # only a range of JSON Lines starts at 0: a CSV starts with its header
        return len(BOM) if file.read_at(len(BOM), 0) == BOM else 0
    size = file.size()
    # From the byte before: if that is a line feed, a row starts exactly at `at`.
    for start in range(at - 1, size, _SCAN_BYTES):
        line_end = file.read_at(_SCAN_BYTES, start).find(b"\n")
        if line_end >= 0:
            return int(start + line_end + 1)
        if start - at > MAX_ROW_BYTES:
            # The message names the byte where the row starts, which is before `at`.
            before = max(at - MAX_ROW_BYTES, 0)
            row = before + file.read_at(at - before, before).rfind(b"\n") + 1
            _check_length(start - row, path, row)
    return int(size)


def _pieces_in_order(
    span: Range, block_bytes: int, quoted_newlines: bool, encoding: str
) -> Iterator[Piece]:
    """Yields the rows of a file that can only be read from its start."""
    with open_text(span.path, encoding) as stream:
        stream.read(span.start)
        position, rest = span.start, b""  # the rest is a row whose end has not been read yet
        while True:
            new = stream.read(block_bytes)
            data = rest + new
            ends = row_ends(data, quoted_newlines)
            if not new:
                if quoted_newlines:
                    _require_closed(data, ends, span.path, position)
                ends = _with_last(ends, len(data))
            if not len(ends):
                if not new:
                    return
                _check_length(len(data), span.path, position)
                rest = data
                continue
            yield Piece.at(position, data[: ends[-1]], ends)
            position, rest = position + int(ends[-1]), data[ends[-1] :]


def _require_closed(data: bytes, ends: np.ndarray, path: str, position: int) -> None:
    """Refuses a quote that is still open at the end of the file.

    Everything after such a quote would be one row.
    """
    if data.count(b'"') % 2:
        row = position + int(ends[-1] if len(ends) else 0)
        raise SourceError(
            f"{path}: a quote in the row at byte {row:,} never closes, so where rows end after it "
            f"cannot be told; close it, or set source.quoted_newlines: false"
        )


def _with_last(ends: np.ndarray, size: int) -> np.ndarray:
    """Returns the row ends, and the end of the data if the last row has no line end."""
    return ends if size == (ends[-1] if len(ends) else 0) else np.append(ends, size)


def _check_length(n_bytes: int, path: str, position: int) -> None:
    """Refuses a row that is longer than `MAX_ROW_BYTES`."""
    if n_bytes > MAX_ROW_BYTES:
        raise SourceError(
            f"{path}: the row at byte {position:,} is longer than {MAX_ROW_BYTES >> 20} MB; "
            f"close its quote, or name a file that is a CSV"
        )


def raw_block(piece: Piece, span: Range, *, empty_is_row: bool) -> Block:
    """Returns the block of a piece's raw rows, which share its bytes.

    Args:
        piece: Whole rows.
        span: The range that the rows come from.
        empty_is_row: Whether an empty line is a row, as in a CSV of one column.
    """
    data, ends, starts = piece.data, piece.ends, piece.starts
    rows = pa.Array.from_buffers(
        pa.binary(),
        len(ends),
        [None, pa.py_buffer(np.append(0, ends).astype(np.int32)), pa.py_buffer(data)],
    )
    positions = pa.array(piece.positions)
    if not empty_is_row:
        # An empty line is at most a carriage return and a line feed, so only lines that short are
        # checked.
        short = np.flatnonzero(ends - starts <= 2)
        empty = [i for i in short if not data[starts[i] : ends[i]].strip(b"\r\n")]
        if empty:
            is_row = np.ones(len(ends), bool)
            is_row[empty] = False
            rows, positions = rows.filter(pa.array(is_row)), positions.filter(pa.array(is_row))
    # A batch needs a column to know its number of rows; nulls take no memory when filtered.
    return Block(span.path, pa.record_batch({"none": pa.nulls(len(rows))}), positions, rows)
