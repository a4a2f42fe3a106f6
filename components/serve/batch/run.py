"""Batch prediction of a table: checks model, rows and folders, and writes shards on an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quatrain.components.artifacts import sha256_of
from quatrain.components.buckets import HERE, check_buckets
from quatrain.components.engine.failures import explain_faults
from quatrain.components.engine.names import LOCAL
from quatrain.components.errors import DataError, RunnerError, SourceError
from quatrain.components.image import IMAGE
from quatrain.components.serve.ahead import default_threads
from quatrain.components.serve.batch import in_process
from quatrain.components.serve.batch.choice import EngineChoice, Shards
from quatrain.components.serve.batch.passes import (
    PredictionPlan,
    WrittenRange,
    load_model,
    output_columns,
    total_of,
)
from quatrain.components.serve.batch.shard_folder import MANIFEST, attempt, check_folders
from quatrain.components.serve.batch.table_output import load_shards
from quatrain.components.serve.input_rows import InputRows
from quatrain.components.serve.known_models import check_known
from quatrain.components.serve.output_files import check_outside
from quatrain.components.serve.rejected_rows import sentence_of_rejected
from quatrain.components.serve.served_model import (
    METADATA,
    on_this_machine,
    read_metadata,
    read_transform,
)
from quatrain.components.specification.source import is_table
from quatrain.components.storage import is_remote
from quatrain.components.table.line_numbers import LineNumbers
from quatrain.components.table.load_job import find_destination
from quatrain.components.table.range import Range
from quatrain.components.table.versions import check_unchanged, find_versions
from quatrain.components.wording import counted

if TYPE_CHECKING:
    from quatrain.components.engine.launch import Launch

VERSION = 1


def predict_table(
    model: str,
    sources: Sequence[str],
    shards: Shards,
    *,
    keep: Sequence[str] = (),
    root: str,
    trust: bool = False,
    engine: EngineChoice = EngineChoice(),  # noqa: B008 - frozen
    project: str = "",
    location: str = HERE,
    image: str = IMAGE,
    gcp_resources: str = "",
    about: Mapping[str, Any] | None = None,
    most_rejected: float = 1.0,
) -> dict[str, Any]:
    """Predicts every row of a table, and writes a shard for each range of it.

    The same rows give the same bytes on every engine, for any number of workers. A table of
    BigQuery gets them by one load job, before the manifest makes the folder count.

    Args:
        model: The folder of a model, by its path or gs:// uri.
        sources: The files, by paths, globs or gs:// uris; or tables of BigQuery.
        shards: Where the predictions go. Their folder counts once its manifest.json, the last file,
            is there.
        keep: Columns of the input to copy, as text, to the left of the answers.
        root: The folder of all runs, in which a record must name the model.
        trust: Whether to take a model that no record names.
        engine: Where the prediction runs.
        project: The job's project.
        location: The job's region, in which the buckets of the output must be.
        image: The image of this process, and of its workers on other machines.
        gcp_resources: The file through which the page of Vertex AI links to a Dataflow job.
        about: What else the manifest says, of a prediction that is one of a series.
        most_rejected: The share of the rows that may be rejected.

    Returns:
        The content of manifest.json: `rows` (read = answered + rejected), `columns`, `files`, ...

    Raises:
        ArtifactError: The model is incomplete or altered, or no record names it; or the folder
            cannot be written.
        SourceError: A file cannot be read, lacks a column, or changed meanwhile; or a folder or a
            table is no place for the output.
        DataError: A row cannot be read and `shards.rejected` is None, or too many cannot; no output
            is left.
        RunnerError: The engine is refused, has a wrong option, or failed.
        BucketError: A bucket of the output is not regional in the job's region.
    """
    launch = _launch(engine, project, location, image, gcp_resources)
    check_folders(shards.out, shards.rejected, shards.form)
    folders = [shards.out, *([shards.rejected] if shards.rejected else [])]
    for folder in folders:
        check_outside(folder, model)
    if launch:
        launch.check(shards.out)
        _check_reach(launch, [model, *sources, *folders])
    check_buckets(folders, location, project)
    with on_this_machine(model) as local, explain_faults(shards.out):
        read_metadata(local)
        if not trust:
            check_known(local, model, root)
        sha256, transform = sha256_of(local / METADATA), read_transform(local)
        rows = InputRows.of(sources, transform, keep, project)
        _check_apart(rows, folders)
        schema = output_columns(rows, transform)
        table = find_destination(shards.table, schema, project) if shards.table else None
        versions = find_versions(dict.fromkeys(s.path for s in rows.spans), project)
        spans, place = rows.spans, model if launch and launch.remote else str(local)
        plan = PredictionPlan(
            model=place,
            model_sha256=sha256,
            rows=replace(rows, spans=()),
            out=shards.out,
            rejected=shards.rejected,
            form=shards.form,
            n_shards=len(spans),
        )
        with attempt(shards.out, shards.rejected) as target:
            written = _predict(plan, spans, launch, engine.workers or default_threads())
            total = total_of(written, len(spans))
            if total.error:
                raise total.error.error
            if total.rejected and shards.rejected is None:
                raise DataError(_sentence(rows, total))
            if total.rejected > most_rejected * total.read:
                raise DataError(_too_many(total, most_rejected))
            # A table is read as it was when its session was opened, so it may change now.
            files = {uri: version for uri, version in versions.items() if not is_table(uri)}
            check_unchanged(files, find_versions(files, project))
            manifest = {
                "version": VERSION,
                "rows": {
                    "read": total.read,
                    "answered": total.read - total.rejected,
                    "rejected": total.rejected,
                },
                "columns": schema.names,
                "files": dict(total.files),
                "rejected": {"folder": shards.rejected, "files": dict(total.rejected_files)},
                "model": {"folder": model, "metadata": sha256},
                "inputs": list(versions),
                **(about or {}),
            }
            if table:
                manifest["table"] = load_shards(table, shards.out, total)
            target.write_json(MANIFEST, manifest)
    return manifest


def _launch(engine: EngineChoice, *others: str) -> Launch | None:
    """Returns the Beam job; None without options of a local one, which needs no Beam."""
    if engine.runner == LOCAL and not engine.options:
        return None
    from quatrain.components.engine.launch import Launch

    return Launch("predict", engine.runner, engine.options, *others)


def _check_reach(launch: Launch, places: Sequence[str]) -> None:
    """Checks that workers on other machines can reach what they read and write.

    Raises:
        RunnerError: A place is on this machine.
    """
    if not launch.on_dataflow:
        return
    if here := next((p for p in places if not is_remote(p) and not is_table(p)), None):
        raise RunnerError(
            f"{here} is on this machine, which the workers of Dataflow cannot reach; copy it to a "
            f"bucket, and name it by its gs:// uri"
        )


def _check_apart(rows: InputRows, folders: Sequence[str]) -> None:
    """Checks that no file to predict is in a folder that is emptied first."""
    for path in {span.path for span in rows.spans}:
        for folder in folders:
            inside = (
                path.startswith(f"{folder}/")
                if is_remote(path) or is_table(path)
                else not is_remote(folder)
                and Path(path).resolve().is_relative_to(Path(folder).resolve())
            )
            if inside:
                raise SourceError(
                    f"{path} is to be predicted and lies in {folder}, which is emptied first; name "
                    f"another output"
                )


def _predict(
    plan: PredictionPlan,
    spans: Sequence[Range],
    launch: Launch | None,
    n_threads: int,
) -> list[WrittenRange]:
    if launch is None:
        return in_process.predict(plan, spans, load_model(plan), n_threads)
    from quatrain.components.serve.batch import pipeline

    return pipeline.predict(plan, spans, launch, "predict")


def _too_many(total: WrittenRange, most_rejected: float) -> str:
    """Returns the message about more rejected rows than are allowed, with the first of them."""
    first = total.first or {}
    return (
        f"of {counted(total.read, 'row')}, {counted(total.rejected, 'row', 'were')} rejected, more "
        f"than clean.max_rejected={most_rejected:g}; no prediction is left. The first is "
        f"{first['row']!r} ({first['reason']}: {first['detail']}); correct the source, or raise "
        f"clean.max_rejected"
    )


def _sentence(rows: InputRows, total: WrittenRange) -> str:
    """Returns the message about rows that cannot be read, with the line of the first."""
    first: dict[str, Any] = {**(total.first or {}), "line": None}
    if rows.source.format in ("csv", "jsonl"):
        lines = LineNumbers(rows.source.encoding)
        try:
            [first["line"]] = lines.at(first["source"], [first["position"]])
        finally:
            lines.close()
    return sentence_of_rejected(first, total.rejected, total.read, "DIR")
