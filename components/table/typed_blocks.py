"""Blocks of typed columns: from the row groups of a Parquet file, or a stream of BigQuery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.errors import SourceError
from quatrain.components.storage import open_file
from quatrain.components.table import bigquery
from quatrain.components.table.block import Block
from quatrain.components.table.range import EvenPlaces, Range
from quatrain.components.table.values.conversion import USUAL
from quatrain.components.table.values.typed import from_typed
from quatrain.components.wording import first_line
from quatrain.trainer.features.text_format import Spelling

BLOCK_ROWS = 1 << 16
"""Enough rows that DuckDB's 2 ms for each batch hardly count; few enough to bound memory."""
MAX_DECODED_ROWS = 4_000_000
"""The rows that a sample decodes to find its own, since a row group is read from its start."""
BUFFER_BYTES = 1 << 20
"""Pages are read as they are needed, since a row group may be larger than memory."""


def read_blocks(
    span: Range,
    columns: Mapping[str, str],
    block_rows: int = BLOCK_ROWS,
    spellings: Mapping[str, Spelling] = {},
) -> Iterator[Block]:
    """Yields the rows of a range of row groups.

    Raises:
        SourceError: The file cannot be read, or a column cannot be read as its declared type.
    """
    try:
        with open_file(span.path) as file:
            parquet = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
            metadata = parquet.metadata
            stop = metadata.num_row_groups if span.stop is None else span.stop
            if span.sample:
                yield from _sampled(parquet, span, span.sample, columns, spellings)
                return
            position = sum(metadata.row_group(g).num_rows for g in range(span.start))
            for batch in _batches(parquet, range(span.start, stop), columns, block_rows):
                yield typed_block(batch, span.path, position, columns, spellings)
                position += batch.num_rows
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(
            f"{span.path} cannot be read: {first_line(error)}; write it again"
        ) from error


def read_stream(
    span: Range,
    columns: Mapping[str, str],
    spellings: Mapping[str, Spelling] = {},
    block_rows: int = BLOCK_ROWS,
) -> Iterator[Block]:
    """Yields the rows of a stream of BigQuery; a row's position is its number in the stream.

    Raises:
        SourceError: The stream cannot be read.
    """
    source, position = f"{span.path} stream {span.start}", 0
    wanted = span.sample.rows if span.sample else None
    for batch in _joined(bigquery.read_stream(span.path, span.stream), wanted or block_rows):
        batch = batch.slice(0, wanted)
        yield typed_block(batch, source, position, columns, spellings)
        position += batch.num_rows
        if wanted:
            return


def _batches(
    parquet: pq.ParquetFile, groups: range, columns: Mapping[str, str], rows: int
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of row groups, which may be larger than memory, in batches."""
    yield from parquet.iter_batches(
        rows, row_groups=list(groups), columns=list(columns), use_threads=False
    )


def _sampled(
    parquet: pq.ParquetFile,
    span: Range,
    sample: EvenPlaces,
    columns: Mapping[str, str],
    spellings: Mapping[str, Spelling],
) -> Iterator[Block]:
    """Yields the first rows of each equal part of a range of row groups, a block for each group."""
    metadata = parquet.metadata
    stop = metadata.num_row_groups if span.stop is None else span.stop
    ends = np.cumsum([metadata.row_group(g).num_rows for g in range(stop)], dtype=np.int64)
    bounds = np.concatenate([[0], ends])
    for group, places in places_by_group(bounds[span.start :], sample).items():
        group += span.start
        parts, position = [], 0
        for batch in _batches(parquet, range(group, group + 1), columns, BLOCK_ROWS):
            for first, n_rows in places:
                start = max(first - position, 0)
                if start < batch.num_rows and (n := first + n_rows - position - start) > 0:
                    parts.append((position + start, batch.slice(start, n)))
            position += batch.num_rows
            if position >= sum(places[-1]):
                break
        rows = [np.arange(at, at + part.num_rows) for at, part in parts]
        positions = pa.array(np.concatenate(rows) + bounds[group])
        joined = pa.concat_batches([part for _, part in parts])
        block = typed_block(joined, span.path, 0, columns, spellings)
        yield replace(block, positions=positions)


def places_by_group(bounds: np.ndarray, sample: EvenPlaces) -> dict[int, list[tuple[int, int]]]:
    """Returns where a sample lies: for each row group, the first row and the length of each place.

    Where the groups with places have more than `MAX_DECODED_ROWS`, the places of each move towards
    its start, which it must be read from.

    Args:
        bounds: The row at which each group starts, and the end of the last one, `[G + 1]`.
        sample: How many places, and rows of each, there are.
    """
    start, stop = int(bounds[0]), int(bounds[-1])
    n_rows = stop - start
    firsts = sorted({start + i * n_rows // sample.places for i in range(sample.places)})
    found: dict[int, list[tuple[int, int]]] = {}
    for first, after in pairwise([*firsts, stop]) if n_rows else ():
        end = min(first + sample.rows, after)
        while first < end:  # a place may go over the end of a group
            group = int(np.searchsorted(bounds, first, side="right")) - 1
            here = min(end, int(bounds[group + 1]))
            found.setdefault(group, []).append((first - int(bounds[group]), here - first))
            first = here
    most = max(MAX_DECODED_ROWS // max(len(found), 1), 1)
    sizes = {group: int(bounds[group + 1] - bounds[group]) for group in found}
    return {g: _moved(places, min(most / sizes[g], 1.0)) for g, places in found.items()}


def _moved(places: list[tuple[int, int]], share: float) -> list[tuple[int, int]]:
    """Returns the places of a row group, moved into a share of it at its start."""
    firsts = [int(first * share) for first, _ in places]
    gaps = [after - first for first, after in pairwise(firsts)] + [places[-1][1]]
    return [(a, min(n, gap)) for a, gap, (_, n) in zip(firsts, gaps, places, strict=True)]


def _joined(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Joins small batches: DuckDB takes 2 ms for each one, and BigQuery sends about 1 MB."""
    pending: list[pa.RecordBatch] = []
    for batch in batches:
        pending.append(batch)
        if sum(b.num_rows for b in pending) >= rows:
            yield pa.concat_batches(pending)
            pending = []
    if pending:
        yield pa.concat_batches(pending)


def typed_block(
    batch: pa.RecordBatch,
    source: str,
    position: int,
    columns: Mapping[str, str],
    spellings: Mapping[str, Spelling],
) -> Block:
    """Returns the block of a batch of typed columns.

    Args:
        batch: The rows, with the declared columns and perhaps others.
        source: Where they come from.
        position: The position of the first row there.
        columns: The declared type of each column to convert.
        spellings: How values are written, for columns that are not written in the usual way.

    Raises:
        SourceError: A column cannot be read as its declared type.
    """
    batch = _without_views(batch)
    converted = {
        n: from_typed(n, batch.column(n), t, spellings.get(n, USUAL)) for n, t in columns.items()
    }
    block = Block(
        source,
        pa.record_batch([c for c, _ in converted.values()], names=list(converted)),
        pa.array(range(position, position + batch.num_rows), pa.int64()),
        batch.to_struct_array(),
    )
    return block.with_faults([f for _, faults in converted.values() for f in faults])


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns string views as strings: pyarrow 25.0 cannot take single rows of them."""
    views = [f for f in batch.schema if pa.types.is_string_view(f.type)]
    for field in views:
        at = batch.schema.get_field_index(field.name)
        batch = batch.set_column(at, field.with_type(pa.string()), batch[at].cast(pa.string()))
    return batch
