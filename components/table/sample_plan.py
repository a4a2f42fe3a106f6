"""Plans a sample of a source: rows from even places, the same ones for any number of workers."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quatrain.components.specification.source import Source
from quatrain.components.storage import open_file
from quatrain.components.table.encoded_text import is_cuttable
from quatrain.components.table.header import read_footer
from quatrain.components.table.range import EvenPlaces, Range
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.wording import counted
from quatrain.trainer.features.text_format import Spelling

PLACES = 100
"""Many: a split by the hash of a day, or by time, must find some days of each kind."""
MAX_FILES = 32
"""Each file is a shard, which costs about 0.03 CPU-s."""
LARGE_BYTES = 100 << 20
"""A file that must be read from its start to its end is worth a warning from here on."""
_COUNTED_PLACES, _COUNTED_BYTES = 64, 1 << 18
"""Where line ends are counted to estimate the rows of a file, and how much of each place."""


@dataclass(frozen=True)
class SampledSource:
    """A sample of a source.

    Attributes:
        ranges: A range for each chosen file, with the rows to read.
        n_rows: About how many rows the whole source has; None: that is not known.
        warnings: What makes the sample slow or uneven.
    """

    ranges: list[Range]
    n_rows: int | None
    warnings: tuple[str, ...]


def plan_sample(
    source: Source,
    columns: Mapping[str, str],
    n_rows: int,
    files: Sequence[tuple[str, int]],
    spellings: Mapping[str, Spelling] = {},
    project: str = "",
) -> SampledSource:
    """Chooses about `n_rows` rows from even places of a source.

    Every file gets a share of the rows by its size. Of many files, evenly spaced ones are read.

    Args:
        source: The source of a spec.
        columns: The declared columns.
        n_rows: The number of rows; a source with fewer is read as a whole.
        files: The listing of `find_files`.
        spellings: The formats of columns that do not have the usual one.
        project: The project that pays for reading a table.

    Raises:
        SourceError: A chosen file is absent, empty, not what its name says, or lacks a column.
    """
    chosen = [files[at] for at in evenly(len(files), MAX_FILES)]
    sizes = dict(chosen)
    total = max(sum(sizes.values()), 1)
    is_table = source.format == "bigquery"
    # One range for a file, whose row groups may have more bytes than the file.
    size = math.ceil(total / MAX_FILES) if is_table else sys.maxsize
    ranges = plan_ranges(source, columns, size, chosen, spellings, project)
    n_streams = max(len(ranges), 1)
    shares = [1 / n_streams if is_table else sizes[span.path] / total for span in ranges]
    n_rows_there = _count_rows(source, files, ranges)
    if n_rows_there is None or n_rows_there > n_rows:  # parts of equal bytes may differ in rows
        ranges = [
            replace(span, sample=_part(n_rows * share, PLACES * share))
            for span, share in zip(ranges, shares, strict=True)
        ]
    warnings = _warnings(source, ranges, sizes, len(files))
    return SampledSource(ranges, n_rows_there, tuple(warnings))


def evenly(n: int, most: int) -> list[int]:
    """Returns the indices of up to `most` of `n` things, evenly spaced."""
    return list(range(n)) if n <= most else [(2 * i + 1) * n // (2 * most) for i in range(most)]


def _part(rows: float, places: float) -> EvenPlaces:
    n_places = max(round(places), 1)
    return EvenPlaces(n_places, max(math.ceil(rows / n_places), 1))


def _warnings(
    source: Source, ranges: Sequence[Range], sizes: Mapping[str, int], n_files: int
) -> list[str]:
    """Returns sentences about what the sample does not do as well as it might be thought to."""
    found = []
    if n_files > len(sizes):
        found.append(
            f"the sample is from {len(sizes)} of {counted(n_files, 'file')}, evenly spaced"
        )
    if source.format == "bigquery":
        streams = counted(len(ranges), "stream")
        found.append(f"the sample is the first rows of each of {streams} of BigQuery")
    for span in ranges if source.format in ("csv", "jsonl") else ():
        if not _is_read_in_parts(source, span.path) and sizes[span.path] > LARGE_BYTES:
            megabytes = sizes[span.path] >> 20
            found.append(
                f"{span.path} cannot be read from the middle, so the sample of it takes reading "
                f"all of its {megabytes:,} MB"
            )
    return found


def _is_read_in_parts(source: Source, path: str) -> bool:
    return not source.quoted_newlines and is_cuttable(path, source.encoding)


def _count_rows(
    source: Source, files: Sequence[tuple[str, int]], ranges: Sequence[Range]
) -> int | None:
    """Returns about how many rows a source has, from the files of its sample."""
    sizes = dict(files)
    if source.format == "parquet":
        counts = [read_footer(span.path, sizes[span.path])[0].num_rows for span in ranges]
    elif source.format != "bigquery" and all(_is_read_in_parts(source, s.path) for s in ranges):
        counts = [_count_lines(span) for span in ranges]
    else:
        return None
    seen = sum(sizes[span.path] for span in ranges)
    return round(sum(counts) * sum(sizes.values()) / seen) if seen else 0


def _count_lines(span: Range) -> int:
    """Returns about how many lines a range of text has; exactly, if it is small."""
    with open_file(span.path) as file:
        stop = file.size() if span.stop is None else span.stop
        length = stop - span.start
        step = max(length / _COUNTED_PLACES, 1)
        n_lines = n_bytes = 0
        for i in range(math.ceil(length / step)):
            start, end = span.start + round(i * step), span.start + round((i + 1) * step)
            data = file.read_at(min(end - start, _COUNTED_BYTES), start)
            n_lines, n_bytes = n_lines + data.count(b"\n"), n_bytes + len(data)
        if n_bytes and n_bytes == length and not data.endswith(b"\n"):
            n_lines += 1
    return round(n_lines * length / n_bytes) if n_bytes else 0
