"""What a prediction reads, and by which model it answers: both are fixed when the job begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from quatrain.components import history
from quatrain.components.artifacts import canonical_json
from quatrain.components.errors import ArtifactError
from quatrain.components.preprocess.find_files import list_source
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.table.versions import digest_versions
from quatrain.components.times import run_time
from quatrain.components.versions import model_of
from quatrain.components.wording import counted

PREDICTIONS = "predictions"
"""The folder of a model's predictions, beside its runs and its statistics."""


class PredictionInputs(NamedTuple):
    """What the later steps take.

    Attributes:
        at: The day of the job in UTC, which names the partition; a window ends on it.
        digest: The sha256 of the files and their versions.
        champion: The champion as JSON text: its `run`, `made`, `model` and `metadata`.
        files: The number of files.
    """

    at: str
    digest: str
    champion: str
    files: int


def find(spec: str, *, project: str, root: str, at: str, clocks: Sequence[str]) -> PredictionInputs:
    """Finds the files to predict, and the champion as of now.

    A model that is promoted while the job runs answers the next one, not half of this one.

    Args:
        spec: The pipeline's parameter.
        project: The job's project.
        root: The folder of all runs, where the champion is recorded.
        at: The time of the job; may be empty.
        clocks: The times that replace an empty `at`: of the schedule, then of the job's creation.

    Raises:
        ArtifactError: The model has no champion, or its record cannot be read.
        SourceError: There are no files, or they may not be listed.
    """
    model = read_parameter(spec)
    champion = _champion(root, model.name)
    day = f"{run_time(at, clocks):%Y-%m-%d}"
    files, versions = list_source(model, day, "", project)
    if files.warning:
        print(f"predict: warning: {files.warning}", flush=True)
    n_files = counted(len(files.listing), "file")
    print(f"predict: {n_files} for {day}, by the champion of run {champion['run']}", flush=True)
    return PredictionInputs(
        day, digest_versions(versions), canonical_json(champion), len(files.listing)
    )


def partition_of(root: str, name: str, day: str) -> str:
    """Returns the folder of a day's predictions, by its path or uri.

    Its name is a Hive partition, which BigQuery, Spark and Arrow read as a column `day`.
    """
    return f"{predictions_of(root, name)}/day={day}"


def predictions_of(root: str, name: str) -> str:
    """Returns the folder of a model's partitions, by its path or uri."""
    return f"{root.rstrip('/')}/{name}/{PREDICTIONS}"


def statistics_of(root: str, name: str, champion: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the record of the champion that a job began with, which has its statistics.

    Raises:
        ArtifactError: Another model took its place since, so its statistics were replaced.
    """
    record = history.champion_of(root, name)
    if record is None or record["run"] != champion["run"]:
        raise ArtifactError(
            f"run {champion['run']} was the champion of {name} when this job began, and is not "
            f"any more; start the job again"
        )
    return record


def _champion(root: str, name: str) -> dict[str, str]:
    record = history.champion_of(root, name) if root else None
    if record is None:
        raise ArtifactError(
            f"{name} has no champion below {root or 'an empty root'}, so there is no model to "
            f"predict by; run its training until a model passes the gate, or name the folder of "
            f"all runs by --root"
        )
    if not (record.get("model") and record.get("metadata")):
        raise ArtifactError(
            f"the champion of {name}, run {record['run']}, was recorded by an earlier version of "
            f"Quatrain without its model; train and promote another one"
        )
    chosen = {key: str(record[key]) for key in ("run", "made", "metadata")}
    return {**chosen, "model": model_of(root, name, record)}
