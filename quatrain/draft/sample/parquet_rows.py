"""A sample of Parquet files, whose schemas may differ."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.storage import open_file
from quatrain.components.table.header import read_footer
from quatrain.components.table.values.bounds import TYPES
from quatrain.components.table.values.typed import can_convert, from_typed
from quatrain.components.wording import first_line
from quatrain.draft.sample.sample import (
    PLACES,
    TOLERATED,
    Sample,
    in_path,
    keys_beside,
    repeated_names,
    spread,
)

SAMPLE_ROWS = 1 << 17
"""The most rows read from Parquet files, from up to sixteen row groups."""


def sample_parquet(source: Source, files: list[tuple[str, int]]) -> Sample:
    """Samples Parquet files: the first rows of evenly spread row groups."""
    footers = {path: read_footer(path, n_bytes) for path, n_bytes in files}
    groups = [
        (path, group, metadata.row_group(group).num_rows)
        for path, (metadata, _) in footers.items()
        for group in range(metadata.num_row_groups)
    ]
    total = sum(rows for *_, rows in groups)
    if not total:
        raise SourceError(f"{files[0][0]}: there are no rows, only a schema; add rows to the file")
    whole = total <= SAMPLE_ROWS
    groups = [group for group in groups if group[2]]
    chosen = groups if whole else [groups[i] for i in spread(len(groups), PLACES)]
    each = SAMPLE_ROWS if whole else -(-SAMPLE_ROWS // len(chosen))
    names = tuple(dict.fromkeys(n for _, schema in footers.values() for n in schema.names))
    keys = keys_beside(names, files)
    columns, unreadable = _united({path: schema for path, (_, schema) in footers.items()})
    tables = []
    for path, group, _ in chosen:
        schema = pa.schema([footers[path][1].field(name) for name in columns])
        rows = _flat(pa.Table.from_batches(_rows_of(path, group, list(columns), each), schema))
        for name, value in in_path(path, keys).items():
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
        tables.append(rows)
    for name, types in columns.items():
        if types:
            parts = [table.column(name).combine_chunks() for table in tables]
            united = _united_parts(name, parts, types)
            if not united:
                first: dict[pa.DataType, str] = {}
                for path, (_, schema) in footers.items():
                    first.setdefault(schema.field(name).type, path)
                unreadable[name] = _types_in_words(first)
            tables = [
                table.set_column(table.schema.get_field_index(name), name, part)
                if united
                else table.drop_columns([name])
                for table, part in zip(tables, united or parts, strict=True)
            ]
    return Sample(
        source,
        (*names, *keys),
        pa.concat_tables(tables, promote_options="permissive"),
        unreadable,
        total,
        whole=whole,
        places=len(chosen),
        remarks=tuple(repeated_names(_repeated(schema for _, schema in footers.values()))),
    )


def _repeated(schemas: Iterable[pa.Schema]) -> dict[str, int]:
    """Returns how often a name stands in one file, if it does more than once."""
    counts: dict[str, int] = {}
    for schema in schemas:
        for name, n in Counter(schema.names).items():
            if n > 1:
                counts[name] = max(n, counts.get(name, 0))
    return counts


def _united_parts(name: str, parts: list[pa.Array], types: list[str]) -> list[pa.Array]:
    """Returns the parts of a column in the first type that reads the values of all of them.

    Returns:
        One array for each part; none if every type rejects too many values.
    """
    for type_ in types:
        read = [from_typed(name, part, type_) for part in parts]
        n_bad = sum(len(fault.rows) for _, faults in read for fault in faults)
        if n_bad <= TOLERATED * sum(map(len, parts)):
            return [values for values, _ in read]
    return []


def _types_in_words(types: Mapping[pa.DataType, str]) -> str:
    """Returns that no type reads a column, of whose types the first files are given."""
    listed = " and ".join(f"{type_} in {path}" for type_, path in types.items())
    return f"it is {listed}; no type reads the values of {'both' if len(types) == 2 else 'all'}"


def _united(
    schemas: Mapping[str, pa.Schema],
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Returns the columns that every file has, and why the others cannot be read, by name.

    Returns:
        By name, the types of a spec that may read a column whose types in the files Arrow cannot
        promote; none: Arrow can.
    """
    columns: dict[str, list[str]] = {}
    unreadable: dict[str, str] = {}
    for name in dict.fromkeys(name for schema in schemas.values() for name in schema.names):
        types: dict[pa.DataType, str] = {}  # by type, the first file that has it
        for path, schema in schemas.items():
            if schema.names.count(name) != 1:
                n = schema.names.count(name)
                unreadable[name] = (
                    f"{n} columns of {path} have this name" if n else f"{path} lacks it"
                )
                break
            types.setdefault(schema.field(name).type, path)
        if name in unreadable:
            continue
        if odd := next((t for t in types if not is_flat(t)), None):
            unreadable[name] = f"it is {odd}"
        elif _are_kindred(list(types)):
            columns[name] = []
        else:
            columns[name] = [
                t for t in ("string", *TYPES) if all(can_convert(t, type_) for type_ in types)
            ]
            if not columns[name]:
                del columns[name]
                unreadable[name] = _types_in_words(types)
    return columns, unreadable


def _are_kindred(types: list[pa.DataType]) -> bool:
    """Whether Arrow can promote types to one."""
    flat = [_flat(pa.table({"a": pa.nulls(0, type_)})).schema for type_ in types]
    with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError):
        pa.unify_schemas(flat, promote_options="permissive")
        return True
    return False


def is_flat(type_: pa.DataType) -> bool:
    """Whether a column has one value a row, of an Arrow type that some type of a spec reads."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    tests = (
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean),
        *(pa.types.is_timestamp, pa.types.is_date, pa.types.is_null),
    )
    return any(test(type_) for test in tests)


def _rows_of(path: str, group: int, names: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Yields the first rows of a row group, in batches."""
    try:
        with open_file(path) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False)
            for batch in parquet.iter_batches(8192, row_groups=[group], columns=names):
                yield batch.slice(0, rows)
                rows -= batch.num_rows
                if rows <= 0:
                    return
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(f"{path} cannot be read: {first_line(error)}; write it again") from error


def _flat(table: pa.Table) -> pa.Table:
    """Returns a table with dictionaries decoded, text of any kind as string, decimals as floats."""
    for i, column in enumerate(table.schema):
        type_ = column.type
        if pa.types.is_dictionary(type_):
            type_ = type_.value_type
        if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
            type_ = pa.string()
        if pa.types.is_decimal(type_) or pa.types.is_float16(type_):
            type_ = pa.float64()
        if type_ != column.type:
            table = table.set_column(i, column.name, table.column(i).cast(type_))
    return table
