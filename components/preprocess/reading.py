"""Typed reading: the blocks of a range, whatever the file's format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components.preprocess import columnar, delimited
from components.preprocess.rejection import Block
from components.preprocess.sources import Range
from components.spec.schema import Source


def read_range(span: Range, source: Source, columns: Mapping[str, str]) -> Iterator[Block]:
    """Yields the rows of a range as typed blocks; malformed rows are in `rejected`.

    Only `columns` are converted. An empty text is missing; `source.nulls` are the other spellings
    of a missing value in a CSV (Parquet has its own nulls). A block holds about 4 MB of CSV, or
    65 536 Parquet rows.

    Args:
        span: One range of `sources.plan_ranges`.
        source: How the rows are written.
        columns: The declared types of the columns that are read.

    Raises:
        SourceError: The file cannot be read.
    """
    if source.format == "parquet":
        return columnar.read_blocks(span, columns)
    return delimited.read_blocks(span, source, columns)
