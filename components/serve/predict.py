"""Batch prediction: raw rows of a file through the serving signature, in the order of the file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TypeAlias
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from quatrain.components.errors import ArtifactError, DataError, SourceError
from quatrain.components.serve.input_file import source_of
from quatrain.components.serve.known_models import check_known
from quatrain.components.serve.rejected_rows import REJECTED_SCHEMA, BytesWriter, RejectedRows
from quatrain.components.serve.served_model import (
    BATCH_ROWS,
    ServedModel,
    on_this_machine,
    prediction_schema,
    prediction_table,
    read_metadata,
    read_transform,
)
from quatrain.components.specification.source import Source
from quatrain.components.storage import (
    create_stream,
    exists,
    is_remote,
    mounted,
    plain_name,
    remove_file,
)
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
from quatrain.trainer.failure import Failure, full_disk
from quatrain.trainer.features import raw_inputs
from quatrain.trainer.features.text_format import Spelling
from quatrain.trainer.features.transform import Transform

MODEL_PLACES = ("model", "model/model", "champion/model")
"""Where the model is in the folder of a run, of a training job and of all runs of a model."""
ROOT = "runs"
"""The folder of all runs, as `quatrain run` has it by default."""
SHOWN_MODELS = 20
"""The number of models that an error message lists at most."""
Writer: TypeAlias = "pq.ParquetWriter | pacsv.CSVWriter | BytesWriter"


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
    root: Path | str = ROOT,
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
    targets = _targets(str(source), output, rejected)
    place = find_model(str(model))
    for target in filter(None, targets):
        _check_outside(target, place)
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
    # The file is checked before TensorFlow is imported, which takes seconds.
    rows = _InputRows.of(source, transform, keep)
    for output in filter(None, (target, rejected_target)):
        if any(_is_same(output, span.path) for span in rows.spans):
            raise SourceError(f"{output} is one of the files to predict; name another output")
    schema = pa.schema(
        [*((name, pa.string()) for name in rows.keep), *prediction_schema(transform)]
    )
    served = ServedModel.load(folder)
    schemas = {target: schema}
    if rejected_target is not None:
        schemas[rejected_target] = REJECTED_SCHEMA
    with _writers(schemas) as writers, RejectedRows(rows.source) as rejects:
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


def find_model(place: str) -> str:
    """Returns the folder of a model: the folder itself, or the first of `MODEL_PLACES` in it.

    Raises:
        ArtifactError: No such folder has metadata.json, which the training job writes last.
    """
    root = place.rstrip("/")
    try:
        for candidate in (root, *(f"{root}/{inside}" for inside in MODEL_PLACES)):
            if exists(f"{candidate}/metadata.json"):
                return candidate
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
    if "://" in place:
        raise ArtifactError(
            f"{place} holds no complete model: there is no metadata.json, which training writes "
            f"last, in it or in its {', '.join(MODEL_PLACES)}; name the folder of the plan step's "
            f"artifact `model`"
        )
    folder = Path(place)
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder; name a model, a run, or <root>/<name>")
    below = {folder / p.relative_to(folder).parts[0] for p in _metadata_below(folder)}
    if below:
        more = ", ..." if len(below) > SHOWN_MODELS else ""
        names = ", ".join(map(str, sorted(below)[:SHOWN_MODELS]))
        why = f"{folder} is no model, but folders in it are; name one"
        if folder / "latest" in below:
            why = f"{folder} has no champion, since no run passed its gate; name a run"
        raise ArtifactError(f"{why}: {names}{more}")
    raise ArtifactError(
        f"{folder} holds no complete model: there is no metadata.json, which training writes last; "
        "name a run that reached it, as <root>/<name>/champion"
    )


def _metadata_below(folder: Path) -> Iterator[Path]:
    for inside in MODEL_PLACES:
        yield from folder.glob(f"*/{inside}/metadata.json")


@dataclass(frozen=True)
class _InputRows:
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
    def of(cls, path: str, transform: Transform, keep: Sequence[str]) -> _InputRows:
        """Reads the header of a file and checks its columns.

        Raises:
            SourceError: The file cannot be read, or lacks an input or a column to keep.
        """
        answers = prediction_schema(transform).names
        if clashes := [name for name in keep if name in answers]:
            raise SourceError(f"--keep {clashes[0]}: an answer has this name; rename the column")
        source = source_of(path, transform)
        inputs = {i.name: i.type for i in transform.inputs}
        spellings = {name: s for name, s in transform.text.columns.items() if name in inputs}
        files = list_files(source)
        columns = {**_types_to_read(keep, source, files), **inputs}
        spans = plan_ranges(
            source,
            columns,
            files=files,
            spellings=spellings,
            absent_hint=lambda name, names: (
                _missing_input_hint(name, names) if name in inputs else near(name, names)
            ),
        )
        for span in spans if source.format == "jsonl" else ():
            check_columns(span.path, span.header, dict.fromkeys(keep, "string"), "")
        return cls(source, spans, columns, spellings, tuple(dict.fromkeys(keep)))

    def blocks(self) -> Iterator[tuple[Range, Block]]:
        """Yields the rows in the order of the file."""
        for span in self.spans:
            for block in read_range(span, self.source, self.columns, self.spellings):
                yield span, block.without_faults()

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
    keep: Sequence[str], source: Source, files: Sequence[tuple[str, int]]
) -> dict[str, str]:
    """Returns the type in which each column to keep is read.

    The columns are read only so that bad rows show; the output takes their texts from the rows as
    written. JSON Lines need no types, since a line is checked as a whole.
    """
    if source.format == "jsonl":
        return {}
    if source.format == "csv":
        return dict.fromkeys(keep, "string")
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


def _missing_input_hint(name: str, names: Sequence[str]) -> str:
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


def _texts_of_parquet(
    rows: pa.Array, _: Range, source: Source, names: Sequence[str]
) -> dict[str, pa.Array]:
    return {name: rows.field(name).cast(pa.string()) for name in names}


_TEXTS = {"csv": _texts_of_csv, "jsonl": _texts_of_json, "parquet": _texts_of_parquet}


def _targets(
    source: str, output: Path | str | None, rejected: Path | str | None
) -> tuple[str, str | None]:
    """Returns the files for predictions and rejected rows.

    Raises:
        SourceError: One of them cannot be written.
    """
    if output is None:
        name = PurePosixPath(source)
        suffix = ".parquet" if name.suffix == ".parquet" else ".csv"
        target = f"{PurePosixPath(plain_name(name.name)).stem}.predictions{suffix}"
    else:
        target = _target(source, str(output), "predictions")
    if rejected is None:
        return target, None
    other = _target(source, str(rejected), "rejected rows")
    if _is_same(other, target):
        raise SourceError(f"{other} is where the predictions go; name another file for the rows")
    return target, other


def _target(source: str, output: str, what: str) -> str:
    """Checks that a file can be written, and is not the input itself."""
    if PurePosixPath(output).suffix not in {".csv", ".parquet"}:
        raise SourceError(f"{output}: {what} are written as .csv or .parquet; name one")
    if "://" in output and not is_remote(output):
        raise SourceError(f"{output}: {what} are written to a path or a gs:// uri; name one")
    parent = Path(output).parent
    if not is_remote(output) and not parent.is_dir():
        raise SourceError(f"{output}: the folder {parent} does not exist; create it first")
    if not is_remote(output) and Path(output).is_dir():
        raise SourceError(f"{output} is a folder; name a file for the {what}")
    if _is_same(output, source):
        raise SourceError(f"{output} is the input itself; name another output")
    return output


def _check_outside(target: str, model: str) -> None:
    """Checks that an output is not put into the model, which would then be another one."""
    paths = [Path(mounted(place)).resolve() for place in (target, model)]
    if paths[0].is_relative_to(paths[1]):
        raise SourceError(f"{target} is inside the model {model}; name another output")


def _is_same(one: str, other: str) -> bool:
    """Returns whether two paths or uris name one file."""
    paths = Path(mounted(one)), Path(mounted(other))
    return paths[0].resolve() == paths[1].resolve() or (
        all(path.exists() for path in paths) and paths[0].samefile(paths[1])
    )


@contextmanager
def _writers(schemas: Mapping[str, pa.Schema]) -> Iterator[dict[str, Writer]]:
    """Opens a writer for each file; on leaving, either all of the files exist or none does."""
    with TemporaryDirectory(prefix="quatrain-predictions-") as folder:
        partial = {target: _partial(target, Path(folder)) for target in schemas}
        try:
            with ExitStack() as stack:
                yield {
                    target: stack.enter_context(_writer_type(target, schema)(path, schema))
                    for (target, schema), path in zip(
                        schemas.items(), partial.values(), strict=True
                    )
                }
            # If a file cannot be put in its place, those before it are removed.
            with ExitStack() as undo:
                for target, path in partial.items():
                    _put(path, target)
                    undo.callback(remove_file, target)
                undo.pop_all()
        except OSError as error:
            target = next(iter(schemas))
            place = folder if is_remote(target) else os.path.dirname(os.path.abspath(target))
            if full := full_disk(error, place):
                raise ArtifactError(
                    f"{target} cannot be written: {full}; make room, or write to a larger disk"
                ) from error
            raise
        finally:
            for path in partial.values():
                path.unlink(missing_ok=True)


def _partial(target: str, folder: Path) -> Path:
    """Returns the file that is written first: beside a local one, in the folder for a bucket."""
    path = folder / target.rpartition("/")[2] if is_remote(target) else Path(target)
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp")


def _put(path: Path, target: str) -> None:
    """Renames a file, or uploads it; an object appears when it is complete."""
    if not is_remote(target):
        os.replace(path, target)
        return
    try:
        with path.open("rb") as file, create_stream(target) as stream:
            shutil.copyfileobj(file, stream, 1 << 20)
    except OSError as error:
        raise SourceError(f"{target} cannot be written: {Failure.of(error)}") from error


def _writer_type(target: str, schema: pa.Schema) -> type[Writer]:
    if target.endswith(".parquet"):
        return pq.ParquetWriter
    return BytesWriter if schema == REJECTED_SCHEMA else pacsv.CSVWriter
