"""The records that the gates of measured runs left below a root, here or in a bucket."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import MISSHAPEN
from quatrain.components.storage import is_remote, list_times, read_file
from quatrain.components.wording import first_line
from quatrain.results.summary import Listing, RunSummary, of_record
from quatrain.trainer.failure import Failure

AT_ONCE = 16
"""Requests to a bucket that wait at the same time: 1 000 records take some 5 s, not a minute."""
_T = TypeVar("_T")
_U = TypeVar("_U")


def recorded_runs(root: str, name: str, last: int = 0) -> Listing:
    """Reads the records of the last runs of a model that were measured.

    Args:
        root: The folder of all runs, a path or a gs:// uri.
        name: The model.
        last: How many runs, by when they were recorded; 0 for all.

    Raises:
        ArtifactError: The folder of the records cannot be listed.
    """
    folder = history.record_uri(root, name, history.RUNS).removesuffix(".json")
    try:
        times = list_times(folder)
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
    files = sorted((n for n in times if n.endswith(".json")), key=lambda n: (times[n], n))
    chosen = files[-last:] if last else files
    runs: list[RunSummary] = []
    problems: list[str] = []
    read = at_once(lambda file: read_record(root, name, file.removesuffix(".json")), chosen)
    for entry in read:
        if isinstance(entry, RunSummary):
            runs.append(entry)
        elif entry:
            problems.append(entry)
    return Listing(runs, problems, len(files) - len(chosen))


def read_record(root: str, name: str, run: str) -> RunSummary | str | None:
    """Returns a measured run by its record, a line if that is damaged, or None without one."""
    uri = history.record_uri(root, name, f"{history.RUNS}/{run}")
    try:
        return of_record(_document(uri), f"{root.rstrip('/')}/{name}/{run}")
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(Failure.of(error))
    except MISSHAPEN as error:
        return f"{uri} is cut short or altered ({first_line(error)}); remove it to list the others"


def champion_of(root: str, name: str) -> str:
    """Returns the run whose model is the champion; empty before one passed, or if unreadable."""
    try:
        return str(_document(history.record_uri(root, name, "champion"))["run"])
    except (OSError, *MISSHAPEN):
        return ""


def at_once(call: Callable[[_T], _U], values: Sequence[_T]) -> Iterator[_U]:
    """Yields what a function returns for each value, with several calls at the same time."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield from threads.map(call, values)


def is_model(root: str, name: str) -> bool:
    """Returns whether a folder in a root has what a run of a model leaves."""
    if not is_remote(root):
        return _has_runs(os.path.join(root, name))
    folder = history.record_uri(root, name, history.RUNS).removesuffix(".json")
    return bool(list_times(folder))


def _has_runs(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(
            os.path.exists(os.path.join(entry.path, "run.json")) or entry.name == "statistics"
            for entry in entries
        )


def _document(uri: str) -> Any:
    return json.loads(read_file(uri))
