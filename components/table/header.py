"""The columns of a file: from a CSV's header, the keys of JSON Lines or a Parquet footer."""

from __future__ import annotations

import codecs
import contextlib
import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.errors import SourceError
from quatrain.components.specification.encodings import UTF_8, is_single_byte, is_utf8
from quatrain.components.specification.source import Source
from quatrain.components.storage import compression_of, open_file, read_head
from quatrain.components.table.encoded_text import (
    BOM,
    encoding_of,
    read_utf8_head,
    to_utf8,
    undecodable,
)
from quatrain.components.table.formats import (
    LINE_FEEDS,
    WITHOUT_NULS,
    Format,
    command,
    format_of,
    is_binary,
    naming_hint,
    way_out,
)
from quatrain.components.table.text_pieces import row_ends
from quatrain.components.wording import a_or_an, counted, first_line, near

HEADER_BYTES = 1 << 20
"""How much of a file is searched for its columns, and so the longest header."""
DELIMITERS = (",", ";", "\t", "|", "^", "~", "\x01")
"""What separates the values of a CSV line in files that people have."""
MOST_ABOVE = 60
"""The most lines above a header."""
PEEK_ROWS = 100
"""Rows of JSON Lines whose keys are collected."""
PEEK_NAMES = 20
"""How many names of a header an error shows, and how many characters of each name."""
_RETURN = re.compile(r"\r(?!\n?\Z)")
"""A carriage return that does not end its line; Python's reader takes none."""
_INSIDE_BYTES = 1024
"""How much of a compressed file is unpacked to see its format."""

ARRAY_PROGRAM = "jq -c '.[]'"
"""The program that writes the objects of a JSON array, one in each line."""

AbsentHint = Callable[[str, Sequence[str]], str]
"""Returns the hint for a column that a file lacks, from its name and the file's columns."""


class CsvHeader(NamedTuple):
    """The header of a CSV file.

    Attributes:
        names: The columns.
        start: The byte where the rows start.
        surplus: How many delimiters more than the header has names for may end a row: as many as
            the first rows have, if the values between them are empty.
    """

    names: tuple[str, ...]
    start: int
    surplus: int = 0


def read_header(path: str, source: Source) -> CsvHeader:
    """Returns the header of a CSV file.

    The lines of `source.skip_rows` and `source.skip_rows_after_header` are above and below it.

    Raises:
        SourceError: The file is empty, is not a CSV, or its header cannot be read.
    """
    head = _read_text_head(path, "a CSV", source.encoding, source.delimiter)
    at = _skip(head, 0, source.skip_rows, path, "skip_rows")
    line = _first_row(head[at:], source.quoted_newlines)
    if line.startswith((b'{"', BOM + b'{"')):
        raise SourceError(f"{path} holds JSON, not a CSV; set source.format: jsonl")
    if re.match(rb"(?:\xef\xbb\xbf)?\s*\[\s*[{\[]", head[at : at + _INSIDE_BYTES]):
        raise SourceError(
            f"{path} is one JSON array; write one object in each line with: "
            f"{command(ARRAY_PROGRAM, path, '.jsonl')}"
        )
    if not line.strip(BOM + b"\r\n"):
        fault = "starts with an empty line" if line.endswith(b"\n") else "is empty"
        where = f" below the {source.skip_rows} lines of source.skip_rows" if at else ""
        raise SourceError(f"{path} {fault}{where}; a CSV must start with the names of its columns")
    if not line.endswith(b"\n") and len(head) == HEADER_BYTES:
        raise SourceError(
            f"{path}: no line end in the first {HEADER_BYTES:,} bytes, so it is no CSV; save it as "
            "one"
        )
    names = _names(path, line.removesuffix(b"\n"), source)
    if len(names) > 1 and not any(name and names.count(name) == 1 for name in names):
        raise SourceError(
            f"{path}: no column has a name of its own: the header is {_quoted(names)}; "
            "give each column another name there"
        )
    after, key = source.skip_rows_after_header, "skip_rows_after_header"
    start = _skip(head, at + len(line), after, path, key)
    rows = head[start:] if len(head) < HEADER_BYTES else head[start : head.rfind(b"\n") + 1]
    names, surplus = _without_surplus(names, to_utf8(rows, source.encoding), source.delimiter)
    return CsvHeader(names, start, surplus)


def _without_surplus(
    names: tuple[str, ...], rows: bytes, delimiter: str
) -> tuple[tuple[str, ...], int]:
    """Returns the names, and how many empty values beyond them end some of the first rows.

    Empty names at the end of the header are such values where a row lacks them.
    """
    end = delimiter.encode()
    if names[-1] and end + b"\n" not in rows and end + b"\r" not in rows:
        return names, 0
    lines = rows.decode(errors="replace").splitlines(keepends=True)
    values = values_of(lines, delimiter)
    n = len(names)
    while n > 1 and not names[n - 1] and any(len(row) < n for row in values):
        n -= 1
    beyond = [row[n:] for row in values if len(row) > n]
    if any(map(any, beyond)):
        return names, 0
    return names[:n], max((len(cells) for cells in beyond), default=0)


def values_of(lines: Iterable[str], delimiter: str) -> list[list[str]]:
    """Returns the values of lines of a CSV without empty ones; a return in a line is a blank.

    They end before a value of over 131 072 characters, which Python's reader does not take.
    """
    rows = []
    with contextlib.suppress(csv.Error):
        for row in csv.reader((_RETURN.sub(" ", line) for line in lines), delimiter=delimiter):
            rows.append(row)
    return [row for row in rows if row]


def lines_above_header(path: str, source: Source, columns: Collection[str]) -> tuple[int, str]:
    """Returns how many lines stand above the first one that names all columns, and its delimiter.

    Without such a line below the first one, returns 0 and no delimiter.
    """
    head = _read_text_head(path, "a CSV", source.encoding, source.delimiter)
    lines = to_utf8(head, source.encoding).decode(errors="replace").split("\n")
    for at, line in enumerate(lines[: MOST_ABOVE + 1]):
        for delimiter in dict.fromkeys((source.delimiter, *DELIMITERS)):
            if at and set(columns) <= set(next(iter(values_of([line], delimiter)), ())):
                return at, delimiter
    return 0, ""


def without_lines_above(path: str, source: Source, n_lines: int) -> str:
    """Returns how to remove the first lines of a file: by a command, if its characters allow one.

    Where a character has more bytes than one, `tail` would cut the lines elsewhere.
    """
    if is_utf8(source.encoding) or is_single_byte(source.encoding):
        return f"remove them with: {command(f'tail -n +{n_lines + 1}', path, '.csv')}"
    return "remove them"


def _first_row(head: bytes, quoted_newlines: bool) -> bytes:
    """Returns the first row of some bytes, with its line end."""
    if not quoted_newlines:
        return head[: head.find(b"\n") + 1 or len(head)]
    ends = row_ends(head, quoted_newlines)
    return head[: int(ends[0]) if len(ends) else len(head)]


def _skip(head: bytes, at: int, n_lines: int, path: str, key: str) -> int:
    """Returns where the line is that comes after some others."""
    for _ in range(n_lines):
        if not (line_end := head.find(b"\n", at) + 1):
            raise SourceError(
                f"{path}: source.{key} is {n_lines}, and its first "
                f"{counted(len(head), 'byte', 'have')} fewer lines; write a smaller number"
            )
        at = line_end
    return at


def _quoted(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > PEEK_NAMES else ""
    return ", ".join(repr(name[:PEEK_NAMES]) for name in names[:PEEK_NAMES]) + more


def read_keys(path: str, encoding: str = UTF_8) -> tuple[tuple[str, ...], int]:
    """Returns the keys of the first rows of JSON Lines and the byte where the rows start.

    Raises:
        SourceError: The file does not hold JSON Lines.
    """
    head = _read_text_head(path, "JSON Lines", encoding)
    start = len(BOM) if head.startswith(BOM) else 0
    lines = head[start:].split(b"\n")
    if len(head) == HEADER_BYTES:
        lines.pop()  # the last line is cut short
    keys: dict[str, None] = {}
    rows = [line for line in lines if line.strip()][:PEEK_ROWS]
    for line in rows:
        with contextlib.suppress(ValueError, RecursionError):  # a line may be of any depth
            value = json.loads(to_utf8(line, encoding))
            keys.update(dict.fromkeys(value if isinstance(value, dict) else ()))
    if rows and not keys:
        start_of_row = rows[0][:60].decode(errors="replace")
        raise SourceError(
            f'{path} is not JSON Lines: each line must be one object, as {{"a": 1}}, and the first '
            f"is {start_of_row!r}"
        )
    return tuple(keys), start


def _read_text_head(path: str, kind: str, encoding: str, delimiter: str = ",") -> bytes:
    """Returns the first bytes of a file as `open_text` does, after checking that they are text.

    A compressed file is checked twice: it must be what its name says, and hold text.
    """
    head = read_head(path, HEADER_BYTES)
    _check_format(path, head, kind)
    if compression_of(path):
        head = read_head(path, HEADER_BYTES, compression_of(path))
        _check_format(path, head, kind, unpacked=True)
    _check_encoding(path, head, kind, encoding, delimiter)
    if is_utf8(encoding) or is_single_byte(encoding):
        return head
    return read_utf8_head(path, HEADER_BYTES, encoding)


def _check_format(path: str, head: bytes, kind: str, *, unpacked: bool = False) -> None:
    """Refuses a file that is of another format than its name says."""
    actual = format_of(head)
    expected = None if unpacked else compression_of(path)
    if (actual and actual.compression) == expected and (actual is None or expected):
        return
    if expected and head:
        is_what = f"is {actual.name}, not" if actual else "is not"
        raise SourceError(
            f"{path} {is_what} {a_or_an(expected)} file, though its name says so; rename it"
        )
    if actual and actual.name == "a Parquet file":
        raise SourceError(f"{path} is a Parquet file, not {kind}; set source.format: parquet")
    if actual:
        compression = actual.compression or (unpacked and compression_of(path)) or ""
        form = (actual.compression and _format_inside(path, actual)) or actual
        other = "; write its rows as a CSV or as Parquet"
        hint = naming_hint(form, kind) or way_out(form, path, compression) or other
        raise SourceError(f"{path} is {form.name}, not {kind}{hint}")


def _format_inside(path: str, form: Format) -> Format | None:
    """Returns the format of what is compressed in a file, unless it may be text."""
    try:
        return format_of(read_head(path, _INSIDE_BYTES, form.compression))
    except SourceError:
        return None


def _check_encoding(path: str, head: bytes, kind: str, encoding: str, delimiter: str) -> None:
    """Refuses a file whose first bytes are text of another encoding than its source says, or none.

    The bytes of an encoding with wide characters are not looked at, since any may be among them.
    """
    actual = encoding_of(head)
    if actual and not codecs.lookup(encoding).name.startswith(actual):
        which = "is UTF-8 text, by its mark" if actual == UTF_8 else f"is {actual.upper()} text"
        recoded = command(
            f"iconv -f {actual} -t {encoding}", path, ".csv" if kind == "a CSV" else ".jsonl"
        )
        raise SourceError(
            f"{path} {which}; set source.encoding: {actual}, or, if other files of the source are "
            f"{encoding}, write this one so, too: {recoded}"
        )
    is_wide = not is_utf8(encoding) and not is_single_byte(encoding)
    if not actual and not is_wide and is_binary(head, delimiter):
        raise SourceError(
            f"{path} is not text, and so not {kind}: its first bytes are {head[:12]!r}; let the "
            f"program that wrote it write a CSV or Parquet file"
        )


def _names(path: str, line: bytes, source: Source) -> tuple[str, ...]:
    """Returns the columns in the first line of a CSV."""
    line = line.removesuffix(b"\r")
    try:
        text = to_utf8(line, source.encoding).removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        where = f"byte {error.start} of the header"
        raise SourceError(f"{path}: {undecodable(where, source.encoding)}") from error
    if "\r" in text.replace("\r\n", ""):
        raise SourceError(
            f"{path}: lines end with a carriage return alone, as on old Macs; write line "
            f"feeds with: {command(LINE_FEEDS, path, '.csv')}"
        )
    if "\0" in text:
        raise SourceError(
            f"{path}: the header holds NUL bytes: {text[:PEEK_NAMES]!r}; remove them with: "
            f"{command(WITHOUT_NULS, path, '.csv')}"
        )
    try:
        lines = text.splitlines(keepends=True)  # a quoted name may go on in the next line
        return tuple(next(csv.reader(lines, delimiter=source.delimiter, strict=True)))
    except csv.Error as error:
        raise SourceError(
            f"{path}: line 1: the names of the columns cannot be read, since a quote among them is "
            f"left open, or is not doubled inside quotes; correct the quotes"
        ) from error


def check_columns(
    path: str,
    names: Sequence[str],
    columns: Mapping[str, str],
    why: str,
    absent_hint: AbsentHint = near,
) -> None:
    """Checks that a file has every declared column exactly once.

    Raises:
        SourceError: A column is missing, or its name stands twice in the file; `why` ends the
            message.
    """
    twins = {n: count for n in columns if (count := names.count(n)) > 1}
    problems = [
        f"{counted(count, 'column', 'are')} named {n!r}; rename all but one"
        for n, count in twins.items()
    ]
    absent: dict[str, list[str]] = {}
    others = [name for name in names if name not in columns]  # what is declared is not misspelt
    for name in columns:
        if name not in names:
            hint = absent_hint(name, others) or near(name, names)
            absent.setdefault(hint, []).append(repr(name))
    problems += [f"there is no column {' or '.join(group)}{hint}" for hint, group in absent.items()]
    if problems:
        raise SourceError(f"{path}: {'; '.join(problems)}{why}")


def read_footer(path: str, n_bytes: int) -> tuple[pq.FileMetaData, pa.Schema]:
    """Returns the metadata and the schema in the footer of a Parquet file of `n_bytes`.

    Raises:
        SourceError: The file is not a Parquet file, or not a whole one.
    """
    if not n_bytes:
        raise SourceError(
            f"{path} is empty; write it again, as a Parquet file has at least a footer"
        )
    try:
        with open_file(path) as file:
            parquet = pq.ParquetFile(file)
            return parquet.metadata, parquet.schema_arrow
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(
            f"{path} is not a Parquet file, or not a whole one ({first_line(error)}); write it "
            "again"
        ) from error
