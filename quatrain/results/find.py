"""Finds the run that someone names: by its folder, its uri, or a part of its id."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.components.storage import is_remote, list_times
from quatrain.components.wording import counted, near
from quatrain.local.runs import CHAMPION, LATEST
from quatrain.results.folders import run_folders
from quatrain.results.listing import (
    Root,
    RunsNotFound,
    job_ids,
    list_last_runs,
    list_models,
    list_runs,
)
from quatrain.results.records import champion_of
from quatrain.results.run_files import files_of_run
from quatrain.results.summary import RunSummary, newest_first
from quatrain.trainer.failure import Failure

NEWEST = 50
"""The newest runs of each model, among which the last one that was measured is looked for."""
SHOWN = 5
"""Ids or models that an error names at most."""


def find_place(text: str, root: Root) -> str:
    """Returns where a run is: its folder, or `gs://ROOT/NAME/RUN`.

    Args:
        text: A folder or such a uri; or, below the root, `ID` or `NAME/ID`, where ID is a part that
            one id alone has, `latest` or `champion`; or NAME, for its last run that was measured.
        root: Where the ids are looked for.

    Raises:
        RunsNotFound: There is no such run, or there are several.
        QuatrainError: The root or the service cannot be read.
    """
    if is_remote(text):
        folder, _, last = text.rstrip("/").rpartition("/")
        return _champion(*_model_of(folder)) if last == CHAMPION else text
    if Path(text).is_dir():
        return text
    if root.is_here and not Path(root.uri).is_dir():
        raise RunsNotFound(
            f"{text} is no folder here, and nor is {root.uri}, below which runs have ids; name "
            f"another one by --root"
        )
    root.check()
    name, _, part = text.rstrip("/").rpartition("/")
    names = [name] if name else list_models(root)
    if not name and part in names:
        return f"{root.uri}/{part}"
    if part in (LATEST, CHAMPION):
        if len(names) != 1:
            raise RunsNotFound(
                f"{root.uri} has {counted(len(names), 'model')}, so {part!r} may be of any; write "
                f"NAME/{part}{near(part, names)}"
            )
        return _champion(root.uri, names[0]) if part == CHAMPION else f"{root.uri}/{names[0]}"
    return _by_id(part, names, root)


def last_place(root: Root) -> str:
    """Returns where the run is that started last, of whichever model.

    Raises:
        RunsNotFound: The root has no runs, or only damaged records of them.
        QuatrainError: The root or the service cannot be read.
    """
    root.check()
    listing = list_last_runs(root)
    if not listing.runs:
        raise RunsNotFound("\n".join(listing.problems))
    return max(listing.runs, key=newest_first).place


def last_pair(root: Root, before: str = "") -> tuple[str, str]:
    """Returns two runs to compare: the last one that was measured is the second.

    Args:
        root: Where to look.
        before: The place of the first; if empty, it is the champion, or if that is the second, the
            run that was measured before.

    Raises:
        RunsNotFound: No run was measured, or only one.
        QuatrainError: The root or the service cannot be read.
    """
    root.check()
    known = names = list_models(root)
    place = files_of_run(before).place if before else ""
    name = _model_of(_model_of(place)[0])[1]
    if name in known:
        names = [name]
    runs = [run for each in names for run in _measured_runs(root, each)]
    if not runs:
        raise RunsNotFound(f"{root.uri} has no run that was measured; name another by --root")
    now = max(runs, key=newest_first)
    if before:
        if place == files_of_run(now.place).place:
            raise RunsNotFound(f"{before} is the last run that was measured; name two runs")
        return before, now.place
    champion = champion_of(root.uri, now.name)
    if champion not in ("", now.run):
        return f"{root.uri}/{now.name}/{champion}", now.place
    earlier = [run for run in runs if run.name == now.name and run.run != now.run]
    if not earlier:
        raise RunsNotFound(f"{now.place} has no run before it to be compared with; name two runs")
    return max(earlier, key=newest_first).place, now.place


def _measured_runs(root: Root, name: str) -> list[RunSummary]:
    """Returns the newest runs of a model that were measured; none if all were removed."""
    try:
        return [run for run in list_runs(root, name, NEWEST).runs if run.measured]
    except RunsNotFound:
        return []


def _by_id(part: str, names: Iterable[str], root: Root) -> str:
    """Returns the place of the run whose id is, or alone holds, a text."""
    ids = [(name, run) for name in names for run in _ids(root, name)]
    found = [entry for entry in ids if entry[1] == part] or [e for e in ids if part in e[1]]
    if not found:
        raise RunsNotFound(
            f"{part!r} is no folder here and no run of {root.uri}"
            f"{near(part, [run for _, run in ids][:SHOWN])}"
        )
    if len(found) > 1:
        shown = ", ".join(f"{name}/{run}" for name, run in found[:SHOWN])
        more = ", ..." if len(found) > SHOWN else ""
        raise RunsNotFound(
            f"{part!r} is a part of {counted(len(found), 'id')} of {root.uri}: {shown}{more}; "
            f"write more of the one that is meant"
        )
    return "/".join((root.uri, *found[0]))


def _ids(root: Root, name: str) -> list[str]:
    """Returns the ids of all runs of a model, each once."""
    ids: list[str] = []
    if root.is_here and Path(root.uri, name).is_dir():
        ids += [folder.name for folder in run_folders(Path(root.uri, name))]
    if not root.is_here:
        folder = history.record_uri(root.uri, name, history.RUNS).removesuffix(".json")
        try:
            files = list_times(folder)
        except OSError as error:
            raise ArtifactError(str(Failure.of(error))) from error
        ids += [file.removesuffix(".json") for file in files if file.endswith(".json")]
    return list(dict.fromkeys([*ids, *job_ids(root, name)]))


def _model_of(folder: str) -> tuple[str, str]:
    root, _, name = folder.rpartition("/")
    return root, name


def _champion(root: str, name: str) -> str:
    """Returns the place of the run whose model is the champion."""
    if run := champion_of(root, name):
        return f"{root}/{name}/{run}"
    raise RunsNotFound(
        f"{root}/{name} has no champion, since no run passed its gate; name a run by its id"
    )
