"""Reads a range as typed blocks, whatever the file's format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from quatrain.components.specification.source import Source
from quatrain.components.table import csv_blocks, json_blocks, typed_blocks
from quatrain.components.table.block import Block
from quatrain.components.table.partitions import partition_values, with_partition
from quatrain.components.table.range import Range
from quatrain.trainer.features.text_format import Spelling


def read_range(
    span: Range,
    source: Source,
    columns: Mapping[str, str],
    spellings: Mapping[str, Spelling] = {},
    suspects: set[str] | None = None,
) -> Iterator[Block]:
    """Yields the rows of a range as typed blocks, with the faults of malformed rows.

    Only `columns` are converted. An empty text is missing; `source.nulls` are the other spellings
    of a missing value in a CSV (Parquet and JSON have their own nulls). A block holds about 10 MB
    of CSV, 4 MB of JSON, or 65 536 Parquet rows. A column that is not in the file is taken from
    the file's path.

    Args:
        span: One range of `ranges.plan_ranges`.
        source: How the rows are written.
        columns: The declared types of the columns to read.
        spellings: The formats of columns that do not have the usual one.
        suspects: Columns of a CSV in which an earlier block had a bad value; this call adds more.

    Raises:
        SourceError: The file cannot be read.
    """
    absent = [name for name in columns if name not in span.header]
    in_path = partition_values(span.path, absent, columns, spellings) if absent else {}
    in_file = {name: type_ for name, type_ in columns.items() if name not in in_path}
    blocks = _blocks(span, source, in_file, spellings, suspects)
    return (with_partition(b, in_path, columns) for b in blocks) if in_path else blocks


def _blocks(
    span: Range,
    source: Source,
    columns: Mapping[str, str],
    spellings: Mapping[str, Spelling],
    suspects: set[str] | None,
) -> Iterator[Block]:
    """Yields the blocks of a range by the reader of its format."""
    own = {name: spelling for name, spelling in spellings.items() if name in columns}
    if source.format == "bigquery":
        return typed_blocks.read_stream(span, columns, own)
    if source.format == "parquet":
        return typed_blocks.read_blocks(span, columns, spellings=own)
    if source.format == "jsonl":
        return json_blocks.read_blocks(span, source, columns, spellings=own)
    return csv_blocks.read_blocks(span, source, columns, spellings=own, suspects=suspects)
