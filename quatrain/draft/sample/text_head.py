"""How a file of text is written, by its first lines: its encoding, and where its header stands."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

from quatrain.components.errors import SourceError
from quatrain.components.specification.encodings import UTF_8
from quatrain.components.storage import compression_of, read_head
from quatrain.components.table.encoded_text import encoding_of
from quatrain.components.table.formats import command, format_of, is_binary
from quatrain.components.table.header import DELIMITERS, MOST_ABOVE, values_of

HEAD_BYTES = 1 << 16
"""Bytes of a file by which its format, encoding, header and delimiter are guessed."""
LINES = 200
"""The most lines that are looked at."""
ALIKE = 0.8
"""The share of the first lines that must have as many values as the table has columns."""
LEAST_LINES = 5
"""A file of fewer lines shows no pattern."""
MOST_BELOW = 3
"""The most lines of units or the like below a header."""
WESTERN = "cp1252"
"""The encoding of Windows in Western Europe, which has all printable characters of Latin-1."""
_OTHERS = (
    *(WESTERN, "cp1251", "koi8-r", "cp1253", "cp1255", "cp1256", "cp850", "cp437"),
    *("gb18030", "shift_jis", "euc-kr", "big5"),
)
"""Encodings of which a message shows how they read a value."""
_NUMBER = re.compile(
    r"\s*[-+\u2212(]?[^\w\s]?\s?\d[\d.,' \u00a0\u202f]*(?:[eE][-+]?\d+)?\s?\S?\)?\s*"
)
_ABSENT = {"", "-", "--", "na", "n/a", "nan", "null", "none", "?", "."}


@dataclass(frozen=True)
class TextHead:
    """The first lines of a file.

    Attributes:
        encoding: The encoding, as a spec names it.
        text: The text of the first `HEAD_BYTES`, without a byte-order mark.
        lines: Its whole lines.
    """

    encoding: str
    text: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Header:
    """Where the header of a CSV stands, and what stands around it.

    Attributes:
        above: The lines above it.
        delimiter: What separates its names.
        rows: The values of the header and of the lines below it.
        below: How many of these lines are no rows but units or the like.
    """

    above: Sequence[str]
    delimiter: str
    rows: Sequence[Sequence[str]]
    below: int = 0

    @property
    def is_preceded(self) -> bool:
        """Whether what stands above it is a title or comment, and no header of another width."""
        is_narrow = (
            line.startswith("#") or _width(line, self.delimiter) < 2 for line in self.above
        )
        return stands_above(self.rows) or (not _has_number(self.rows[0]) and all(is_narrow))


def read_text_head(path: str) -> TextHead:
    """Returns the first lines of a file, in the encoding that its bytes tell.

    Raises:
        SourceError: The file cannot be read, or is text of an unknown encoding.
    """
    head = read_head(path, HEAD_BYTES, compression_of(path))
    encoding = encoding_of(head)
    if format_of(head) or (encoding is None and is_binary(head, "\x01")):
        return TextHead(UTF_8, "", ())  # the reader of the source says what it is
    encoding = encoding or guess_encoding(head, path)
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines and ((len(head) == HEAD_BYTES and len(lines) > 1) or not lines[-1]):
        lines.pop()  # the last line is cut short, or what follows the last line end
    return TextHead(encoding, text, lines)


def guess_encoding(data: bytes, path: str) -> str:
    """Returns UTF-8 for text that is mostly so, or else the encoding of Western Europe.

    Raises:
        SourceError: Words with letters beyond ASCII have few letters of ASCII, so the text may be
            of any script.
    """
    text = codecs.getincrementaldecoder(UTF_8)("surrogateescape").decode(data)
    beyond = [c for c in text if c > "\x7f"]
    n_bad = sum("\udc80" <= c <= "\udcff" for c in beyond)
    if n_bad <= len(beyond) - n_bad:
        return UTF_8
    letters = b"".join(re.findall(rb"[A-Za-z]*[\x80-\xff][A-Za-z\x80-\xff]*", data))
    if _decodes(data, WESTERN) and 2 * sum(byte < 128 for byte in letters) > len(letters):
        return WESTERN
    word = max(re.findall(rb"[^\s,;|\"]*[\x80-\xff][^\s,;|\"]*", data)[:LINES], key=len)[:40]
    shown = [
        f"{word.decode(name, 'replace')!r} in {name}" for name in _OTHERS if _decodes(data, name)
    ]
    listed = f": a value would be {', '.join(shown)}" if shown else ""
    raise SourceError(
        f"{path} is not UTF-8, and which other encoding it has cannot be told{listed}; write it as "
        f"UTF-8, with the one that reads right for NAME: "
        f"{command('iconv -f NAME -t utf-8', path, '.csv')}"
    )


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def find_header(lines: Sequence[str]) -> Header | None:
    """Returns the header of the first lines of a CSV, which is the first line below a preamble.

    From it on, four of five lines have as many values as it has. None: no line is such, or there
    are too few lines to tell. It may be a row where the file has no header: `stands_above` tells.
    """
    if separator := re.fullmatch(r'"?sep=(.)"?', lines[0]) if lines else None:
        rows = _rows(lines[1:], separator[1])
        return Header(lines[:1], separator[1], rows, _below(lines[1:], rows, separator[1]))
    n_comments = next((i for i, line in enumerate(lines) if not line.startswith("#")), 0)
    starts = list(range(min(len(lines), MOST_ABOVE)))
    if n_comments:  # the last comment may be the header itself, as in #id,x,y
        below = _header_at(lines, n_comments)
        is_below = below is not None and stands_above(below.rows)
        starts.insert(0, n_comments if is_below else n_comments - 1)
    headers = (_header_at(lines, at) for at in starts)
    return next((header for header in headers if header is not None), None)


def _header_at(lines: Sequence[str], at: int) -> Header | None:
    """Returns the header in a line, or below a title that is padded with delimiters; or None."""
    best: list[list[str]] = []
    separator = ""
    for delimiter in DELIMITERS:
        rows = _rows(lines[at:], delimiter)
        if len(rows) < LEAST_LINES or not lines[at].strip():
            continue
        widths = [len(row) for row in rows]
        is_alike = widths.count(widths[0]) >= ALIKE * len(widths) and not any(
            _width(line, delimiter) == widths[0] and not _is_title(line, delimiter)
            for line in lines[:at]
            if not line.startswith("#")
        )
        if is_alike and widths[0] > max(len(best[0]) if best else 1, 1):
            best, separator = rows, delimiter
    if not best:
        return None
    below = at
    while below < len(lines) - 1 and _is_title(lines[below], separator):
        below += 1
    if below > at and (header := _header_at(lines, below)) and stands_above(header.rows):
        return header
    return Header(lines[:at], separator, best, _below(lines[at:], best, separator))


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Returns the values of lines, without empty ones beyond those of the first line."""
    rows = values_of(lines[:LINES], delimiter)
    n = len(rows[0]) if rows else 0
    return [row if any(row[n:]) else row[:n] for row in rows]


def _width(line: str, delimiter: str) -> int:
    return len(next(iter(values_of([line], delimiter)), []))


def _is_title(line: str, delimiter: str) -> bool:
    """Whether a line is empty, or a title that a spreadsheet has filled up with empty cells."""
    row = next(iter(values_of([line], delimiter)), [])
    return not any(cell.strip() for cell in row[1:]) and len(row) != 1


def stands_above(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row has words where the others have numbers, as a header has."""
    first, numeric = rows[0], numeric_columns(rows[1:], len(rows[0]))
    return bool(numeric) and not any(is_number(first[i]) for i in numeric)


def numeric_columns(rows: Sequence[Sequence[str]], n_columns: int) -> list[int]:
    """Returns the columns in which four of five cells are numbers, apart from empty ones."""
    columns = []
    for i in range(n_columns):
        cells = [row[i] for row in rows if len(row) == n_columns and not _is_absent(row[i])]
        if cells and sum(map(is_number, cells)) >= ALIKE * len(cells):
            columns.append(i)
    return columns


def _below(lines: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str) -> int:
    """Returns how many lines below a header have words where all further rows have numbers.

    Such are units or descriptions. A row that has a number is none, and neither is one with a word
    that stands again in its column, nor the header once more.
    """
    header, n = rows[0], 0
    while n < MOST_BELOW and len(rows) > n + LEAST_LINES:
        row, others = rows[n + 1], [r for r in rows[n + 2 :] if len(r) == len(header)]
        numeric = numeric_columns(others, len(header))
        words = [row[i] for i in numeric if len(row) == len(header) and not _is_absent(row[i])]
        is_row = _has_number(row) or any(
            not _is_absent(cell) and any(other[i] == cell for other in others)
            for i, cell in enumerate(row[: len(header)])
        )
        is_line = values_of([lines[n + 1]], delimiter) == [row]
        if not words or is_row or not is_line or row == header:
            break
        n += 1
    return n


def _has_number(row: Sequence[str]) -> bool:
    return any(map(is_number, row))


def is_number(text: str) -> bool:
    """Whether a text is a number as people write it, perhaps with a currency or a percent sign."""
    return _NUMBER.fullmatch(text) is not None


def _is_absent(text: str) -> bool:
    return text.strip().lower() in _ABSENT
