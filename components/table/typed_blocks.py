"""Blocks of typed columns: from the row groups of a Parquet file, or a stream of BigQuery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.errors import SourceError
from quatrain.components.storage import open_file
from quatrain.components.table import bigquery
from quatrain.components.table.block import Block
from quatrain.components.table.range import Range
from quatrain.components.table.values.conversion import USUAL
from quatrain.components.table.values.typed import from_typed
from quatrain.components.wording import first_line
from quatrain.trainer.features.text_format import Spelling

BLOCK_ROWS = 1 << 16
"""Enough rows that DuckDB's 2 ms for each batch hardly count; few enough to bound memory."""
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
            position = sum(metadata.row_group(g).num_rows for g in range(span.start))
            for batch in parquet.iter_batches(
                block_rows,
                row_groups=list(range(span.start, stop)),
                columns=list(columns),
                use_threads=False,
            ):
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
    for batch in _joined(bigquery.read_stream(span.path, span.stream), block_rows):
        yield typed_block(batch, source, position, columns, spellings)
        position += batch.num_rows


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
