"""Text cut at row ends: the pieces of a range, and the blocks of raw rows that they hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from quatrain.components.errors import SourceError
from quatrain.components.storage import compression_of, open_file, open_stream
from quatrain.components.table.block import Block
from quatrain.components.table.header import BOM
from quatrain.components.table.range import Range

BLOCK_BYTES = 4 << 20
"""About 43 000 flights: more costs memory, less costs calls."""
MAX_ROW_BYTES = 64 << 20
"""A longer row is an error of the file; one bound keeps memory bounded."""
_LINE_FEED, _RETURN = 10, 13
_SCAN_BYTES = 1 << 16

Piece = tuple[int, bytes, np.ndarray]
"""Where it starts in the file, its bytes, and where each of its rows ends, `[N] int64`."""


def pieces(span: Range, block_bytes: int, *, quoted_newlines: bool) -> Iterator[Piece]:
    """Yields the bytes of the rows that start in a range, cut where rows end.

    A row is a line, or with `quoted_newlines` a line that ends outside quotes. Nothing here keeps a
    piece that was taken, as a loop's variable would while the next one is read.

    Raises:
        SourceError: The file cannot be read, or a row is too long.
    """
    streamed = quoted_newlines or compression_of(span.path) is not None

    def checked(piece: Piece) -> Piece:
        position, data, ends = piece
        if len(data) > MAX_ROW_BYTES:
            lengths = np.diff(ends, prepend=0)
            at = int(lengths.argmax())
            _check_length(int(lengths[at]), span.path, position + int(ends[at] - lengths[at]))
        return piece

    try:
        cut = _stream(span, block_bytes, quoted_newlines) if streamed else _cut(span, block_bytes)
        yield from map(checked, cut)
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
    with open_file(span.path) as file:
        size = file.size()
        stop = size if span.stop is None else min(span.stop, size)
        position = _next_row(file, span.start, span.path)
        end = _next_row(file, stop, span.path)
        # Blocks of equal size: a small rest would cost the calls of a whole one.
        block_bytes = -(-(end - position) // max(round((end - position) / block_bytes), 1))
        while position < end:
            is_last = end - position < block_bytes * 5 // 4
            after = end if is_last else _next_row(file, position + block_bytes, span.path)
            yield _piece(file, position, after)
            position = after


def _piece(file: pa.NativeFile, start: int, stop: int) -> Piece:
    data = file.read_at(stop - start, start)
    return start, data, _with_last(row_ends(data, quoted_newlines=False), len(data))


def _next_row(file: pa.NativeFile, at: int, path: str) -> int:
    """Returns where the first row at or after a byte starts, or the size of the file."""
    if at == 0:  # only JSON Lines have no header
        return len(BOM) if file.read_at(len(BOM), 0) == BOM else 0
    size = file.size()
    for start in range(at - 1, size, _SCAN_BYTES):
        found = file.read_at(_SCAN_BYTES, start).find(b"\n")
        if found >= 0:
            return int(start + found + 1)
        if start - at > MAX_ROW_BYTES:
            before = max(at - MAX_ROW_BYTES, 0)
            row = before + file.read_at(at - before, before).rfind(b"\n") + 1
            _check_length(start - row, path, row)
    return int(size)


def _stream(span: Range, block_bytes: int, quoted_newlines: bool) -> Iterator[Piece]:
    with open_stream(span.path, compression_of(span.path)) as stream:
        stream.read(span.start)
        position, left = span.start, b""
        while True:
            read = stream.read(block_bytes)
            data = left + read
            ends = row_ends(data, quoted_newlines)
            if not read:
                if quoted_newlines:
                    _require_closed(data, ends, span.path, position)
                ends = _with_last(ends, len(data))
            if not len(ends):
                if not read:
                    return
                _check_length(len(data), span.path, position)
                left = data
                continue
            yield position, data[: ends[-1]], ends
            position, left = position + int(ends[-1]), data[ends[-1] :]


def _require_closed(data: bytes, ends: np.ndarray, path: str, position: int) -> None:
    """Refuses a quote that is open at the end: it would make one row of all that follows."""
    if data.count(b'"') % 2:
        row = position + int(ends[-1] if len(ends) else 0)
        raise SourceError(
            f"{path}: a quote in the row at byte {row:,} never closes, so where rows end after it "
            f"cannot be told; close it, or set source.quoted_newlines: false"
        )


def _with_last(ends: np.ndarray, size: int) -> np.ndarray:
    """Adds the end of a last row that has no line end."""
    return ends if size == (ends[-1] if len(ends) else 0) else np.append(ends, size)


def _check_length(n_bytes: int, path: str, position: int) -> None:
    if n_bytes > MAX_ROW_BYTES:
        raise SourceError(
            f"{path}: the row at byte {position:,} is longer than {MAX_ROW_BYTES >> 20} MB; "
            f"is a quote left open, or is the file not a CSV?"
        )


def raw_block(piece: Piece, span: Range, *, empty_is_row: bool) -> Block:
    """Makes the block of raw rows; they share the piece's bytes."""
    position, data, ends = piece
    starts = np.concatenate([[0], ends[:-1]])
    rows = pa.Array.from_buffers(
        pa.binary(),
        len(ends),
        [None, pa.py_buffer(np.append(starts, ends[-1]).astype(np.int32)), pa.py_buffer(data)],
    )
    positions = pa.array(starts + position)
    if not empty_is_row:
        short = np.flatnonzero(ends - starts <= 2)
        empty = [i for i in short if not data[starts[i] : ends[i]].strip(b"\r\n")]
        if empty:
            keep = np.ones(len(ends), bool)
            keep[empty] = False
            rows, positions = rows.filter(pa.array(keep)), positions.filter(pa.array(keep))
        # No column yet, but a number of rows, which cost nothing when some are left out.
    return Block(span.path, pa.record_batch({"none": pa.nulls(len(rows))}), positions, rows)
