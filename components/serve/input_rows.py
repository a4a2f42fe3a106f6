"""The rows to predict, in the order of their file, and the columns to copy beside the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from quatrain.components.errors import SourceError
from quatrain.components.serve.input_file import source_of
from quatrain.components.serve.served_model import (
    BATCH_ROWS,
    prediction_schema,
)
from quatrain.components.specification.source import Source
from quatrain.components.table import bigquery
from quatrain.components.table.block import Block
from quatrain.components.table.files import list_files
from quatrain.components.table.header import check_columns, read_footer
from quatrain.components.table.range import Range
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.read import read_range
from quatrain.components.table.sql import run_query
from quatrain.components.table.values.bounds import TYPES
from quatrain.components.table.values.typed import can_convert
from quatrain.components.wording import near
from quatrain.trainer.features.text_format import Spelling
from quatrain.trainer.features.transform import Transform


@dataclass(frozen=True)
class InputRows:
    """The rows to predict.

    Attributes:
        source: The file, and how its values are written.
        spans: The ranges in which it is read.
        columns: The type of each column that is read: the inputs, and the columns to keep.
        spellings: How inputs are written, for those that are not written in the usual way.
        keep: The columns to copy to the left of the answers.
    """

    source: Source
    spans: Sequence[Range]
    columns: Mapping[str, str]
    spellings: Mapping[str, Spelling]
    keep: tuple[str, ...]

    @classmethod
    def of(
        cls,
        paths: str | Sequence[str],
        transform: Transform,
        keep: Sequence[str],
        project: str = "",
    ) -> InputRows:
        """Reads the headers of files and checks their columns.

        Args:
            paths: The files, by their paths, globs or gs:// uris; or tables of BigQuery.
            transform: The model's.
            keep: The columns to copy to the left of the answers.
            project: The project that pays for reading a table; by default the table's own.

        Raises:
            SourceError: A file cannot be read, or lacks an input or a column to keep.
        """
        answers = prediction_schema(transform).names
        if clashes := [name for name in keep if name in answers]:
            raise SourceError(f"--keep {clashes[0]}: an answer has this name; rename the column")
        source = source_of(paths, transform)
        inputs = {i.name: i.type for i in transform.inputs}
        spellings = {name: s for name, s in transform.text.columns.items() if name in inputs}
        files = list_files(source)
        columns = {**_types_to_read(keep, source, files, project), **inputs}
        spans = plan_ranges(
            source,
            columns,
            files=files,
            spellings=spellings,
            project=project,
            absent_hint=lambda name, names: (
                missing_input_hint(name, names) if name in inputs else near(name, names)
            ),
        )
        for span in spans if source.format == "jsonl" else ():
            check_columns(span.path, span.header, dict.fromkeys(keep, "string"), "")
        return cls(source, spans, columns, spellings, tuple(dict.fromkeys(keep)))

    def blocks(self) -> Iterator[tuple[Range, Block]]:
        """Yields the rows in the order of the file."""
        for span in self.spans:
            for block in self.blocks_of(span):
                yield span, block

    def blocks_of(self, span: Range) -> Iterator[Block]:
        """Yields the rows of a range, those that cannot be read as rejected."""
        for block in read_range(span, self.source, self.columns, self.spellings):
            yield block.without_faults()

    def batches(self, span: Range, block: Block) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        """Yields batches of the good rows of a block, and the texts of their columns to keep."""
        rows = block.batch_rows
        in_file = [name for name in self.keep if name in span.header]  # others are in its path
        for start in range(0, block.batch.num_rows, BATCH_ROWS):
            batch = block.batch.slice(start, BATCH_ROWS)
            raw = rows.slice(start, BATCH_ROWS)
            texts = _TEXTS[self.source.format](raw, span, self.source, in_file) if in_file else {}
            yield (
                batch,
                [
                    texts[name] if name in texts else batch.column(name).cast(pa.string())
                    for name in self.keep
                ],
            )


def _types_to_read(
    keep: Sequence[str], source: Source, files: Sequence[tuple[str, int]], project: str
) -> dict[str, str]:
    """Returns the type in which each column to keep is read.

    The columns are read only so that bad rows show; the output takes their texts from the rows as
    written. JSON Lines need no types, since a line is checked as a whole.
    """
    if source.format == "jsonl" or not keep:
        return {}
    if source.format == "csv":
        return dict.fromkeys(keep, "string")
    if source.format == "bigquery":
        schema = _stored_schema(files[0][0], keep, project)
    else:
        _, schema = read_footer(*files[0])
    stored = {name: schema.field(name).type for name in keep if schema.names.count(name) == 1}
    return {
        # Texts are read as texts: any type may be written as text, and may fail to convert.
        name: next(
            (t for t in ("string", *TYPES) if name in stored and can_convert(t, stored[name])),
            "string",
        )
        for name in keep
    }


def _stored_schema(uri: str, names: Sequence[str], project: str) -> pa.Schema:
    """Returns the Arrow types of columns of a table; nothing is read, so it costs nothing."""
    table = bigquery.find_table(uri)
    known = table.columns if table else ()
    check_columns(uri, known, dict.fromkeys(names, "string"), "")
    return bigquery.open_session(uri, list(names), 0, 1, project).schema


def missing_input_hint(name: str, names: Sequence[str]) -> str:
    """Returns the end of the message about an input that a file lacks."""
    close = near(name, names)
    if close.startswith("; did you mean"):
        return close
    return ", which the model needs; add it, with empty values where it is not known"


def _texts_of_csv(
    rows: pa.Array, span: Range, source: Source, names: Sequence[str]
) -> dict[str, pa.Array]:
    """Returns columns of good rows as they are written, null where a value is empty."""
    data = b"".join(rows.to_pylist())  # in UTF-8, whatever the encoding of the file
    table = pacsv.read_csv(
        pa.BufferReader(data),
        read_options=pacsv.ReadOptions(
            use_threads=False, block_size=len(data) + 1, column_names=span.header
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=source.delimiter,
            newlines_in_values=source.quoted_newlines,
            ignore_empty_lines=len(span.header) > 1,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=names,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    return {name: table.column(name).combine_chunks() for name in names}


def _texts_of_json(
    rows: pa.Array, _: Range, source: Source, names: Sequence[str]
) -> dict[str, pa.Array]:
    """Returns keys of objects: a string without its quotes, any other value as JSON writes it."""
    pointers = ["/" + name.replace("~", "~0").replace("/", "~1") for name in names]
    sql = "SELECT json_extract_string(text, $1::VARCHAR[]) AS texts FROM batch"
    lines = pa.table({"text": rows.cast(pa.string())})
    values = run_query(sql, lines, [pointers]).column("texts").combine_chunks().flatten()
    at = np.arange(len(rows)) * len(names)
    return {name: values.take(pa.array(at + i)) for i, name in enumerate(names)}


def _texts_of_typed(
    rows: pa.Array, _: Range, source: Source, names: Sequence[str]
) -> dict[str, pa.Array]:
    return {name: rows.field(name).cast(pa.string()) for name in names}


_TEXTS = {
    "csv": _texts_of_csv,
    "jsonl": _texts_of_json,
    "parquet": _texts_of_typed,
    "bigquery": _texts_of_typed,
}
