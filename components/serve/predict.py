"""Batch prediction: raw rows through the serving signature, into a file in order, or shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pyarrow as pa

from quatrain.components.buckets import HERE
from quatrain.components.engine.names import LOCAL
from quatrain.components.errors import DataError, SourceError
from quatrain.components.image import IMAGE
from quatrain.components.serve.ahead import default_threads, map_ahead
from quatrain.components.serve.batch.choice import EngineChoice, Shards
from quatrain.components.serve.batch.passes import answered_batches, output_columns
from quatrain.components.serve.input_rows import InputRows
from quatrain.components.serve.known_models import check_known
from quatrain.components.serve.model_folder import find_model
from quatrain.components.serve.output_files import check_outside, is_same, targets_of, writers_of
from quatrain.components.serve.rejected_rows import REJECTED_SCHEMA, RejectedRows
from quatrain.components.serve.served_model import (
    ServedModel,
    on_this_machine,
    read_metadata,
    read_transform,
)
from quatrain.components.specification.source import is_table
from quatrain.components.table.block import Block
from quatrain.components.table.files import is_glob
from quatrain.components.table.range import Range
from quatrain.components.uris import DEFAULT_ROOT


@dataclass(frozen=True)
class Predictions:
    """The outcome of a batch prediction.

    Attributes:
        path: The file of predictions, the folder of their shards, or the table that has them.
        rows: The number of predictions.
        columns: The columns of the file or the shards.
        rejected: The number of rows that could not be read.
    """

    path: str
    rows: int
    columns: tuple[str, ...]
    rejected: int = 0


def predict(
    model: Path | str,
    source: Path | str | Sequence[str],
    output: Path | str | None = None,
    *,
    keep: Sequence[str] = (),
    rejected: Path | str | None = None,
    root: Path | str = DEFAULT_ROOT,
    trust: bool = False,
    form: str = "",
    engine: EngineChoice = EngineChoice(),  # noqa: B008 - frozen
) -> Predictions:
    """Predicts every row of raw CSV, Parquet or JSON Lines files, or of tables of BigQuery.

    One file of predictions has the rows in the order of the input. In a folder, each shard has the
    rows of a range of the input, in order, and manifest.json names the shards. A CSV is read as the
    training table was, with the same null values; its delimiter, its encoding and the lines around
    its header are those of training, or others that it shows.

    Args:
        model: A model folder, or a folder that has one named `model`; a path or a gs:// uri, as
            the files are.
        source: A file or several, by paths, globs or gs:// uris; or tables, by bq:// uris. They
            must have the model's inputs; any other column is ignored.
        output: The file to write, CSV or Parquet by its suffix; a file of this name is replaced as
            a whole once the last row is predicted. Or, by a name without a suffix, the folder of
            the shards, whose earlier predictions are removed first. Or a table of BigQuery, or its
            partition, by its bq:// uri; it is replaced as a whole by one load job. By default, the
            predictions of one file go to the current folder, as rows.predictions.csv for rows.csv.
        keep: Columns of the input to copy, as text, to the left of the answers.
        rejected: A file for the rows that cannot be read, of the same kinds as `output`, or a
            folder if `output` is one or a table; by default such a row is an error.
        root: The folder of all runs, local or gs://, in which a record must name the model.
        trust: Whether to load a model that no record names. An incomplete or altered one is refused
            all the same.
        form: The format of shards, parquet or csv; parquet by default.
        engine: Where the prediction runs. On other machines, it writes shards.

    Raises:
        ArtifactError: The model is incomplete or altered, or no record names it.
        SourceError: A file cannot be read or lacks a column, or an output cannot be written.
        DataError: A row cannot be read and `rejected` is None; no output is written.
        RunnerError: The engine is refused, has a wrong option, or failed.
    """
    sources = [str(source)] if isinstance(source, Path | str) else [*map(str, source)]
    if output is not None and is_table(str(output)):
        return _predict_into_table(
            model, sources, str(output), rejected, keep, root, trust, form, engine
        )
    if is_folder(output):
        return _predict_table(model, sources, output, rejected, keep, root, trust, form, engine)
    _check_one_file(sources, output, form, engine)
    targets = targets_of(sources[0], output, rejected)
    place = find_model(str(model))
    for target in filter(None, targets):
        check_outside(target, place)
    with on_this_machine(place) as folder:
        read_metadata(folder)
        if not trust:
            check_known(folder, place, str(root))
        return _predict(folder, sources, *targets, keep, engine.workers or default_threads())


def is_folder(output: Path | str | None) -> bool:
    """Returns whether an output is a folder of shards: a name without a suffix."""
    return output is not None and (str(output).endswith("/") or not PurePosixPath(output).suffix)


def _check_one_file(
    sources: Sequence[str], output: Path | str | None, form: str, engine: EngineChoice
) -> None:
    """Checks that all rows can go into one file.

    Raises:
        SourceError: They go into a folder, which was not named.
    """
    if engine.runner != LOCAL or engine.options:
        where = f"runner {engine.runner!r} with options" if engine.options else engine.runner
        raise SourceError(
            f"{where} writes numbered shards into a folder; name it by -o, without a suffix"
        )
    if output is None and (len(sources) > 1 or is_table(sources[0]) or is_glob(sources[0])):
        raise SourceError(
            f"the predictions of {', '.join(sources)} have no name of their own; name a folder for "
            f"their shards by -o, or a .csv or .parquet file"
        )
    if form:
        raise SourceError(
            f"the format {form!r} is for shards in a folder; name a folder by -o, or leave it out, "
            f"since a file has the format of its suffix"
        )


def _predict_into_table(
    model: Path | str,
    sources: Sequence[str],
    table: str,
    rejected: Path | str | None,
    keep: Sequence[str],
    root: Path | str,
    trust: bool,
    form: str,
    engine: EngineChoice,
) -> Predictions:
    """Predicts the rows of files or tables into a table of BigQuery."""
    from quatrain.components.serve.batch.table_output import check_form, temporary_shards
    from quatrain.components.table.load_job import check_table_uri

    check_table_uri(table)
    check_form(form, table)
    if rejected is not None and not is_folder(rejected):
        raise SourceError(
            f"{rejected}: beside a table, the rejected rows go to a folder of shards; name it "
            f"without a suffix"
        )
    with temporary_shards(engine, table) as place:
        done = _predict_table(
            model, sources, place, rejected, keep, root, trust, form, engine, table
        )
    return replace(done, path=table)


def _predict_table(
    model: Path | str,
    sources: Sequence[str],
    output: Path | str | None,
    rejected: Path | str | None,
    keep: Sequence[str],
    root: Path | str,
    trust: bool,
    form: str,
    engine: EngineChoice,
    table: str = "",
) -> Predictions:
    """Predicts the rows of a table into a folder of shards, and from there into another table."""
    from quatrain.components.serve.batch.run import predict_table

    aside = None if rejected is None else str(rejected).rstrip("/")
    shards = Shards(str(output).rstrip("/"), aside, form or "parquet", table)
    place = find_model(str(model))
    options = {key: str(engine.options.get(key, "")) for key in ("project", "region")}
    manifest = predict_table(
        *(place, sources, shards),
        keep=keep,
        root=str(root),
        trust=trust,
        engine=engine,
        project=options["project"],
        location=options["region"] or HERE,
        image=str(engine.options.get("sdk_container_image", IMAGE)),
    )
    rows = manifest["rows"]
    return Predictions(shards.out, rows["answered"], tuple(manifest["columns"]), rows["rejected"])


def _predict(
    folder: Path,
    sources: Sequence[str],
    target: str,
    rejected_target: str | None,
    keep: Sequence[str],
    n_threads: int,
) -> Predictions:
    """Predicts the rows of files with a local model, in their order."""
    transform = read_transform(folder)
    # The files are checked before the model is loaded, which takes a second.
    rows = InputRows.of(sources, transform, keep)
    for output in filter(None, (target, rejected_target)):
        if any(is_same(output, span.path) for span in rows.spans):
            raise SourceError(f"{output} is one of the files to predict; name another output")
    schema = output_columns(rows, transform)
    served = ServedModel.load(folder)
    schemas = {target: schema}
    if rejected_target is not None:
        schemas[rejected_target] = REJECTED_SCHEMA
    with writers_of(schemas) as writers, RejectedRows(rows.source) as rejects:

        def answer(element: tuple[Range, Block]) -> tuple[Block, list[pa.Table]]:
            span, block = element
            if rejects.n and rejected_target is None:
                return block, []  # the run has failed; other rows are only counted, for the message
            return block, [*answered_batches(span, block, rows, served, schema)]

        for block, tables in map_ahead(answer, rows.blocks(), n_threads):
            rejects.take(block, None if rejected_target is None else writers[rejected_target])
            for table in tables if rejected_target or not rejects.n else ():
                writers[target].write_table(table)
        if rejects.n and rejected_target is None:
            raise DataError(rejects.sentence)
    return Predictions(target, rejects.rows - rejects.n, tuple(schema.names), rejects.n)
