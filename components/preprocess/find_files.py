"""Finds the files that a run will read: the day on which their window ends, and their digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quatrain.components.specification.parameter import read_parameter
from quatrain.components.table.files import find_files
from quatrain.components.table.versions import digest_versions, find_versions
from quatrain.components.times import run_time


class SourceVersion(NamedTuple):
    """What the preprocess step reads; equal for equal files, whenever the run is.

    Vertex AI caches the step by these two values.

    Attributes:
        at: The day of the run in UTC, on which a window ends; empty without a window.
        digest: The sha256 of the files and their versions.
    """

    at: str
    digest: str


def find(spec: str, *, project: str, at: str, clocks: Sequence[str]) -> SourceVersion:
    """Finds the files of a run.

    Args:
        spec: The pipeline's parameter.
        project: The job's project.
        at: The time of the run; may be empty.
        clocks: The times that replace an empty `at`: of the schedule, then of the run's creation.

    Raises:
        SourceError: There are no files, or they may not be listed.
    """
    source = read_parameter(spec).source
    time = run_time(at, clocks) if source.window else None
    files = find_files(source, time)
    paths = [path for path, _ in files.listing]
    return SourceVersion(
        f"{time:%Y-%m-%d}" if time else "", digest_versions(find_versions(paths, project))
    )
