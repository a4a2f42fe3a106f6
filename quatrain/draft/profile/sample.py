"""A bounded sample of a table: its format, its header and some of its rows, evenly spread."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quatrain.components.errors import SourceError
from quatrain.components.specification.encodings import UTF_8
from quatrain.components.specification.source import Source, is_table
from quatrain.components.storage import open_file, read_head
from quatrain.components.table.block import REJECTED, Block
from quatrain.components.table.csv_blocks import read_blocks
from quatrain.components.table.files import list_files
from quatrain.components.table.header import (
    DELIMITERS,
    read_footer,
    read_header,
    read_keys,
    values_of,
)
from quatrain.components.table.json_blocks import fragments_of, keys_of, read_objects
from quatrain.components.table.partitions import (
    partition_keys,
    partition_values,
    with_partition,
)
from quatrain.components.table.range import Range
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.text_pieces import BLOCK_BYTES
from quatrain.components.table.values.bounds import TYPES
from quatrain.components.table.values.conversion import from_json, text_of_json
from quatrain.components.table.values.typed import can_convert, from_typed
from quatrain.components.uris import check_uri
from quatrain.components.wording import counted, first_line
from quatrain.draft.profile.text_head import (
    ALIKE,
    LEAST_LINES,
    LINES,
    Header,
    TextHead,
    find_header,
    guess_encoding,
    read_text_head,
)

PLACES = 16
PLACE_BYTES = 1 << 20
"""A CSV of up to 16 MB is read whole; a larger one in sixteen parts of 1 MB, evenly spread.

The head of a file alone would not do: rows are often sorted, and then the head has one month, one
customer or one class.
"""
STREAMED_BLOCKS = 4
"""A file that cannot be cut, such as a compressed one, is read from its start: 4 blocks of 4 MB."""
SAMPLE_ROWS = 1 << 17
"""The most rows read from Parquet files, from up to sixteen row groups."""
TOLERATED = 0.005
"""The share of cells that may fail to convert to a column's type; their rows are rejected."""
MOST_FOOTERS = 5
"""The most rows at the end of a table that are no rows like the others."""
SUMS = re.compile(
    r"\W*(?:(?:grand|sub)[ -]?)?(?:totals?|sum|average|mean|gesamt|summe|insgesamt|totale|somme"
    r"|suma)(?: general| général)?\W*",
    re.IGNORECASE,
)
"""Words for a row that sums up the others."""
_PARQUET = b"PAR1"
_SURPLUS = (
    "rows end with up to {} more than the header has names for; the empty values there are not read"
)


@dataclass(frozen=True)
class Sample:
    """A sample of a table.

    Attributes:
        source: The source as a spec describes it, without spellings of a missing value.
        names: The names in the header, in the order of the file, with duplicates.
        table: The columns that have a name of their own. Those of a CSV are text, null where a
            cell is empty; those of a Parquet file have their types there.
        unreadable: Why other columns are not in the table, by name.
        rows: The number of rows in the whole source, an estimate unless `whole`; 0: unknown.
        whole: Whether every row is in the sample.
        places: The number of places in the source that the rows come from.
        rejected: The number of rows that do not parse, by reason.
        headers: The rows of the sample that repeat the header; they are not in the table.
        rejected_rows: The rows that do not parse, with the schema `REJECTED`.
        remarks: What a reader of the spec should know about the file.
        footers: The column and the text that tell each row at the end which sums up the others, or
            is a note; they are not in the table.
    """

    source: Source
    names: tuple[str, ...]
    table: pa.Table
    unreadable: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    whole: bool = True
    places: int = 1
    rejected: Counter[str] = field(default_factory=Counter)
    headers: tuple[int, ...] = ()
    rejected_rows: pa.Table = field(default_factory=REJECTED.empty_table)
    remarks: tuple[str, ...] = ()
    footers: tuple[tuple[str, str], ...] = ()

    @property
    def sentence(self) -> str:
        """A description of the sampled rows, in words."""
        rows = counted(self.table.num_rows, "row")
        if self.whole:
            return f"all {rows}"
        if not self.is_spread:
            return f"the first {rows}, because the file cannot be cut"
        return f"{rows} in {counted(self.places, 'place')}, of about {self.rows:,}"

    @property
    def is_spread(self) -> bool:
        """Whether the rows come from all over the source, and not only from its start."""
        return self.whole or self.places > 1


def draw_sample(uri: str) -> Sample:
    """Reads a bounded sample of a file or glob; the same files give the same sample.

    Raises:
        SourceError: The file does not exist, or is not a table that can be read.
    """
    if is_table(uri):
        raise SourceError(
            f"{uri}: init reads files; export some rows to Parquet, run init on them, and then "
            f"write the table into source.uri of the spec"
        )
    check_uri(uri)
    files = list_files(Source(uri=(uri,)))
    first = files[0][0]
    if read_head(first, len(_PARQUET)) == _PARQUET:
        return _of_parquet(Source(uri=(uri,), format="parquet", nulls=()), files)
    head = read_text_head(first)
    source = Source(uri=(uri,), nulls=(), encoding=head.encoding)
    if re.match(r'\s*\{\s*["}]', head.text):
        return _of_json(replace_source(source, format="jsonl", optional_keys=True), files)
    header = find_header(head.lines)
    if header is None:
        return _of_csv_in_lines(
            replace_source(source, delimiter=sniff_delimiter(head.lines)), files, head
        )
    source = replace_source(
        source,
        delimiter=header.delimiter,
        skip_rows=len(header.above),
        skip_rows_after_header=header.below,
    )
    sample = _of_csv_in_lines(source, files, head)
    return replace(sample, remarks=(*sample.remarks, *_around(header)))


def _around(header: Header) -> Iterator[str]:
    """Yields what is left out around a header."""
    if header.above:
        shown = next((line for line in header.above if line.strip()), "")[:60]
        yield (
            f"the header is in line {len(header.above) + 1}; source.skip_rows leaves out what "
            f"stands above: {shown!r}"
        )
    if header.below:
        shown = ", ".join(cell for cell in header.rows[1] if cell.strip())[:60]
        yield (
            f"below the header, {counted(header.below, 'line')} of units or the like: {shown!r}; "
            f"source.skip_rows_after_header leaves out such lines"
        )


def _of_csv_in_lines(source: Source, files: list[tuple[str, int]], head: TextHead) -> Sample:
    """Samples a CSV by lines, or by rows of more lines if fewer rows are rejected so.

    Raises:
        SourceError: It cannot be read, or its quotes are escaped by backslashes.
    """
    try:
        by_line = _in_its_encoding(source, files)
    except SourceError:
        joined = _joined(source, files) if '"' in head.text else None
        if joined is None:
            raise
        return joined
    is_escaped = by_line.rejected["escaped_quote"] > 0
    if not is_escaped and not by_line.rejected["unclosed_quote"]:
        return by_line
    joined = _joined(source, files)
    if joined and joined.rejected.total() < (1 if is_escaped else by_line.rejected.total()):
        return joined
    if is_escaped:
        is_it = pc.equal(by_line.rejected_rows.column("reason"), "escaped_quote")
        row = by_line.rejected_rows.filter(is_it).slice(0, 1).to_pylist()[0]
        shown = row["row"][:60].decode(errors="replace")
        raise SourceError(f"{row['source']}: in the row {shown!r}, {row['detail']}")
    return by_line


def _joined(source: Source, files: list[tuple[str, int]]) -> Sample | None:
    """Samples a CSV whose values, or names, may go on in the next line; None if it cannot be."""
    try:
        return _in_its_encoding(replace_source(source, quoted_newlines=True), files)
    except SourceError:
        return None


def _in_its_encoding(source: Source, files: list[tuple[str, int]]) -> Sample:
    """Samples a CSV; if all text beyond ASCII is not UTF-8, once more in another encoding."""
    sample = _of_csv(source, files)
    if source.encoding != UTF_8 or not sample.rejected["bad_encoding"]:
        return sample
    texts = [name for name in sample.names if not name.isascii()]
    for column in sample.table.columns:
        texts += column.filter(pc.invert(pc.string_is_ascii(column))).slice(0, 1).to_pylist()
    if texts:
        return sample
    is_bad = pc.equal(sample.rejected_rows.column("reason"), "bad_encoding")
    rows = sample.rejected_rows.filter(is_bad).column("row").slice(0, LINES).to_pylist()
    encoding = guess_encoding(b"\n".join(rows), files[0][0])
    return (
        sample if encoding == UTF_8 else _of_csv(replace_source(source, encoding=encoding), files)
    )


def replace_source(source: Source, **changes: object) -> Source:
    """Returns a source with some of its settings changed."""
    return source.model_copy(update=changes)


def sniff_delimiter(lines: Sequence[str]) -> str:
    """Returns the delimiter that cuts the first lines into the most columns.

    It must cut four of five lines into as many values as the header; if none does, returns a comma.
    """
    best, columns = ",", 1
    for delimiter in DELIMITERS:
        widths = [len(row) for row in values_of(lines[:LINES], delimiter)]
        n_like_header = sum(w == widths[0] for w in widths) if widths else 0
        if n_like_header >= ALIKE * len(widths) and widths[:1] > [columns]:
            best, columns = delimiter, widths[0]
    return best


def _of_csv(source: Source, files: list[tuple[str, int]]) -> Sample:
    """Samples a CSV as text; an empty cell is null."""
    names, _, surplus = read_header(files[0][0], source)
    counts = Counter(names)
    unreadable = {
        name: "it has no name" if not name else f"{counted(count, 'column', 'have')} this name"
        for name, count in counts.items()
        if count > 1 or not name
    }
    columns = {name: "string" for name in names if name not in unreadable}
    if not columns:
        raise SourceError(
            f"{files[0][0]}: no column of the header {list(names)} has a name of its own; give "
            "each column one"
        )
    ranges = plan_ranges(source, columns, PLACE_BYTES, files)
    chosen = [ranges[i] for i in spread(len(ranges), PLACES)]
    keys = _keys_beside(names, files)
    blocks, exhausted = _blocks(chosen, source, columns, keys)
    batches = [block.batch for block in blocks]
    rejected = pa.Table.from_batches([block.rejected for block in blocks], REJECTED)
    reasons = Counter(rejected.column("reason").to_pylist())
    schema = pa.schema([(name, pa.string()) for name in (*columns, *keys)])
    table, headers = _without_headers(pa.Table.from_batches(batches, schema), list(columns))
    table, footers = _without_footers(table, list(columns)) if exhausted else (table, ())
    whole = exhausted and len(chosen) == len(ranges)
    n_read = table.num_rows + len(headers) + len(footers) + reasons.total()
    n_bytes = sum(span.stop - span.start for span in chosen if span.stop is not None)
    rows = round(sum(size for _, size in files) * n_read / n_bytes) if n_bytes else 0
    return Sample(
        source,
        (*names, *keys),
        table,
        unreadable,
        n_read if whole else rows,
        whole,
        len(chosen) if exhausted else 1,
        reasons,
        headers,
        rejected,
        (_SURPLUS.format(counted(surplus, "delimiter")),) if surplus else (),
        footers,
    )


def _without_headers(table: pa.Table, names: list[str]) -> tuple[pa.Table, tuple[int, ...]]:
    """Returns a table without the rows that hold the names of its columns, and these rows.

    Such a row stands where one export was appended to another.

    Args:
        table: The rows.
        names: The columns that are in the file, and not in its path.
    """
    rows = np.arange(table.num_rows)
    for name in names if len(names) > 1 else []:
        cells = table.column(name).take(pa.array(rows))
        same = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(cells), name.strip()), False)
        rows = rows[same.to_numpy()]
        if not len(rows):
            return table, ()
    if not len(rows) or len(names) < 2:
        return table, ()
    kept = np.ones(table.num_rows, bool)
    kept[rows] = False
    return table.filter(pa.array(kept)), tuple(rows.tolist())


def _without_footers(
    table: pa.Table, names: list[str]
) -> tuple[pa.Table, tuple[tuple[str, str], ...]]:
    """Returns a table without rows at its end that sum up the others or are notes, and these rows.

    Such a row has a word for a sum, which stands nowhere else in its column, or a text of several
    words in its first column alone.
    """
    footers: list[tuple[str, str]] = []
    while table.num_rows > LEAST_LINES and len(footers) < MOST_FOOTERS and len(names) > 2:
        cells = table.slice(table.num_rows - 1).select(names).to_pylist()[0]
        texts = {name: cell for name, cell in cells.items() if cell is not None}
        sums = [name for name, cell in texts.items() if SUMS.fullmatch(cell)]
        if list(texts) == names[:1] and re.search(r"\A\W|\s", texts[names[0]]):
            sums = names[:1]
        if not sums or pc.sum(pc.equal(table.column(sums[0]), texts[sums[0]])).as_py() > 1:
            break
        footers.insert(0, (sums[0], texts[sums[0]]))
        table = table.slice(0, table.num_rows - 1)
    return table, tuple(footers)


def spread(n: int, places: int) -> list[int]:
    """Returns up to `places` indices below `n`, evenly spread from the first to the last."""
    if n <= places:
        return list(range(n))
    return sorted({i * (n - 1) // (places - 1) for i in range(places)})


def _blocks(
    ranges: list[Range], source: Source, columns: dict[str, str], keys: Sequence[str]
) -> tuple[list[Block], bool]:
    """Returns the first blocks of each range, and whether they hold every row of the ranges."""
    blocks: list[Block] = []
    exhausted = True
    for span in ranges:
        stream = read_blocks(span, source, columns, BLOCK_BYTES)
        found = [block.without_faults() for block in islice(stream, STREAMED_BLOCKS)]
        in_path = _in_path(span.path, keys)
        blocks += [with_partition(block, in_path, (*columns, *keys)) for block in found]
        exhausted &= next(stream, None) is None
    return blocks, exhausted


def _keys_beside(names: Sequence[str], files: list[tuple[str, int]]) -> tuple[str, ...]:
    """Returns the columns that are in the paths of all files, and not in the files."""
    return tuple(key for key in partition_keys(path for path, _ in files) if key not in names)


def _in_path(path: str, keys: Sequence[str]) -> dict[str, pa.Scalar]:
    """Returns the texts of columns that are in a file's path."""
    return partition_values(path, keys, dict.fromkeys(keys, "string"), {})


def _of_parquet(source: Source, files: list[tuple[str, int]]) -> Sample:
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
    keys = _keys_beside(names, files)
    columns, unreadable = _united({path: schema for path, (_, schema) in footers.items()})
    tables = []
    for path, group, _ in chosen:
        schema = pa.schema([footers[path][1].field(name) for name in columns])
        rows = _flat(pa.Table.from_batches(_rows_of(path, group, list(columns), each), schema))
        for name, value in _in_path(path, keys).items():
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
    )


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


def _of_json(source: Source, files: list[tuple[str, int]]) -> Sample:
    """Samples JSON Lines as text, as the pipeline reads them; a key that a row lacks is null."""
    names, _ = read_keys(files[0][0], source.encoding)
    ranges = plan_ranges(source, dict.fromkeys(names, "string"), PLACE_BYTES, files)
    chosen = [ranges[i] for i in spread(len(ranges), PLACES)]
    blocks, exhausted = [], True
    keys = _keys_beside(names, files)
    for span in chosen:
        stream = read_objects(span, source.encoding)
        found = [block.without_faults() for block in islice(stream, STREAMED_BLOCKS)]
        in_path = _in_path(span.path, keys)
        blocks += [with_partition(block, in_path, ("text", *keys)) for block in found]
        exhausted &= next(stream, None) is None
    if not blocks:
        raise SourceError(f"{files[0][0]}: there are no rows; add some")
    reasons: Counter[str] = Counter()
    for block in blocks:
        reasons.update(block.rejected.column("reason").to_pylist())
    objects = pa.Table.from_batches([block.batch for block in blocks]).combine_chunks()
    text = objects.column("text").combine_chunks()
    names = tuple(dict.fromkeys((*names, *keys_of(text))))
    fragments = fragments_of(text, list(names))
    unreadable = {n: why for n, column in fragments.items() if (why := _no_column(column))}
    columns = {n: text_of_json(c) for n, c in fragments.items() if n not in unreadable}
    keys = tuple(key for key in keys if key not in names)  # a later row may have the key itself
    columns |= {key: objects.column(key).combine_chunks() for key in keys}
    whole = exhausted and len(chosen) == len(ranges)
    n_read = rows = len(text) + reasons.total()
    if not whole:
        n_bytes = sum(span.stop - span.start for span in chosen if span.stop is not None)
        rows = round(sum(size for _, size in files) * n_read / n_bytes) if n_bytes else 0
    return Sample(
        replace_source(source, optional_keys=any(c.null_count for c in fragments.values())),
        (*names, *keys),
        pa.table(columns) if columns else pa.table({}),
        unreadable,
        rows,
        whole,
        len(chosen) if exhausted else 1,
        reasons,
    )


def _no_column(fragments: pa.Array) -> str:
    """Returns why no type reads the values of a key; empty if one does."""
    kinds = {"{": "an object", "[": "an array"}
    starts = pc.utf8_slice_codeunits(fragments, 0, 1).unique().to_pylist()
    if nested := [kind for start, kind in kinds.items() if start in starts]:
        return f"it is {nested[0]}"
    n_bad = [
        sum(len(f.rows) for f in from_json("", fragments, type_)[1])
        for type_ in ("string", "float", "bool")
    ]
    if min(n_bad) > TOLERATED * len(fragments):
        return "it has values of several kinds, such as texts beside fractions"
    return ""


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
