"""Finds the files that a run will read: the day on which their window ends, and their digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quatrain.components import history
from quatrain.components.errors import SourceError
from quatrain.components.specification.parameter import (
    parameter_of,
    read_parameter,
    write_spec,
)
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.table.files import Files, find_files
from quatrain.components.table.versions import digest_versions, find_versions
from quatrain.components.times import run_time


class SourceVersion(NamedTuple):
    """What the preprocess step reads; equal for equal files, whenever the run is.

    Vertex AI caches the step by these values.

    Attributes:
        at: The day of the run in UTC, on which a window ends; empty without a window.
        digest: The sha256 of the files and their versions.
        files: The number of files.
        cache_key: The key of the run; if it has none, the examples that were lost last, so that
            none like them is taken from the cache.
        spec: The part of the spec that the step reads, as the pipeline's parameter holds a spec.
    """

    at: str
    digest: str
    cache_key: str
    files: int
    spec: str


def find(
    spec: str,
    *,
    project: str,
    at: str,
    clocks: Sequence[str],
    root: str = "",
    cache_key: str = "",
) -> SourceVersion:
    """Finds the files of a run.

    Args:
        spec: The pipeline's parameter.
        project: The job's project.
        at: The time of the run; may be empty.
        clocks: The times that replace an empty `at`: of the schedule, then of the run's creation.
        root: The folder of all runs; if empty, no examples are known to be lost, and the step gets
            the whole spec, since the part that it reads may be too long for a parameter.
        cache_key: The run's own key of the cache; may be empty.

    Raises:
        SourceError: There are no files, or they may not be listed.
        ArtifactError: The record of lost examples cannot be read.
        SpecError: The part of the spec is too long for a parameter, and its file cannot be written.
    """
    model = read_parameter(spec)
    source = model.source
    time = run_time(at, clocks) if source.window else None
    files = find_files(source, time)
    paths = [path for path, _ in files.listing]
    return SourceVersion(
        f"{time:%Y-%m-%d}" if time else "",
        digest_versions(find_versions(paths, project)),
        cache_key or history.lost_examples(root, model.name),
        len(paths),
        _parameter_of_part(model, root) if root else spec,
    )


def list_source(
    model: ModelSpec, at: str, digest: str, project: str
) -> tuple[Files, dict[str, str]]:
    """Returns the files of the source, and the version of each.

    Args:
        model: The spec.
        at: The time of the run, at which a window of the source ends.
        digest: The digest that `find` returned; if not empty, the files must still have it.
        project: The job's project.

    Raises:
        SourceError: There are no files, or they have another digest.
    """
    files = find_files(model.source, run_time(at) if model.source.window else None)
    versions = find_versions((path for path, _ in files.listing), project)
    if digest and digest_versions(versions) != digest:
        raise SourceError(
            f"the files of {', '.join(model.source.uri)} are not those that the run found when it "
            f"began: one was written, added or removed since; run again"
        )
    return files, versions


def _parameter_of_part(model: ModelSpec, root: str) -> str:
    """Returns the parameter that holds what the preprocess step reads of the spec."""
    write_spec(model.preprocessing, root)
    return parameter_of(model.preprocessing, root)
