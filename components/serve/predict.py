"""Batch prediction: raw rows of a file through the serving signature, in the order of the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from quatrain.components.errors import ArtifactError, DataError, SourceError
from quatrain.components.serve.rejected_rows import ASIDE, BytesWriter, Rejects
from quatrain.components.serve.served_model import (
    BATCH_ROWS,
    ServedModel,
    prediction_schema,
    prediction_table,
    read_metadata,
)
from quatrain.components.specification.source import Source
from quatrain.components.storage import plain_name
from quatrain.components.table.block import Block
from quatrain.components.table.conversion import TYPES, can_convert
from quatrain.components.table.files import list_files
from quatrain.components.table.header import check_columns, read_footer
from quatrain.components.table.range import Range
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.read import read_range
from quatrain.components.table.sql import run_query
from quatrain.components.wording import near
from quatrain.trainer.features import raw_inputs
from quatrain.trainer.features.text_format import Spelling
from quatrain.trainer.features.transform import TextFormat, Transform

MODEL_PLACES = ("model", "model/model", "champion/model")
"""Where a run, a training job and the runs of a model keep it."""
_FORMATS = ("parquet", "jsonl")
"""Suffixes that name their format; any other file is a CSV."""
SHOWN_MODELS = 20
Writer: TypeAlias = "pq.ParquetWriter | pacsv.CSVWriter | BytesWriter"


@dataclass(frozen=True)
class Predictions:
    """Where the predictions are, how many, their columns, and how many rows were set aside."""

    path: Path
    rows: int
    columns: tuple[str, ...]
    rejected: int = 0


def predict(
    model: Path | str,
    source: Path | str,
    output: Path | str | None = None,
    *,
    keep: Sequence[str] = (),
    rejected: Path | str | None = None,
) -> Predictions:
    """Predicts every row of a raw CSV, Parquet or JSON Lines file, in its order.

    A CSV is read as the training table was: its spellings of missing, its delimiter.

    Args:
        model: A model folder, or a folder that has one named `model`.
        source: The file; it needs the model's inputs, any other column is not read.
        output: CSV or Parquet by its suffix; by default beside no input but in the current folder,
            as rows.predictions.csv for rows.csv. It is whole or absent.
        keep: Columns of the input that stand before the answers, as text.
        rejected: Where the rows go that cannot be read, a file as `output`; they are then no error.

    Raises:
        ArtifactError: The model is incomplete or altered.
        SourceError: The file cannot be read or lacks a column.
        DataError: A row cannot be read, and `rejected` names no file; no output is written.
    """
    folder = find_model(Path(model))
    read_metadata(folder)
    target, aside = _targets(Path(source), output, rejected)
    transform = Transform.from_json((folder / "transform.json").read_text(encoding="utf-8"))
    # A wrong file is told before TensorFlow is imported.
    given = _Given.of(source, transform, keep)
    schema = pa.schema(
        [*((name, pa.string()) for name in given.keep), *prediction_schema(transform)]
    )
    served = ServedModel.load(folder)
    files = {target: schema} if aside is None else {aside: ASIDE, target: schema}
    with _writers(files) as writers, Rejects(given.source) as rejects:
        for span, block in given.blocks():
            rejects.take(block, None if aside is None else writers[aside])
            if rejects.n and aside is None:
                continue  # what is left is only counted
            for batch, kept in given.batches(span, block):
                answers = served.answer(raw_inputs(batch, transform.inputs))
                answered = prediction_table(transform, answers).columns
                writers[target].write_table(pa.table([*kept, *answered], schema=schema))
        if rejects.n and aside is None:
            raise DataError(rejects.sentence)
    return Predictions(target, rejects.rows - rejects.n, tuple(schema.names), rejects.n)


def find_model(folder: Path) -> Path:
    """Returns the model folder: the one named, or the one named `model` in it.

    Raises:
        ArtifactError: Neither has metadata.json, which the training job writes last.
    """
    for candidate in (folder, *(folder / inside for inside in MODEL_PLACES)):
        if (candidate / "metadata.json").is_file():
            return candidate
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder; name a model, a run, or <root>/<name>")
    below = {folder / p.relative_to(folder).parts[0] for p in _metadata_below(folder)}
    if below:
        more = ", ..." if len(below) > SHOWN_MODELS else ""
        names = ", ".join(map(str, sorted(below)[:SHOWN_MODELS]))
        raise ArtifactError(f"{folder} is no model, but folders in it are; name one: {names}{more}")
    raise ArtifactError(
        f"{folder} holds no complete model: there is no metadata.json, which training writes last; "
        "name a run that reached it, as <root>/<name>/champion"
    )


def _metadata_below(folder: Path) -> Iterator[Path]:
    for inside in MODEL_PLACES:
        yield from folder.glob(f"*/{inside}/metadata.json")


def _described(source: Path | str, text: TextFormat) -> Source:
    """Returns the file as a source: its name says the format, the rest is as in training."""
    names = Path(source).name.split(".")[1:]
    form = next((form for form in _FORMATS if form in names), "csv")
    written = {f.name: getattr(text, f.name) for f in fields(text) if f.name != "columns"}
    return Source.model_validate({"uri": str(source), "format": form, **written})


@dataclass(frozen=True)
class _Given:
    """The rows to predict.

    Attributes:
        source: How they are written.
        spans: The ranges they are read in.
        columns: The type of each column that is read: the inputs, and what checks the kept ones.
        spellings: How inputs are written that are not written the usual way.
        keep: The columns that stand before the answers.
    """

    source: Source
    spans: Sequence[Range]
    columns: Mapping[str, str]
    spellings: Mapping[str, Spelling]
    keep: tuple[str, ...]

    @classmethod
    def of(cls, path: Path | str, transform: Transform, keep: Sequence[str]) -> _Given:
        """Looks at the file and its columns.

        Raises:
            SourceError: It cannot be read, or lacks an input or a column to keep.
        """
        answers = prediction_schema(transform).names
        if taken := [name for name in keep if name in answers]:
            raise SourceError(f"--keep {taken[0]}: an answer has this name; rename the column")
        source, written = _described(path, transform.text), transform.text.columns
        inputs = {i.name: i.type for i in transform.inputs}
        spellings = {name: s for name, s in written.items() if name in inputs}
        files = list_files(source)
        columns = {**_kept_types(keep, source, files), **inputs}
        spans = plan_ranges(
            source,
            columns,
            files=files,
            spellings=spellings,
            absent_hint=lambda name, names: (
                _needed(name, names) if name in inputs else near(name, names)
            ),
        )
        for span in spans if source.format == "jsonl" else ():
            check_columns(span.path, span.header, dict.fromkeys(keep, "string"), "")
        return cls(source, spans, columns, spellings, tuple(dict.fromkeys(keep)))

    def blocks(self) -> Iterator[tuple[Range, Block]]:
        """Yields the rows in their order."""
        for span in self.spans:
            for block in read_range(span, self.source, self.columns, self.spellings):
                yield span, block.without_faults()

    def batches(self, span: Range, block: Block) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        """Yields the good rows of a block, and the text of their kept columns."""
        rows = block.batch_rows
        inside = [name for name in self.keep if name in span.header]
        for start in range(0, block.batch.num_rows, BATCH_ROWS):
            batch = block.batch.slice(start, BATCH_ROWS)
            read = rows.slice(start, BATCH_ROWS)
            texts = _TEXTS[self.source.format](read, span, self.source, inside) if inside else {}
            yield (
                batch,
                [
                    texts[name] if name in texts else batch.column(name).cast(pa.string())
                    for name in self.keep
                ],
            )


def _kept_types(
    keep: Sequence[str], source: Source, files: Sequence[tuple[str, int]]
) -> dict[str, str]:
    """Returns the types that kept columns are read by, which only tell whether they are text."""
    if source.format == "jsonl":
        return {}  # a line is checked whole
    if source.format == "csv":
        return dict.fromkeys(keep, "string")
    _, schema = read_footer(*files[0])
    found = {name: schema.field(name).type for name in keep if schema.names.count(name) == 1}
    return {
        name: next((t for t in TYPES if name in found and can_convert(t, found[name])), "string")
        for name in keep
    }


def _needed(name: str, names: Sequence[str]) -> str:
    """Returns what to tell of an input that a file lacks."""
    close = near(name, names)
    if close.startswith("; did you mean"):
        return close
    return ", which the model needs; add it, with empty values where it is not known"


def _texts_of_csv(
    rows: pa.Array, span: Range, source: Source, names: Sequence[str]
) -> dict[str, pa.Array]:
    """Returns columns of sound rows as they are written, null where nothing is."""
    data = b"".join(rows.to_pylist())
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
    """Returns keys of objects: a text without its quotes, any other value as JSON writes it."""
    pointers = ["/" + name.replace("~", "~0").replace("/", "~1") for name in names]
    sql = "SELECT json_extract_string(text, $1::VARCHAR[]) AS found FROM batch"
    lines = pa.table({"text": rows.cast(pa.string())})
    values = run_query(sql, lines, [pointers]).column("found").combine_chunks().flatten()
    at = np.arange(len(rows)) * len(names)
    return {name: values.take(pa.array(at + i)) for i, name in enumerate(names)}


def _texts_of_parquet(
    rows: pa.Array, _: Range, source: Source, names: Sequence[str]
) -> dict[str, pa.Array]:
    return {name: rows.field(name).cast(pa.string()) for name in names}


_TEXTS = {"csv": _texts_of_csv, "jsonl": _texts_of_json, "parquet": _texts_of_parquet}


def _targets(
    source: Path, output: Path | str | None, rejected: Path | str | None
) -> tuple[Path, Path | None]:
    """Returns where predictions and rejected rows go.

    Raises:
        SourceError: One cannot be written there.
    """
    if output is None:
        suffix = ".parquet" if source.suffix == ".parquet" else ".csv"
        target = Path(f"{Path(plain_name(source.name)).stem}.predictions{suffix}")
    else:
        target = _target(source, Path(output), "predictions")
    aside = None if rejected is None else _target(source, Path(rejected), "rejected rows")
    if aside is not None and aside.resolve() == target.resolve():
        raise SourceError(f"{aside} is where the predictions go; name another file for the rows")
    return target, aside


def _target(source: Path, output: Path, what: str) -> Path:
    if output.suffix not in {".csv", ".parquet"}:
        raise SourceError(f"{output}: {what} are written as .csv or .parquet; name one")
    if not output.parent.is_dir():
        raise SourceError(f"{output}: the folder {output.parent} does not exist; create it first")
    if output.is_dir():
        raise SourceError(f"{output} is a folder; name a file for the {what}")
    if output.exists() and source.exists() and output.samefile(source):
        raise SourceError(f"{output} is the input itself; name another output")
    return output


@contextmanager
def _writers(schemas: Mapping[Path, pa.Schema]) -> Iterator[dict[Path, Writer]]:
    """Opens a writer for each file; in the end all of them are there, or none."""
    partial = {target: target.with_name(f".{target.name}.{uuid4().hex}.tmp") for target in schemas}
    try:
        with ExitStack() as stack:
            yield {
                target: stack.enter_context(_make(target, schema)(partial[target], schema))
                for target, schema in schemas.items()
            }
        with ExitStack() as undo:
            for target, path in partial.items():
                os.replace(path, target)
                undo.callback(target.unlink, missing_ok=True)
            undo.pop_all()
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def _make(target: Path, schema: pa.Schema) -> type[Writer]:
    if target.suffix == ".parquet":
        return pq.ParquetWriter
    return BytesWriter if schema == ASIDE else pacsv.CSVWriter
