"""A bounded look at a table: how it is written, its header and some of its rows, evenly spread."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import pyarrow as pa
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source, is_table
from quatrain.components.storage import compression_of, open_file, read_head
from quatrain.components.table.block import Block
from quatrain.components.table.csv_blocks import read_blocks
from quatrain.components.table.files import list_files
from quatrain.components.table.header import read_footer, read_header, read_keys
from quatrain.components.table.range import Range
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.text_pieces import BLOCK_BYTES, pieces
from quatrain.components.wording import first_line

PLACES = 16
PLACE_BYTES = 1 << 20
"""A CSV up to 16 MB is read whole; of a larger one sixteen parts of 1 MB, evenly spread."""
STREAMED_BLOCKS = 4
"""A file that cannot be cut is read from its start: four blocks of 4 MB."""
SAMPLE_ROWS = 1 << 17
"""Rows read of a Parquet file, in sixteen places where it has as many row groups."""
HEAD_BYTES = 1 << 16
DELIMITERS = (",", ";", "\t", "|")
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Sample:
    """What was read of a table.

    Attributes:
        source: How the file is written, with no spelling of a missing value but the empty one.
        names: The header, in the file's order, with what stands in it twice.
        table: A column for each name that can be addressed. Of a CSV as text, null where a cell is
            empty; of a Parquet file as it is typed.
        unreadable: Why other columns are not in the table, by name.
        rows: Rows of the whole source, estimated unless `whole`; 0 is unknown.
        whole: Whether every row is in the sample.
        places: From how many places of the source they come.
        rejected: Rows that do not parse, by reason.
    """

    source: Source
    names: tuple[str, ...]
    table: pa.Table
    unreadable: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    whole: bool = True
    places: int = 1
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def sentence(self) -> str:
        """Says what was read."""
        read = f"{self.table.num_rows:,} rows"
        if self.whole:
            return f"all {read}"
        if not self.is_spread:
            return f"the first {read}, as the file cannot be cut"
        return f"{read} in {self.places} places, of about {self.rows:,}"

    @property
    def is_spread(self) -> bool:
        """Whether the rows come from all over the source, not from its start alone."""
        return self.whole or self.places > 1


def sample(uri: str) -> Sample:
    """Reads a bounded sample of a file or glob; the same files give the same sample.

    Raises:
        SourceError: It is not there, or is no table that can be read.
    """
    if is_table(uri):
        raise SourceError(
            f"{uri}: init reads files; export some rows to Parquet, let it write the spec for "
            f"them, and put the table as source.uri into it"
        )
    files = list_files(Source(uri=(uri,)))
    first = files[0][0]
    head = read_head(first, HEAD_BYTES, compression_of(first))
    if head.startswith(_PARQUET):
        return _of_parquet(Source(uri=(uri,), format="parquet", nulls=()), files)
    if re.match(rb'(?:\xef\xbb\xbf)?\s*\{\s*["}]', head):
        return _of_json(Source(uri=(uri,), format="jsonl", nulls=(), optional_keys=True), files)
    delimiter = sniff_delimiter(head)
    source = Source(uri=(uri,), nulls=(), delimiter=delimiter)
    found = _of_csv(source, files)
    if not found.rejected["unclosed_quote"]:
        return found
    try:  # a quote that is open at a line's end may go on in the next line
        joined = _of_csv(replace_source(source, quoted_newlines=True), files)
    except SourceError:
        return found
    return joined if joined.rejected.total() < found.rejected.total() else found


def replace_source(source: Source, **changes: object) -> Source:
    """Returns a source with other settings."""
    return source.model_copy(update=changes)


def sniff_delimiter(head: bytes) -> str:
    """Returns the character that cuts the first lines into most columns, nearly all as the header.

    The comma where none does.
    """
    whole = head if len(head) < HEAD_BYTES else head[: head.rfind(b"\n") + 1] or head
    lines = whole.decode("utf-8", errors="replace").splitlines()[:200]
    best, columns = ",", 1
    for delimiter in DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        as_header = sum(w == widths[0] for w in widths) if widths else 0
        if as_header >= 0.8 * len(widths) and widths[:1] > [columns]:
            best, columns = delimiter, widths[0]
    return best


def _of_csv(source: Source, files: list[tuple[str, int]]) -> Sample:
    names, _ = read_header(files[0][0], source)
    counts = Counter(names)
    unreadable = {
        name: "it has no name" if not name else f"{count} columns have this name"
        for name, count in counts.items()
        if count > 1 or not name
    }
    columns = {name: "string" for name in names if name not in unreadable}
    if not columns:
        raise SourceError(f"{files[0][0]}: no column of the header {list(names)} can be named")
    ranges = plan_ranges(source, columns, PLACE_BYTES, files)
    chosen = [ranges[i] for i in spread(len(ranges), PLACES)]
    blocks, exhausted = _blocks(chosen, source, columns)
    batches = [block.batch for block in blocks]
    reasons: Counter[str] = Counter()
    for block in blocks:
        reasons.update(block.rejected.column("reason").to_pylist())
    schema = pa.schema([(name, pa.string()) for name in columns])
    table = pa.Table.from_batches(batches, schema)
    whole = exhausted and len(chosen) == len(ranges)
    read = table.num_rows + reasons.total()
    cut = [span for span in chosen if span.stop is not None]
    n_bytes = sum(span.stop - span.start for span in cut if span.stop is not None)
    rows = round(sum(size for _, size in files) * read / n_bytes) if n_bytes else 0
    return Sample(
        source,
        names,
        table,
        unreadable,
        read if whole else rows,
        whole,
        len(chosen) if exhausted else 1,
        reasons,
    )


def spread(n: int, places: int) -> list[int]:
    """Returns up to `places` indices below `n`, evenly spread, the last one among them."""
    if n <= places:
        return list(range(n))
    return sorted({i * (n - 1) // (places - 1) for i in range(places)})


def _blocks(
    ranges: list[Range], source: Source, columns: dict[str, str]
) -> tuple[list[Block], bool]:
    """Returns blocks of text, and whether they are all that the ranges hold."""
    blocks: list[Block] = []
    exhausted = True
    for span in ranges:
        read = read_blocks(span, source, columns, BLOCK_BYTES)
        blocks += [block.without_faults() for block in islice(read, STREAMED_BLOCKS)]
        exhausted &= next(read, None) is None
    return blocks, exhausted


def _of_parquet(source: Source, files: list[tuple[str, int]]) -> Sample:
    footers = {path: read_footer(path, n_bytes) for path, n_bytes in files}
    groups = [
        (path, group, metadata.row_group(group).num_rows)
        for path, (metadata, _) in footers.items()
        for group in range(metadata.num_row_groups)
    ]
    if not groups:
        raise SourceError(f"{files[0][0]}: there are no rows, only a schema")
    total = sum(rows for *_, rows in groups)
    whole = total <= SAMPLE_ROWS
    chosen = groups if whole else [groups[i] for i in spread(len(groups), PLACES)]
    each = SAMPLE_ROWS if whole else -(-SAMPLE_ROWS // len(chosen))
    _, schema = footers[files[0][0]]
    unreadable = {f.name: f"it is {f.type}" for f in schema if not is_flat(f.type)}
    names = [n for n in dict.fromkeys(schema.names) if n not in unreadable]
    tables = [
        _flat(pa.Table.from_batches(_rows_of(path, group, names, each)))
        for path, group, _ in chosen
    ]
    table = pa.concat_tables(tables, promote_options="permissive")
    found = Sample(source, tuple(schema.names), table, unreadable, total)
    return replace(found, whole=whole, places=len(chosen))


def _of_json(source: Source, files: list[tuple[str, int]]) -> Sample:
    """Reads JSON Lines as their values are typed; a key that rows lack is missing there."""
    names, _ = read_keys(files[0][0])
    ranges = plan_ranges(source, dict.fromkeys(names, "string"), PLACE_BYTES, files)
    chosen = [ranges[i] for i in spread(len(ranges), PLACES)]
    tables, n_bytes, exhausted = [], 0, True
    for span in chosen:
        read = pieces(span, BLOCK_BYTES, quoted_newlines=False)
        for _, data, _ in islice(read, STREAMED_BLOCKS):
            tables.append(_parsed(span.path, data))
            n_bytes += len(data)
        exhausted &= next(read, None) is None
    if not tables:
        raise SourceError(f"{files[0][0]}: there are no rows")
    table = pa.concat_tables(tables, promote_options="permissive")
    unreadable = {f.name: f"it is {f.type}" for f in table.schema if not is_flat(f.type)}
    table = table.drop_columns(list(unreadable))
    whole = exhausted and len(chosen) == len(ranges)
    rows = table.num_rows if whole else 0
    if exhausted and not whole:
        rows = round(sum(size for _, size in files) * table.num_rows / n_bytes)
    lacks = any(column.null_count for column in table.columns)
    return Sample(
        replace_source(source, optional_keys=lacks),
        tuple(dict.fromkeys((*names, *table.column_names))),
        table,
        unreadable,
        rows,
        whole,
        len(chosen) if exhausted else 1,
    )


def _parsed(path: str, data: bytes) -> pa.Table:
    options = pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        return pa_json.read_json(pa.BufferReader(data), options)
    except pa.ArrowInvalid as error:
        raise SourceError(
            f"{path}: {first_line(error)}; each line must be one object, and the values of a key "
            f"of one kind"
        ) from error


def is_flat(type_: pa.DataType) -> bool:
    """Whether a column of a Parquet file holds one value a row that some type of a spec reads."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    tests = (
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean),
        *(pa.types.is_timestamp, pa.types.is_date, pa.types.is_null),
    )
    return any(test(type_) for test in tests)


def _rows_of(path: str, group: int, names: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Yields the first rows of a row group."""
    try:
        with open_file(path) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False)
            for batch in parquet.iter_batches(8192, row_groups=[group], columns=names):
                yield batch.slice(0, rows)
                rows -= batch.num_rows
                if rows <= 0:
                    return
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def _flat(table: pa.Table) -> pa.Table:
    """Returns dictionaries and the kinds of text as plain text, and decimals as floats."""
    for i, found in enumerate(table.schema):
        type_ = found.type
        if pa.types.is_dictionary(type_):
            type_ = type_.value_type
        if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
            type_ = pa.string()
        if pa.types.is_decimal(type_) or pa.types.is_float16(type_):
            type_ = pa.float64()
        if type_ != found.type:
            table = table.set_column(i, found.name, table.column(i).cast(type_))
    return table
