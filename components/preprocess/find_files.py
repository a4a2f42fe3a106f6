"""What a run is going to read: the day that its window ends on, and the digest of its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quatrain.components.specification.parameter import read_parameter
from quatrain.components.table.files import find_files
from quatrain.components.table.versions import digest_versions, find_versions
from quatrain.components.times import run_time


class SourceVersion(NamedTuple):
    """What the rest of the step is given; the same for the same files, whenever the run is.

    Attributes:
        at: The day of the run in UTC, where a window ends; empty without a window.
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
        clocks: Where else to find that time: when the run was scheduled, when it was made.

    Raises:
        SourceError: There are none, or they may not be listed.
    """
    source = read_parameter(spec).source
    time = run_time(at, clocks) if source.window else None
    files = find_files(source, time)
    named = [path for path, _ in files.listing]
    return SourceVersion(
        f"{time:%Y-%m-%d}" if time else "", digest_versions(find_versions(named, project))
    )
