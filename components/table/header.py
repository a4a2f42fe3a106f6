"""Which files a source names, what their headers say, and the ranges they are read in."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import math
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from quatrain.components.errors import SourceDenied, SourceError
from quatrain.components.specification.schema import DATED, Source, is_table
from quatrain.components.table import bigquery
from quatrain.components.table.conversion import USUAL, can_convert
from quatrain.components.table.partitions import partition_values
from quatrain.components.table.windows import days_before, fill
from quatrain.components.wording import near
from quatrain.trainer.features.text_format import Spelling

RANGE_BYTES = 10 << 20
"""About 113 000 flights: few enough shards, small enough to spread."""
MAX_RANGES = 1000
PATIENCE_S = 60
"""How long a bucket that does not answer is tried; Arrow's default is 15 minutes."""
HEADER_BYTES = 1 << 20
PEEK_ROWS = 100
"""Rows of JSON Lines that are asked for their keys."""
PEEK_NAMES = 20
"""Names, and characters of each, that an error shows of a header."""
BOM = b"\xef\xbb\xbf"
COMPRESSION = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
MAGIC = {
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
NO_CREDENTIALS = (
    "there are no credentials for Google here, or their server does not answer; "
    "run gcloud auth application-default login"
)
_BUCKET_OPTIONS = re.compile(r"(.*?)(\?\w+=[^/]*)?", re.DOTALL)
"""What Arrow takes after a gs:// uri, as ?retry_limit_seconds=5; another ? is a glob's."""
_GLOB = re.compile(r"[*?\[]")
_COMPRESSED = {"gzip": "gzip", "bz2": "bzip2", "zstd": "Zstandard"}


Lacks = Callable[[str, Sequence[str]], str]
"""Says of a column that is absent, and the columns that are there, what can be done."""


@dataclass(frozen=True)
class Range:
    """A part of a file that one worker reads: the rows that start in it.

    Attributes:
        index: The number of its shard.
        path: The file's path or uri.
        start: First byte (CSV, JSON Lines) or row group (Parquet), or the stream's number.
        stop: The one after the last; None is the end of the file.
        header: The columns of the file, in its order; of JSON Lines the keys of its first rows.
        dropped: Where the rows stand that are left out, since another row has their keys.
        problem: Why the range cannot be read, when that is known already.
        stream: The stream of a read session, of a table of BigQuery.
    """

    index: int
    path: str
    start: int
    stop: int | None
    header: tuple[str, ...]
    dropped: tuple[int, ...] = ()
    problem: str = ""
    stream: str = ""


def open_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """Returns the file system of a uri or local path, and the path in it.

    The name of an object is taken as it is written: blanks, %41 and # are parts of it.

    Raises:
        SourceError: No file system is known for the uri.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), uri
    try:
        if not uri.startswith("gs://"):
            return pafs.FileSystem.from_uri(uri)
        name, query = _BUCKET_OPTIONS.fullmatch(uri[5:]).groups()  # type: ignore[union-attr]
        authority = name.partition("/")[0]
        query = query or f"?retry_limit_seconds={PATIENCE_S}"
        filesystem, _ = pafs.FileSystem.from_uri(f"gs://{authority}{query}")
        return filesystem, name.partition("@")[2] if "@" in authority else name
    except pa.ArrowInvalid as error:
        raise SourceError(f"{uri} cannot be read ({error}); use a local path or gs://") from error


def compression_of(path: str) -> str | None:
    """Returns the compression that a file's name says: gzip, bz2, zstd or None."""
    return next((c for suffix, c in COMPRESSION.items() if path.endswith(suffix)), None)


@dataclass(frozen=True)
class Files:
    """The files of a source, and which days of its window they are of.

    Attributes:
        found: (path or uri, bytes) of every file, in order.
        days: The days of the window, oldest first; none without a window.
        empty: Those of them that have no file.
    """

    found: tuple[tuple[str, int], ...]
    days: tuple[datetime.date, ...] = ()
    empty: tuple[datetime.date, ...] = ()

    @property
    def warning(self) -> str:
        """What to tell about days without files; empty when every day has some."""
        if not self.empty:
            return ""
        shown = ", ".join(map(str, self.empty[:5])) + (", ..." if len(self.empty) > 5 else "")
        return f"{len(self.empty)} of the {len(self.days)} days of the window have no file: {shown}"

    def as_json(self) -> dict[str, Any]:
        """What the manifest says of the window."""
        return {
            "first": str(self.days[0]),
            "last": str(self.days[-1]),
            "days": len(self.days),
            "without_files": [str(day) for day in self.empty],
        }


def find_files(source: Source, at: datetime.datetime | None = None) -> Files:
    """Finds the files of a source, with a window those of its days.

    Args:
        source: What is read.
        at: The time of the run, where a window ends.

    Raises:
        SourceError: A uri names no file, or a folder; or no day of the window has a file.
    """
    if source.window is not None and at is None:
        raise SourceError(f"source.window {source.window} ends at the run's time; give it")
    try:
        return _files_of(source, at)
    except SourceError as error:
        told = str(error)
        where = "" if told.startswith("source.") else "source.uri: "
        raise type(error)(f"{where}{told}") from error


def _files_of(source: Source, at: datetime.datetime | None) -> Files:
    if source.window is None or at is None:
        return Files(tuple(list_files(source)))
    days = tuple(days_before(at, source.window))
    found: dict[tuple[str, int], None] = {}
    filled: set[datetime.date] = set()
    for uri in source.uri:
        if not DATED.search(uri):
            found.update(dict.fromkeys(_named(uri)))
            continue
        for day in days:
            if of_day := _match(fill(uri, day)):
                filled.add(day)
                found.update(dict.fromkeys(of_day))
    if not filled:
        raise SourceError(
            f"source.window: none of the {len(days)} days from {days[0]} to {days[-1]} has a file, "
            f"as {fill(next(u for u in source.uri if DATED.search(u)), days[-1])}; is the run's "
            f"time {at:%Y-%m-%d %H:%M} UTC right? --at gives another one"
        )
    return Files(tuple(found), days, tuple(day for day in days if day not in filled))


def list_files(source: Source) -> list[tuple[str, int]]:
    """Returns the (path or uri, bytes) of every file of a source without a window, in order.

    Raises:
        SourceError: A uri names no file, or a folder; no spec is named, as there may be none.
    """
    return list(dict.fromkeys(f for uri in source.uri for f in _named(uri)))


def plan_ranges(
    source: Source,
    columns: Mapping[str, str],
    range_bytes: int | None = None,
    files: Sequence[tuple[str, int]] | None = None,
    spellings: Mapping[str, Spelling] = {},
    project: str = "",
    lacks: Lacks = near,
) -> list[Range]:
    """Cuts the files of a source into ranges, by their sizes alone.

    Args:
        source: What is read.
        columns: The declared columns; each must be in every file, or in its path.
        range_bytes: The size of a range; larger when there would be over a thousand.
        files: What `find_files` found; by default it is asked.
        spellings: How columns are written that are not written the usual way.
        project: Who pays for reading a table; by default its own project.
        lacks: Says of a column that is not there, given those that are, what can be done.

    Raises:
        SourceError: A file is absent, empty, not what its name says, or lacks a column.
    """
    files = find_files(source).found if files is None else files
    size = range_bytes or max(RANGE_BYTES, math.ceil(sum(s for _, s in files) / MAX_RANGES))
    table = _Table(source, columns, spellings, lacks)
    if source.format == "bigquery":
        return _streams(files, table, size, project)
    spans = [(p, *span) for p, n in files for span in _CUTS[source.format](p, n, table, size)]
    return [
        Range(i, path, start, stop, names) for i, (path, start, stop, names) in enumerate(spans)
    ]


@dataclass(frozen=True)
class _Table:
    """What every file is read by."""

    source: Source
    columns: Mapping[str, str]
    spellings: Mapping[str, Spelling]
    lacks: Lacks

    def columns_in(self, path: str, names: Sequence[str]) -> dict[str, str]:
        """Returns the declared columns that stand in a file and not in its path.

        Raises:
            SourceError: A value in the path has not its column's type, or there is no other column.
        """
        absent = [name for name in self.columns if name not in names]
        outside = partition_values(path, absent, self.columns, self.spellings)
        inside = {n: type_ for n, type_ in self.columns.items() if n not in outside}
        if not inside:
            raise SourceError(f"{path}: every declared column is in the path and none in the file")
        return inside


def read_header(path: str, source: Source) -> tuple[tuple[str, ...], int]:
    """Returns the columns of a CSV file and the byte where its rows start.

    Raises:
        SourceError: The file is empty, is not a CSV, or its header cannot be read.
    """
    head = _checked_head(path, "a CSV")
    line, newline, _ = head.partition(b"\n")
    if line.startswith(b'{"'):
        raise SourceError(f"{path} holds JSON, not a CSV; set source.format: jsonl")
    if not line.strip(BOM + b"\r"):
        what = "starts with an empty line" if newline else "is empty"
        raise SourceError(f"{path} {what}; a CSV starts with the names of its columns")
    if not newline and len(head) == HEADER_BYTES:
        raise SourceError(f"{path}: no line end in the first {HEADER_BYTES:,} bytes; is it a CSV?")
    names = _names(path, line, source.delimiter)
    if len(names) > 1 and not any(name and names.count(name) == 1 for name in names):
        raise SourceError(
            f"{path}: no column has a name of its own: the header is {_shown(names)}; "
            "give each column another name there"
        )
    return names, len(line) + len(newline)


def _shown(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > PEEK_NAMES else ""
    return ", ".join(repr(name[:PEEK_NAMES]) for name in names[:PEEK_NAMES]) + more


def read_keys(path: str) -> tuple[tuple[str, ...], int]:
    """Returns the keys of the first rows of JSON Lines and the byte where the rows start.

    Raises:
        SourceError: The file is no JSON Lines.
    """
    head = _checked_head(path, "JSON Lines")
    start = len(BOM) if head.startswith(BOM) else 0
    lines = head[start:].split(b"\n")
    if len(head) == HEADER_BYTES:
        lines.pop()  # cut off in the middle
    keys: dict[str, None] = {}
    rows = [line for line in lines if line.strip()][:PEEK_ROWS]
    for line in rows:
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            keys.update(dict.fromkeys(value if isinstance(value, dict) else ()))
    if rows and not keys:
        shown = rows[0][:60].decode(errors="replace")
        raise SourceError(
            f'{path} is not JSON Lines: each line must be one object, as {{"a": 1}}, and the first '
            f"is {shown!r}"
        )
    return tuple(keys), start


def _named(uri: str) -> list[tuple[str, int]]:
    found = _match(uri)
    if not found and _GLOB.search(uri):
        raise SourceError(f"no file matches {uri}")
    if not found:
        raise SourceError(f"{uri} does not exist")
    return found


def _match(uri: str) -> list[tuple[str, int]]:
    """Returns the files that a uri or glob names; none when there are none."""
    if is_table(uri):
        found = bigquery.find_table(uri)
        return [(uri, found.n_bytes)] if found else []
    filesystem, path = open_filesystem(uri)
    try:
        if _GLOB.search(uri):
            return _glob(filesystem, path, uri[: len(uri) - len(path)])
        info = filesystem.get_file_info(path)
    except PermissionError as error:
        raise SourceDenied(f"{uri} may not be listed; {_permission(uri)}") from error
    except OSError as error:
        if "access token" in str(error):
            raise SourceError(f"{uri} cannot be listed: {NO_CREDENTIALS}") from error
        raise SourceError(f"{uri} cannot be listed: {_first_line(error)}") from error
    if info.type == pafs.FileType.Directory:
        raise SourceError(f"{uri} is a folder; name its files, as {uri}/*.csv")
    if info.type not in (pafs.FileType.File, pafs.FileType.NotFound):
        # A pipe would be waited for without end.
        raise SourceError(f"{uri} is not a regular file; write its rows to one")
    if info.type == pafs.FileType.NotFound:
        return []
    if isinstance(filesystem, pafs.LocalFileSystem) and not os.access(path, os.R_OK):
        raise SourceDenied(f"{uri} may not be read by this account; {_permission(uri)}")
    return [(uri, info.size)]


def _permission(uri: str) -> str:
    if not uri.startswith("gs://"):
        return f"give it the right to, as by chmod u+r {shlex.quote(uri)}"
    bucket = re.split(r"[/?]", uri.removeprefix("gs://"))[0].rpartition("@")[2]
    return (
        f"allow the account that reads it: gcloud storage buckets add-iam-policy-binding "
        f"gs://{bucket} --member=serviceAccount:ACCOUNT --role=roles/storage.objectViewer"
    )


def _glob(filesystem: pafs.FileSystem, pattern: str, prefix: str) -> list[tuple[str, int]]:
    folder = _GLOB.split(pattern, maxsplit=1)[0].rpartition("/")[0]
    deep = "/" in pattern[len(folder) + 1 :]
    infos = filesystem.get_file_info(
        pafs.FileSelector(folder or "/", recursive=deep, allow_not_found=True)
    )
    matches = re.compile(glob_regex(pattern)).fullmatch
    files = [i for i in infos if i.type == pafs.FileType.File and matches(i.path)]
    return [(prefix + i.path, i.size) for i in sorted(files, key=lambda i: i.path)]


def glob_regex(pattern: str) -> str:
    """Returns the regular expression of a glob: ** is any folders, * and ? stay in one."""
    parts = re.split(r"(\*\*/|\*|\?|\[[^\]]+\])", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        known.get(p) or (p.replace("[!", "[^") if p.startswith("[") else re.escape(p))
        for p in parts
    )


def _checked_head(path: str, what: str) -> bytes:
    """Returns the first bytes of a text file, once it is known to be one."""
    head = _head(path)
    _check_magic(path, head, what)
    if compression_of(path):
        head = _head(path, compression_of(path))
        _check_magic(path, head, what, inside=True)
    return head


def _head(path: str, compression: str | None = None) -> bytes:
    filesystem, inner = open_filesystem(path)
    try:
        with filesystem.open_input_stream(inner, compression=compression) as stream:
            return bytes(stream.read(HEADER_BYTES))
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else _first_line(error)
        raise SourceError(f"{path} cannot be read: {why}") from error


def _check_magic(path: str, head: bytes, what: str, *, inside: bool = False) -> None:
    found = next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)
    expected = None if inside else _COMPRESSED.get(compression_of(path) or "")
    if found == expected:
        return
    if expected and head:
        raise SourceError(f"{path} is not a {expected} file, though its name says so")
    if found == "Parquet":
        raise SourceError(f"{path} is a Parquet file, not {what}; set source.format: parquet")
    if found == "UTF-16":
        raise SourceError(f"{path} is UTF-16 text; save it as UTF-8")
    if found:
        raise SourceError(f"{path} is a {found} file, not {what}{_as_named(found, what)}")


def _as_named(found: str, what: str) -> str:
    suffix = next((s for s, c in COMPRESSION.items() if _COMPRESSED[c] == found), None)
    plain = ".csv" if what == "a CSV" else ".jsonl"
    return f"; if it holds {what}, compressed, name it {plain}{suffix}" if suffix else ""


def _names(path: str, line: bytes, delimiter: str) -> tuple[str, ...]:
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
    lacks: Lacks = near,
) -> None:
    """Checks that every declared column is in a file, once.

    Raises:
        SourceError: A column is missing, or two have its name.
    """
    twins = {n: count for n in columns if (count := names.count(n)) > 1}
    problems = [
        f"{count} columns are named {n!r}; rename all but one" for n, count in twins.items()
    ]
    absent: dict[str, list[str]] = {}
    for name in columns:
        if name not in names:
            absent.setdefault(lacks(name, names), []).append(repr(name))
    problems += [f"there is no column {' or '.join(group)}{hint}" for hint, group in absent.items()]
    if problems:
        raise SourceError(f"{path}: {'; '.join(problems)}{why}")


Span = tuple[int, int | None, tuple[str, ...]]
"""The start, stop and header of a `Range`."""


def _cut_csv(path: str, n_bytes: int, table: _Table, size: int) -> list[Span]:
    names, start = read_header(path, table.source)
    columns = table.columns_in(path, names)
    only = len(names) == 1 and len(columns) > 1
    why = f"; is source.delimiter {table.source.delimiter!r} right?" if only else ""
    check_columns(path, names, columns, why, table.lacks)
    if table.source.quoted_newlines or compression_of(path):
        return [(start, None, names)]
    return _cut_at(start, n_bytes, size, names)


def _cut_json(path: str, n_bytes: int, table: _Table, size: int) -> list[Span]:
    keys, start = read_keys(path)
    columns = table.columns_in(path, keys)
    if keys and not table.source.optional_keys:
        why = "; if rows may lack keys, set source.optional_keys: true"
        check_columns(path, keys, columns, why, table.lacks)
    if compression_of(path):
        return [(start, None, keys)]
    return _cut_at(0, n_bytes, size, keys)


def _cut_at(start: int, n_bytes: int, size: int, names: tuple[str, ...]) -> list[Span]:
    starts = range(start, max(n_bytes, start + 1), size)
    return [(at, min(at + size, n_bytes), names) for at in starts]


def _cut_parquet(path: str, n_bytes: int, table: _Table, size: int) -> list[Span]:
    metadata, schema = read_footer(path, n_bytes)
    names = tuple(schema.names)
    columns = table.columns_in(path, names)
    check_columns(path, names, columns, "", table.lacks)
    _check_types(path, schema, columns, table.spellings)
    bounds, filled = [0], 0
    for group in range(metadata.num_row_groups):
        filled += metadata.row_group(group).total_byte_size
        if filled >= size or group == metadata.num_row_groups - 1:
            bounds.append(group + 1)
            filled = 0
    return [(a, b, names) for a, b in pairwise(bounds)] or [(0, 0, names)]


def _check_types(
    path: str, schema: pa.Schema, columns: Mapping[str, str], spellings: Mapping[str, Spelling]
) -> None:
    for name, type_ in columns.items():
        if not can_convert(type_, schema.field(name).type, spellings.get(name, USUAL)):
            raise SourceError(
                f"{path}: column {name!r} is {schema.field(name).type} and cannot be read as "
                f"{type_}; correct its type under `columns`"
            )


def _streams(
    tables: Sequence[tuple[str, int]], table: _Table, size: int, project: str
) -> list[Range]:
    """Opens a read session for each table; its streams are the ranges."""
    ranges: list[Range] = []
    columns = table.columns
    for uri, n_bytes in tables:
        found = bigquery.find_table(uri)
        if found is None:
            raise SourceError(f"source.uri: {uri} does not exist")
        check_columns(uri, found.columns, columns, "", table.lacks)
        session = bigquery.open_session(uri, list(columns), n_bytes, size, project)
        _check_types(uri, session.schema, columns, table.spellings)
        for number, stream in enumerate(session.streams):
            at = len(ranges)
            ranges.append(Range(at, uri, number, None, tuple(columns), stream=stream))
    return ranges


_CUTS = {"csv": _cut_csv, "jsonl": _cut_json, "parquet": _cut_parquet}


def read_footer(path: str, n_bytes: int) -> tuple[pq.FileMetaData, pa.Schema]:
    """Returns what a Parquet file of a size says of its row groups and columns.

    Raises:
        SourceError: It is no whole Parquet file.
    """
    if not n_bytes:
        raise SourceError(f"{path} is empty; a Parquet file has at least a footer")
    filesystem, inner = open_filesystem(path)
    try:
        with filesystem.open_input_file(inner) as file:
            parquet = pq.ParquetFile(file)
            return parquet.metadata, parquet.schema_arrow
    except pa.ArrowInvalid as error:
        raise SourceError(
            f"{path} is not a Parquet file, or not a whole one: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    """Returns what an error says, without the names of Google's own error within it."""
    line = str(error).splitlines()[0]
    found = re.search(r"last message of (.*?)(?: error_info=|$)", line)
    return found[1] if found else line
