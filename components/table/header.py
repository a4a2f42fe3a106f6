"""The columns of a file: from a CSV's header, the keys of JSON Lines or a Parquet footer."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.storage import COMPRESSION, compression_of, open_file, read_head
from quatrain.components.wording import first_line, near

HEADER_BYTES = 1 << 20
"""How much of a file is searched for its columns, and so the longest header."""
DELIMITERS = (",", ";", "\t", "|")
"""What separates the values of a CSV line in files that people have."""
PEEK_ROWS = 100
"""Rows of JSON Lines whose keys are collected."""
PEEK_NAMES = 20
"""How many names of a header an error shows, and how many characters of each name."""
BOM = b"\xef\xbb\xbf"
MAGIC_BYTES = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "zip",
    b"ARROW1": "Arrow IPC",
    b"SQLite format 3": "SQLite",
    b"%PDF": "PDF",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""What a file that starts with these bytes is."""
_FORMAT_NAMES = {"gzip": "gzip", "bz2": "bzip2", "zstd": "Zstandard"}
"""The name in `MAGIC_BYTES` of each compression that is read."""

AbsentHint = Callable[[str, Sequence[str]], str]
"""Returns the hint for a column that a file lacks, from its name and the file's columns."""


def read_header(path: str, source: Source) -> tuple[tuple[str, ...], int]:
    """Returns the columns of a CSV file and the byte where its rows start.

    Raises:
        SourceError: The file is empty, is not a CSV, or its header cannot be read.
    """
    head = _read_text_head(path, "a CSV")
    line, newline, _ = head.partition(b"\n")
    if line.startswith(b'{"'):
        raise SourceError(f"{path} holds JSON, not a CSV; set source.format: jsonl")
    if not line.strip(BOM + b"\r"):
        fault = "starts with an empty line" if newline else "is empty"
        raise SourceError(f"{path} {fault}; a CSV starts with the names of its columns")
    if not newline and len(head) == HEADER_BYTES:
        raise SourceError(f"{path}: no line end in the first {HEADER_BYTES:,} bytes; is it a CSV?")
    names = _names(path, line, source.delimiter)
    if len(names) > 1 and not any(name and names.count(name) == 1 for name in names):
        raise SourceError(
            f"{path}: no column has a name of its own: the header is {_quoted(names)}; "
            "give each column another name there"
        )
    return names, len(line) + len(newline)


def _quoted(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > PEEK_NAMES else ""
    return ", ".join(repr(name[:PEEK_NAMES]) for name in names[:PEEK_NAMES]) + more


def read_keys(path: str) -> tuple[tuple[str, ...], int]:
    """Returns the keys of the first rows of JSON Lines and the byte where the rows start.

    Raises:
        SourceError: The file does not hold JSON Lines.
    """
    head = _read_text_head(path, "JSON Lines")
    start = len(BOM) if head.startswith(BOM) else 0
    lines = head[start:].split(b"\n")
    if len(head) == HEADER_BYTES:
        lines.pop()  # the last line is cut short
    keys: dict[str, None] = {}
    rows = [line for line in lines if line.strip()][:PEEK_ROWS]
    for line in rows:
        with contextlib.suppress(ValueError, RecursionError):  # a line may be of any depth
            value = json.loads(line)
            keys.update(dict.fromkeys(value if isinstance(value, dict) else ()))
    if rows and not keys:
        start_of_row = rows[0][:60].decode(errors="replace")
        raise SourceError(
            f'{path} is not JSON Lines: each line must be one object, as {{"a": 1}}, and the first '
            f"is {start_of_row!r}"
        )
    return tuple(keys), start


def _read_text_head(path: str, kind: str) -> bytes:
    """Returns the first bytes of a file, unpacked, after checking that they may be text.

    A compressed file is checked twice: it must be what its name says, and hold text.
    """
    head = read_head(path, HEADER_BYTES)
    _check_format(path, head, kind)
    if compression_of(path):
        head = read_head(path, HEADER_BYTES, compression_of(path))
        _check_format(path, head, kind, unpacked=True)
    return head


def _check_format(path: str, head: bytes, kind: str, *, unpacked: bool = False) -> None:
    """Refuses a file that starts with the magic bytes of another format than its name says."""
    actual = next((name for magic, name in MAGIC_BYTES.items() if head.startswith(magic)), None)
    expected = None if unpacked else _FORMAT_NAMES.get(compression_of(path) or "")
    if actual == expected:
        return
    if expected and head:
        raise SourceError(f"{path} is not a {expected} file, though its name says so")
    if actual == "Parquet":
        raise SourceError(f"{path} is a Parquet file, not {kind}; set source.format: parquet")
    if actual == "UTF-16":
        raise SourceError(f"{path} is UTF-16 text; save it as UTF-8")
    if actual:
        raise SourceError(f"{path} is a {actual} file, not {kind}{_naming_hint(actual, kind)}")


def _naming_hint(actual: str, kind: str) -> str:
    suffix = next((s for s, c in COMPRESSION.items() if _FORMAT_NAMES[c] == actual), None)
    plain = ".csv" if kind == "a CSV" else ".jsonl"
    return f"; if it holds {kind}, compressed, name it {plain}{suffix}" if suffix else ""


def _names(path: str, line: bytes, delimiter: str) -> tuple[str, ...]:
    """Returns the columns in the first line of a CSV."""
    try:
        text = line.removeprefix(BOM).removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: the header is not UTF-8 (byte 0x{line[error.start]:02x} at {error.start}); "
            f"save the file as UTF-8"
        ) from error
    if "\r" in text:
        raise SourceError(f"{path}: lines end with a carriage return alone; use line feeds")
    try:
        return tuple(next(csv.reader([text], delimiter=delimiter, strict=True)))
    except csv.Error as error:
        raise SourceError(f"{path}: the header cannot be read: {error}") from error


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
        f"{count} columns are named {n!r}; rename all but one" for n, count in twins.items()
    ]
    absent: dict[str, list[str]] = {}
    for name in columns:
        if name not in names:
            absent.setdefault(absent_hint(name, names), []).append(repr(name))
    problems += [f"there is no column {' or '.join(group)}{hint}" for hint, group in absent.items()]
    if problems:
        raise SourceError(f"{path}: {'; '.join(problems)}{why}")


def read_footer(path: str, n_bytes: int) -> tuple[pq.FileMetaData, pa.Schema]:
    """Returns the metadata and the schema in the footer of a Parquet file of `n_bytes`.

    Raises:
        SourceError: The file is not a Parquet file, or not a whole one.
    """
    if not n_bytes:
        raise SourceError(f"{path} is empty; a Parquet file has at least a footer")
    try:
        with open_file(path) as file:
            parquet = pq.ParquetFile(file)
            return parquet.metadata, parquet.schema_arrow
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(
            f"{path} is not a Parquet file, or not a whole one: {first_line(error)}"
        ) from error
