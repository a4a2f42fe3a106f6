"""Batch prediction: raw rows of a file through the serving signature, in the order of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from quatrain.components.errors import DataError, SourceError
from quatrain.components.serve.input_rows import InputRows
from quatrain.components.serve.known_models import check_known
from quatrain.components.serve.model_folder import find_model
from quatrain.components.serve.output_files import check_outside, is_same, targets_of, writers_of
from quatrain.components.serve.rejected_rows import REJECTED_SCHEMA, RejectedRows
from quatrain.components.serve.served_model import (
    ServedModel,
    on_this_machine,
    prediction_schema,
    prediction_table,
    read_metadata,
    read_transform,
)
from quatrain.components.uris import DEFAULT_ROOT
from quatrain.trainer.features import raw_inputs


@dataclass(frozen=True)
class Predictions:
    """The outcome of a batch prediction.

    Attributes:
        path: The file of predictions.
        rows: The number of predictions.
        columns: The columns of the file.
        rejected: The number of rows that could not be read.
    """

    path: str
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
    root: Path | str = DEFAULT_ROOT,
    trust: bool = False,
) -> Predictions:
    """Predicts every row of a raw CSV, Parquet or JSON Lines file, in the order of the file.

    A CSV is read as the training table was, with the same null values; its delimiter, its encoding
    and the lines around its header are those of training, or others that it shows.

    Args:
        model: A model folder, or a folder that has one named `model`; a path or a gs:// uri, as
            the files are.
        source: The file. It must have the model's inputs; any other column is ignored.
        output: The file to write, CSV or Parquet by its suffix. By default it goes to the current
            folder, as rows.predictions.csv for rows.csv. A file of this name is replaced as a whole
            once the last row is predicted.
        keep: Columns of the input to copy, as text, to the left of the answers.
        rejected: A file for the rows that cannot be read, of the same kinds as `output`; by default
            such a row is an error.
        root: The folder of all runs, local or gs://, in which a record must name the model.
        trust: Whether to load a model that no record names. An incomplete or altered one is refused
            all the same.

    Raises:
        ArtifactError: The model is incomplete or altered, or no record names it.
        SourceError: The file cannot be read or lacks a column, or an output cannot be written.
        DataError: A row cannot be read and `rejected` names no file; no output is written.
    """
    targets = targets_of(str(source), output, rejected)
    place = find_model(str(model))
    for target in filter(None, targets):
        check_outside(target, place)
    with on_this_machine(place) as folder:
        read_metadata(folder)
        if not trust:
            check_known(folder, place, str(root))
        return _predict(folder, str(source), *targets, keep)


def _predict(
    folder: Path, source: str, target: str, rejected_target: str | None, keep: Sequence[str]
) -> Predictions:
    """Predicts the rows of a file with a local model."""
    transform = read_transform(folder)
    # The file is checked before the model is loaded, which takes a second.
    rows = InputRows.of(source, transform, keep)
    for output in filter(None, (target, rejected_target)):
        if any(is_same(output, span.path) for span in rows.spans):
            raise SourceError(f"{output} is one of the files to predict; name another output")
    schema = pa.schema(
        [*((name, pa.string()) for name in rows.keep), *prediction_schema(transform)]
    )
    served = ServedModel.load(folder)
    schemas = {target: schema}
    if rejected_target is not None:
        schemas[rejected_target] = REJECTED_SCHEMA
    with writers_of(schemas) as writers, RejectedRows(rows.source) as rejects:
        for span, block in rows.blocks():
            rejects.take(block, None if rejected_target is None else writers[rejected_target])
            if rejects.n and rejected_target is None:
                continue  # the run has failed; the other rows are only counted, for the message
            for batch, texts in rows.batches(span, block):
                answers = served.answer(raw_inputs(batch, transform.inputs))
                columns = [*texts, *prediction_table(transform, answers).columns]
                writers[target].write_table(pa.table(columns, schema=schema))
        if rejects.n and rejected_target is None:
            raise DataError(rejects.sentence)
    return Predictions(target, rejects.rows - rejects.n, tuple(schema.names), rejects.n)
