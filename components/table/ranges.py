"""Cuts the files of a source into the ranges that are read one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.storage import compression_of
from quatrain.components.table import bigquery
from quatrain.components.table.conversion import USUAL, can_convert
from quatrain.components.table.files import find_files
from quatrain.components.table.header import (
    Lacks,
    check_columns,
    read_footer,
    read_header,
    read_keys,
)
from quatrain.components.table.partitions import partition_values
from quatrain.components.table.range import Range
from quatrain.components.wording import near
from quatrain.trainer.features.text_format import Spelling

RANGE_BYTES = 10 << 20
"""About 113 000 flights: few enough shards, small enough to spread."""
MAX_RANGES = 1000


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
