"""What below a root may be deleted, and why each other run, version and record stays."""

from __future__ import annotations

import datetime
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quatrain.cleanup.files import Files, files_in, is_linked
from quatrain.cleanup.protection import CLAIM_S, Protection, protection_of
from quatrain.components import versions
from quatrain.components.artifacts import CACHE
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import MISSHAPEN
from quatrain.components.storage import is_remote, list_folders
from quatrain.components.times import parse_utc
from quatrain.components.wording import counted
from quatrain.local.runs import CHAMPION, LATEST, LINKS
from quatrain.results.folders import run_folders
from quatrain.results.records import at_once, recorded_runs
from quatrain.terminal.printouts import status_of
from quatrain.trainer.failure import Failure
from quatrain.trainer.uris import name_outside

RUN, VERSION, RECORD = "run", "version", "cache"
OURS = {
    RUN: {"run.json", "spec.yaml", "training.yaml", "prediction.yaml", "logs", "pipeline", *LINKS},
    VERSION: {"model", "release", "metrics.json", "lineage.json", "report.html", "version.json"},
}
"""The names that Quatrain writes into the folder of a run here, and of a version."""
_ID = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)-\d{6}")
"""The id of a run on this machine: when it was created, in UTC."""
RELEASED = "release/instance.yaml"
"""What a release writes beside the model that Vertex AI gets."""


@dataclass(frozen=True)
class Limits:
    """What is kept beyond what the records name.

    Attributes:
        keep_runs: The newest runs of each model.
        keep_versions: The champions before the present one.
        older_than_days: The least age of a run that may go.
        served: The display names of all deployed models; None if the endpoints were not asked.
    """

    keep_runs: int = 10
    keep_versions: int = 3
    older_than_days: float = 7
    served: Set[str] | None = None


@dataclass(frozen=True)
class Item:
    """A run, a version, or a record of the cache.

    Attributes:
        kind: run, version or cache.
        name: The model; empty for a record of the cache.
        id: The run; the name of the file for a record of the cache.
        place: Its path or uri.
        bytes: The size of its files.
        why: Why it stays; empty if it may go.
        examples: The examples in it, which the cache of Vertex AI may name; empty for none.
    """

    kind: str
    name: str
    id: str
    place: str
    bytes: int
    why: str
    examples: str = ""

    def as_json(self) -> dict[str, Any]:
        """Returns the item as `--json` prints it."""
        return {key: value for key, value in asdict(self).items() if key != "examples"}


@dataclass(frozen=True)
class _Run:
    """A run that has files: its place, its age, and what its records say.

    Attributes:
        id: Its id.
        place: Its folder, here or that of its job in a bucket.
        started: When it was created, as an ISO time.
        artifacts: Its artifacts, by their names; a cached one lies in another run's folder.
        why: Why it stays whatever its age; empty for no such reason.
    """

    id: str
    place: str
    started: str
    artifacts: dict[str, str]
    why: str = ""


def plan(root: str, names: list[str], limits: Limits) -> list[Item]:
    """Returns the runs and versions of models, and the records of the cache of local runs.

    Args:
        root: The folder of all runs, an absolute path or a gs:// uri.
        names: The models.
        limits: What is kept.

    Raises:
        ArtifactError: A record or a folder cannot be read.
    """
    try:
        items = [item for name in names for item in _of_model(root, name, limits)]
        gone = {item.place for item in items if not item.why}
        return [*items, *_records(root, gone)]
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error


def _of_model(root: str, name: str, limits: Limits) -> Iterator[Item]:
    if is_linked(root, f"{root}/{name}"):
        yield Item(RUN, name, "", f"{root}/{name}", 0, "it is a link, which is not followed")
        return
    protection = protection_of(root, name, limits.keep_versions)
    yield from _runs(root, name, limits, protection)
    yield from _versions(root, name, limits, protection)


def _runs(root: str, name: str, limits: Limits, protection: Protection) -> Iterator[Item]:
    found = _runs_in_bucket(root, name) if is_remote(root) else _runs_here(root, name)
    runs = sorted(found, key=lambda run: (_seconds(run.started), run.id), reverse=True)
    kept: list[_Run] = []
    rest: list[tuple[_Run, Files, str]] = []
    for number, (run, inside) in enumerate(
        zip(runs, at_once(lambda run: files_in(run.place), runs), strict=True)
    ):
        why = _why_kept(root, name, run, number, limits, protection)
        why = why or _why_not_ours(RUN, root, run.place, inside)
        why = why or _why_served(name, run.id, inside, limits)
        if why:
            kept.append(run)
        if inside.n_bytes or not is_remote(root):
            rest.append((run, inside, why))
    for run, inside, why in rest:
        users = (k for k in kept if _lies_in(run.place, k.artifacts.values()))
        if not why and (user := next(users, None)):
            why = f"run {user.id}, which stays, has taken artifacts of it"
        examples = run.artifacts.get("examples", "")
        own = examples if _lies_in(run.place, [examples]) else ""
        yield Item(RUN, name, run.id, run.place, inside.total_bytes, why, own)


def _lies_in(place: str, uris: Iterable[str]) -> bool:
    return any(uri.startswith(f"{place}/") for uri in uris)


def _runs_here(root: str, name: str) -> Iterator[_Run]:
    """Yields the runs that have a folder on this machine."""
    yield from _emptied_runs(root, name)
    for folder in run_folders(Path(root, name)):
        started, why = "", ""
        try:
            record = json.loads((folder / "run.json").read_bytes())
            started = str(record["started"])
            if (record["name"], record["id"]) != (name, folder.name):
                why = "its run.json is of another run"
            elif status_of(record) == "running":
                why = "it is still going"
        except (OSError, *MISSHAPEN) as error:
            why = f"its run.json cannot be read ({type(error).__name__})"
        for link in (LATEST, CHAMPION):
            if _target(Path(root, name, link)) == folder.name:
                why = why or f"the link {link} points to it"
        yield _Run(folder.name, str(folder), started, {}, why)


def _emptied_runs(root: str, name: str) -> Iterator[_Run]:
    """Yields the empty folders of runs, which a deletion has left that was killed at its end."""
    with os.scandir(Path(root, name)) as entries:
        folders = [e for e in entries if _ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    for entry in folders:
        match = _ID.fullmatch(entry.name)
        age_s = time.time() - entry.stat(follow_symlinks=False).st_mtime
        if match and age_s > CLAIM_S and not os.listdir(entry.path):
            started = "{}-{}-{}T{}:{}:{}+00:00".format(*match.groups())
            yield _Run(entry.name, f"{root}/{name}/{entry.name}", started, {})


def _runs_in_bucket(root: str, name: str) -> Iterator[_Run]:
    """Yields the measured runs whose artifacts lie below the root, in the folder of their job.

    Vertex AI names that folder: the number of the project and the id of the job.
    """
    listing = recorded_runs(root, name)
    if listing.problems:
        raise ArtifactError(listing.problems[0])
    for summary in listing.runs:
        measured = summary.measured or {}
        artifacts = {key: str(uri) for key, uri in measured.get("artifacts", {}).items()}
        pattern = rf"{re.escape(root)}/\d+/{re.escape(summary.run)}(?=/)"
        if job := re.match(pattern, artifacts.get("evaluation", "")):
            started = summary.started or str(measured.get("made", ""))
            yield _Run(summary.run, job[0], started, artifacts)


def _why_kept(
    root: str, name: str, run: _Run, number: int, limits: Limits, protection: Protection
) -> str:
    """Returns why a run stays by its age and the records; empty if it may go."""
    if why := run.why or protection.runs.get(run.id, ""):
        return why
    if run.id in protection.versions and versions.read_version(root, name, run.id) is None:
        return protection.versions[run.id]
    if number < limits.keep_runs:
        return f"it is among the newest {counted(limits.keep_runs, 'run')}"
    age_days = (time.time() - _seconds(run.started)) / 86_400
    if age_days < limits.older_than_days:
        return f"it is younger than --older-than {limits.older_than_days:g}"
    return ""


def _versions(root: str, name: str, limits: Limits, protection: Protection) -> Iterator[Item]:
    folder = f"{root}/{name}/{versions.VERSIONS}"
    if is_linked(root, folder):
        yield Item(VERSION, name, "", folder, 0, "it is a link, which is not followed")
        return
    runs = list_folders(folder)
    for run, inside in zip(runs, at_once(lambda r: files_in(f"{folder}/{r}"), runs), strict=True):
        place = f"{folder}/{run}"
        why = protection.versions.get(run, "") or _why_not_ours(VERSION, root, place, inside)
        if not why and time.time() - inside.newest_s < CLAIM_S:
            why = "it was written within the hour"
        why = why or _why_served(name, run, inside, limits)
        yield Item(VERSION, name, run, place, inside.total_bytes, why)


def _why_not_ours(kind: str, root: str, place: str, files: Files) -> str:
    """Returns why a folder is not, or not only, what Quatrain has written; empty if it is."""
    if is_linked(root, place):
        return "it is a link, which is not followed"
    if kind == RUN and is_remote(root):  # it is named by its job
        return ""
    foreign = sorted(files.at_top - OURS[kind])
    return f"it holds {foreign[0]!r}, which is not of Quatrain" if foreign else ""


def _why_served(name: str, run: str, files: Files, limits: Limits) -> str:
    """Returns why a model may be served by an endpoint; empty if it is not."""
    if limits.served is not None:
        is_served = f"quatrain {name} {run}"[:128] in limits.served
        return "an endpoint has it deployed" if is_served else ""
    if any(file.endswith(RELEASED) for file in files.n_bytes):
        return "it was released; with --cloud the endpoints are asked whether they serve it"
    return ""


def _records(root: str, gone: Set[str]) -> Iterator[Item]:
    """Yields the records of the cache of local runs, with those whose run is gone or goes."""
    folder = Path(root, CACHE, "tasks")
    if is_remote(root) or is_linked(root, str(folder)) or not folder.is_dir():
        return
    for path in sorted(folder.glob("*.json")):
        if path.is_symlink():
            continue
        try:
            entries = json.loads(path.read_bytes())["artifacts"].values()
            names = [str(entry["folder"]) for entry in entries]
            places = [f"{root}/{name}" for name in names]
            going = any(place.startswith(f"{run}/") for place in places for run in gone)
            is_lost = bool(name_outside(names)) or going or not all(map(os.path.isdir, places))
        except (OSError, *MISSHAPEN):
            is_lost = True
        why = "" if is_lost else "the run that it names is there"
        yield Item(RECORD, "", path.name, str(path), path.lstat().st_size, why)


def _target(link: Path) -> str:
    """Returns the name that a link points to; empty if it is none."""
    return os.readlink(link) if link.is_symlink() else ""


def _seconds(time_text: str) -> float:
    """Returns an ISO time in seconds since 1970; now for one that cannot be read."""
    try:
        return parse_utc(time_text).timestamp()
    except ValueError:
        return datetime.datetime.now(datetime.UTC).timestamp()
