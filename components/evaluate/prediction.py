"""Batch prediction: raw rows of a file through the serving signature, in the order of the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from components.errors import ArtifactError, DataError, SourceError
from components.evaluate.serving import (
    BATCH_ROWS,
    ServedModel,
    prediction_schema,
    prediction_table,
    read_metadata,
)
from components.preprocess.reading import read_range
from components.preprocess.rejection import Block
from components.preprocess.sources import Range, plan_ranges
from components.spec.schema import Source
from trainer.features import raw_inputs
from trainer.spelling import Spelling
from trainer.transform import TextFormat, Transform

MODEL_PLACES = ("model", "model/model", "champion/model")
"""Where a run, a training job and the runs of a model keep it."""
_FORMATS = ("parquet", "jsonl")
"""Suffixes that name their format; any other file is a CSV."""


@dataclass(frozen=True)
class Predictions:
    """Where the predictions are, how many, and their columns."""

    path: Path
    rows: int
    columns: tuple[str, ...]


def predict(model: Path | str, source: Path | str, output: Path | str | None = None) -> Predictions:
    """Predicts every row of a raw CSV, Parquet or JSON Lines file, in its order.

    A CSV is read as the training table was: its spellings of missing, its delimiter.

    Args:
        model: A model folder, or a folder that has one named `model`.
        source: The file; it needs the model's inputs, any other column is not read.
        output: CSV or Parquet by its suffix; by default beside no input but in the current folder,
            as rows.predictions.csv for rows.csv. It is whole or absent.

    Raises:
        ArtifactError: The model is incomplete or altered.
        SourceError: The file cannot be read or lacks a column.
        DataError: A row cannot be read; no output is written.
    """
    folder = find_model(Path(model))
    read_metadata(folder)
    target = _target(Path(source), None if output is None else Path(output))
    transform = Transform.from_json((folder / "transform.json").read_text(encoding="utf-8"))
    described, spellings = _described(source, transform.text), transform.text.columns
    columns = {i.name: i.type for i in transform.inputs}
    # A wrong file is told before TensorFlow is imported.
    spans = plan_ranges(described, columns, spellings=spellings)
    served = ServedModel.load(folder)
    schema, rows = prediction_schema(transform), 0
    with _writer(target, schema) as writer:
        for batch in _read(spans, described, columns, spellings):
            answers = served.answer(raw_inputs(batch, transform.inputs))
            writer.write_table(prediction_table(transform, answers))
            rows += batch.num_rows
    return Predictions(target, rows, tuple(schema.names))


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
    raise ArtifactError(
        f"{folder} holds no complete model: there is no metadata.json, which training writes last; "
        "name a run that reached it, as <root>/<name>/champion"
    )


def _described(source: Path | str, text: TextFormat) -> Source:
    """Returns the file as a source: its name says the format, the rest is as in training."""
    names = Path(source).name.split(".")[1:]
    form = next((form for form in _FORMATS if form in names), "csv")
    written = {f.name: getattr(text, f.name) for f in fields(text) if f.name != "columns"}
    return Source.model_validate({"uri": str(source), "format": form, **written})


def _read(
    spans: Sequence[Range],
    source: Source,
    columns: Mapping[str, str],
    spellings: Mapping[str, Spelling],
) -> Iterator[pa.RecordBatch]:
    for span in spans:
        for block in read_range(span, source, columns, spellings):
            _require_readable(block, source)
            for start in range(0, block.batch.num_rows, BATCH_ROWS):
                yield block.batch.slice(start, BATCH_ROWS)


def _require_readable(block: Block, source: Source) -> None:
    if block.rejected.num_rows:
        row = block.rejected.slice(0, 1).to_pylist()[0]
        place = "row" if source.format == "parquet" else "byte"
        shown = row["row"][:200].decode("utf-8", "replace")
        raise DataError(
            f"{row['source']}: the row at {place} {row['position']:,} cannot be read "
            f"({row['reason']}: {row['detail']}): {shown!r}; mend or remove it. "
            "Nothing was written, so that no prediction stands beside the wrong row"
        )


def _target(source: Path, output: Path | None) -> Path:
    if output is None:
        name = source.name.removesuffix(".gz").removesuffix(".bz2").removesuffix(".zst")
        suffix = ".parquet" if source.suffix == ".parquet" else ".csv"
        return Path(f"{Path(name).stem}.predictions{suffix}")
    if output.suffix not in {".csv", ".parquet"}:
        raise SourceError(f"{output}: predictions are written as .csv or .parquet; name one")
    if not output.parent.is_dir():
        raise SourceError(f"{output}: the folder {output.parent} does not exist; create it first")
    if output.exists() and source.exists() and output.samefile(source):
        raise SourceError(f"{output} is the input itself; name another output")
    return output


@contextmanager
def _writer(target: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter | pacsv.CSVWriter]:
    partial = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    make = pq.ParquetWriter if target.suffix == ".parquet" else pacsv.CSVWriter
    try:
        with make(partial, schema) as writer:
            yield writer
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
