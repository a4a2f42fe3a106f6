"""Cuts the files of a source into ranges, each of which one worker reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table import bigquery
from quatrain.components.table.encoded_text import is_cuttable
from quatrain.components.table.files import find_files
from quatrain.components.table.header import (
    AbsentHint,
    check_columns,
    lines_above_header,
    read_footer,
    read_header,
    read_keys,
    without_lines_above,
)
from quatrain.components.table.partitions import partition_values
from quatrain.components.table.range import Range
from quatrain.components.table.values.conversion import USUAL
from quatrain.components.table.values.typed import can_convert
from quatrain.components.wording import near
from quatrain.trainer.features.text_format import Spelling

RANGE_BYTES = 10 << 20
"""About 113 000 rows of flights: few enough shards, and small enough to spread over workers."""
MAX_RANGES = 1000


def plan_ranges(
    source: Source,
    columns: Mapping[str, str],
    range_bytes: int | None = None,
    files: Sequence[tuple[str, int]] | None = None,
    spellings: Mapping[str, Spelling] = {},
    project: str = "",
    absent_hint: AbsentHint = near,
) -> list[Range]:
    """Cuts the files of a source into ranges, by their sizes alone.

    The same files give the same ranges, and so the same shards, for any number of workers.

    Args:
        source: The source of a spec.
        columns: The declared columns; each must be in every file, or in its path.
        range_bytes: The size of a range. By default 10 MB, or more where that would give over a
            thousand ranges.
        files: The listing of `find_files`; by default that of the source.
        spellings: The formats of columns that do not have the usual one.
        project: The project that pays for reading a table; by default the table's own.
        absent_hint: Returns the hint for a column that a file lacks.

    Raises:
        SourceError: A file is absent, empty, not what its name says, or lacks a column.
    """
    files = find_files(source).listing if files is None else files
    size = range_bytes or max(RANGE_BYTES, math.ceil(sum(s for _, s in files) / MAX_RANGES))
    table = _Declaration(source, columns, spellings, absent_hint)
    if source.format == "bigquery":
        return _streams(files, table, size, project)
    cuts = [(p, *cut) for p, n in files for cut in _CUTTERS[source.format](p, n, table, size)]
    return [
        Range(i, path, start, stop, names, surplus=surplus)
        for i, (path, start, stop, names, surplus) in enumerate(cuts)
    ]


@dataclass(frozen=True)
class _Declaration:
    """What a spec says about every file of its source."""

    source: Source
    columns: Mapping[str, str]
    spellings: Mapping[str, Spelling]
    absent_hint: AbsentHint

    def columns_in_file(self, path: str, names: Sequence[str]) -> dict[str, str]:
        """Returns the declared columns that are in a file, leaving out those in its path.

        Raises:
            SourceError: A value in the path does not have its column's type, or every declared
                column is in the path.
        """
        absent = [name for name in self.columns if name not in names]
        in_path = partition_values(path, absent, self.columns, self.spellings)
        in_file = {n: type_ for n, type_ in self.columns.items() if n not in in_path}
        if not in_file:
            raise SourceError(
                f"{path}: every declared column is in the path and none in the file; declare one "
                "of the file"
            )
        return in_file


_Cut = tuple[int, int | None, tuple[str, ...], int]
"""The start, stop, header and surplus of a `Range`."""


def _cut_csv(path: str, n_bytes: int, table: _Declaration, size: int) -> list[_Cut]:
    """Cuts a CSV at any byte, or not at all where rows must be read in order."""
    names, start, surplus = read_header(path, table.source)
    columns = table.columns_in_file(path, names)
    is_uncut = len(names) == 1 and len(columns) > 1
    why = f"; is source.delimiter {table.source.delimiter!r} right?" if is_uncut else ""
    if not columns.keys() <= set(names):
        _check_place_of_header(path, table.source, columns)
    check_columns(path, names, columns, why, table.absent_hint)
    if table.source.quoted_newlines or not is_cuttable(path, table.source.encoding):
        # Where a row starts is known only after reading every row before it.
        return [(start, None, names, surplus)]
    return _cut_at(start, n_bytes, size, names, surplus)


def _check_place_of_header(path: str, source: Source, columns: Mapping[str, str]) -> None:
    """Refuses a CSV whose header stands in another line than its source says."""
    n_lines, delimiter = lines_above_header(path, source, columns)
    if n_lines:
        key = "" if delimiter == source.delimiter else f" and source.delimiter: {delimiter!r}"
        raise SourceError(
            f"{path}: the header stands in line {n_lines + 1}, and source.skip_rows is "
            f"{source.skip_rows}; if every file has such lines above it, set source.skip_rows: "
            f"{n_lines}{key}; if not, {without_lines_above(path, source, n_lines)}"
        )


def _cut_json(path: str, n_bytes: int, table: _Declaration, size: int) -> list[_Cut]:
    """Cuts JSON Lines at any byte, or not at all where rows must be read in order."""
    encoding = table.source.encoding
    keys, start = read_keys(path, encoding)
    columns = table.columns_in_file(path, keys)
    if keys and not table.source.optional_keys:
        why = "; if rows may lack keys, set source.optional_keys: true"
        check_columns(path, keys, columns, why, table.absent_hint)
    if not is_cuttable(path, encoding):
        return [(start, None, keys, 0)]
    return _cut_at(0, n_bytes, size, keys)


def _cut_at(
    start: int, n_bytes: int, size: int, names: tuple[str, ...], surplus: int = 0
) -> list[_Cut]:
    """Cuts at every `size` bytes: a range has the rows that start in it."""
    starts = range(start, max(n_bytes, start + 1), size)
    return [(at, min(at + size, n_bytes), names, surplus) for at in starts]


def _cut_parquet(path: str, n_bytes: int, table: _Declaration, size: int) -> list[_Cut]:
    """Cuts a Parquet file between row groups, so that each range has about `size` bytes."""
    metadata, schema = read_footer(path, n_bytes)
    names = tuple(schema.names)
    columns = table.columns_in_file(path, names)
    check_columns(path, names, columns, "", table.absent_hint)
    _check_types(path, schema, columns, table.spellings)
    bounds, n_uncut = [0], 0
    for group in range(metadata.num_row_groups):
        n_uncut += metadata.row_group(group).total_byte_size
        if n_uncut >= size or group == metadata.num_row_groups - 1:
            bounds.append(group + 1)
            n_uncut = 0
    return [(a, b, names, 0) for a, b in pairwise(bounds)] or [(0, 0, names, 0)]


def _check_types(
    path: str, schema: pa.Schema, columns: Mapping[str, str], spellings: Mapping[str, Spelling]
) -> None:
    """Refuses a column whose Arrow type cannot be converted to its declared type."""
    for name, type_ in columns.items():
        if not can_convert(type_, schema.field(name).type, spellings.get(name, USUAL)):
            raise SourceError(
                f"{path}: column {name!r} is {schema.field(name).type} and cannot be read as "
                f"{type_}; correct its type under `columns`"
            )


def _streams(
    tables: Sequence[tuple[str, int]], table: _Declaration, size: int, project: str
) -> list[Range]:
    """Opens a read session for each table; the session's streams are the ranges."""
    ranges: list[Range] = []
    columns = table.columns
    for uri, n_bytes in tables:
        metadata = bigquery.find_table(uri)
        if metadata is None:
            raise SourceError(f"source.uri: {uri} does not exist; check its name")
        check_columns(uri, metadata.columns, columns, "", table.absent_hint)
        session = bigquery.open_session(uri, list(columns), n_bytes, size, project)
        _check_types(uri, session.schema, columns, table.spellings)
        for number, stream in enumerate(session.streams):
            header = tuple(columns)
            ranges.append(Range(len(ranges), uri, number, None, header, stream=stream))
    return ranges


_CUTTERS = {"csv": _cut_csv, "jsonl": _cut_json, "parquet": _cut_parquet}
