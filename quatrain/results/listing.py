"""Lists the runs of a model, or the models of a root: here, in a bucket, or with their jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.storage import MOUNT, is_remote, list_folders
from quatrain.components.tiers import prices
from quatrain.components.uris import DEFAULT_ROOT, SCHEME
from quatrain.components.wording import near
from quatrain.results.folders import folder_runs
from quatrain.results.records import at_once, champion_of, is_model, read_record, recorded_runs
from quatrain.results.summary import Listing, RunSummary, joined, newest_first
from quatrain.trainer.failure import Failure

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.past_jobs import PastJob

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
"""The name of a model. A run on Vertex AI leaves its artifacts below the number of its project."""
RECENT_JOBS = 100
"""The newest jobs, among which models are found that left nothing below the root yet."""


class RunsNotFound(QuatrainError):
    """There are no runs where they were looked for."""


@dataclass(frozen=True)
class Root:
    """Where runs are looked for.

    Attributes:
        uri: The folder of all runs, a path or a gs:// uri.
        vertex: The service whose jobs write there; None to look at the files alone.
        prices: The table by which the cost of a job is estimated.
    """

    uri: str
    vertex: Vertex | None = None
    prices: Path = prices.OWN

    @property
    def is_here(self) -> bool:
        """Whether the runs have folders on this machine."""
        return not is_remote(self.uri)

    def check(self) -> None:
        """Checks that a root on this machine is the folder of all runs.

        Raises:
            RunsNotFound: It is no folder, or the folder of one model.
        """
        folder = Path(self.uri)
        if not self.is_here:
            return
        if not folder.is_dir():
            raise RunsNotFound(
                f"{self.uri} is no folder; name the folder of all runs by --root, or a cloud.yaml "
                f"by --cloud"
            )
        if next(folder.glob("*/run.json"), None):
            raise RunsNotFound(
                f"{self.uri} is the folder of one model; write "
                f"`quatrain list {folder.absolute().name} --root {folder.parent}`"
            )


def open_root(
    root: str = "", cloud: Path | str = "", table: Path | None = None, *, check: bool = True
) -> Root:
    """Returns where runs are looked for.

    Args:
        root: The folder of all runs, a path or a gs:// uri; if empty, that of the cloud or `runs`.
        cloud: A file of cloud settings; with it, jobs are listed too, with their costs.
        table: The table of prices; None for the project's own.
        check: Whether a root on this machine must be the folder of all runs.

    Raises:
        CloudError: The settings are wrong.
        RunsNotFound: A root on this machine is not the folder of all runs.
    """
    if not cloud:
        opened = Root(root.rstrip("/") or root or DEFAULT_ROOT)
        if check:
            opened.check()
        return opened
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.cloud_file import load_cloud

    settings = load_cloud(cloud, allow_tag=True)
    if root:
        settings = settings.model_copy(update={"root": root})
    return Root(settings.root.rstrip("/"), Vertex(settings), table or prices.OWN)


def list_runs(root: Root, name: str, last: int = 0) -> Listing:
    """Returns the last runs of a model.

    Args:
        root: Where to look.
        name: The model.
        last: How many; 0 for all.

    Raises:
        RunsNotFound: The model has no runs there.
        QuatrainError: The root or the service cannot be read.
    """
    listing = _list_runs(root, name, last)
    if not listing.runs and not listing.problems:
        names = [other for other in list_models(root) if other != name]
        if not names:
            raise RunsNotFound(f"{root.uri} has no runs; name another root, or run a model first")
        raise RunsNotFound(f"{root.uri} has no runs of a model {name!r}{near(name, names)}")
    return listing


def list_models(root: Root) -> list[str]:
    """Returns the names of the models that have runs, sorted.

    Raises:
        QuatrainError: The root or the service cannot be read.
    """
    try:
        names = [name for name in list_folders(root.uri) if NAME.fullmatch(name)]
        known = at_once(lambda name: is_model(root.uri, name), names)
        models = {name for name, is_one in zip(names, known, strict=True) if is_one}
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
    if root.vertex:
        models |= {job.name for job in islice(_jobs(root, root.vertex, ""), RECENT_JOBS)}
    return sorted(models)


def list_last_runs(root: Root) -> Listing:
    """Returns the last run of each model, by the name of the model.

    Raises:
        RunsNotFound: The root has no runs.
        QuatrainError: The root or the service cannot be read.
    """
    listings = list(at_once(lambda name: _list_runs(root, name, 1), list_models(root)))
    runs = [run for listing in listings for run in listing.runs[:1]]
    problems = [problem for listing in listings for problem in listing.problems]
    if not runs and not problems:
        raise RunsNotFound(f"{root.uri} has no runs; name another root, or run a model first")
    return Listing(runs, problems)


def job_ids(root: Root, name: str) -> list[str]:
    """Returns the ids of the newest jobs of a model; none without a service."""
    jobs = _jobs(root, root.vertex, name) if root.vertex else iter(())
    return [job.job_id for job in islice(jobs, RECENT_JOBS)]


def _list_runs(root: Root, name: str, last: int) -> Listing:
    found = Listing([], [])
    if root.is_here and Path(root.uri, name).is_dir():
        found = folder_runs(root.uri, name, last)
    if not found.runs:  # a root in a bucket, or its mount
        found = recorded_runs(root.uri, name, last)
        kept = [run for run in found.runs if not root.is_here or _is_in_bucket(run)]
        found = found._replace(runs=kept)
    if root.vertex:
        found = _with_jobs(found, root, root.vertex, name, last)
    champion = champion_of(root.uri, name)
    runs = [replace(run, is_champion=run.run == champion) for run in found.runs]
    runs = sorted(runs, key=newest_first, reverse=True)
    shown = runs[:last] if last else runs
    more = found.more + sum(run.measured is not None for run in runs[len(shown) :])
    return Listing(shown, found.problems, more)


def _is_in_bucket(run: RunSummary) -> bool:
    """Returns whether the artifacts of a run lie in a bucket, not in a folder that was removed."""
    evaluation = str((run.measured or {})["artifacts"]["evaluation"])
    return evaluation.startswith((SCHEME, MOUNT))


def _with_jobs(found: Listing, root: Root, vertex: Vertex, name: str, last: int) -> Listing:
    """Returns the runs of jobs, with what their gates recorded, and those whose job is gone."""
    records = {run.run: run for run in found.runs}
    jobs = list(islice(_jobs(root, vertex, name), last or None))
    # A job that took long may have a record, but none of the last ones.
    others = [job.job_id for job in jobs if job.job_id not in records and job.status != "running"]
    problems = list(found.problems)
    for entry in at_once(lambda run: read_record(root.uri, name, run), others):
        if isinstance(entry, RunSummary):
            records[entry.run] = entry
        elif entry and entry not in problems:
            problems.append(entry)
    runs = [joined(of_job(job, root), records.pop(job.job_id, None)) for job in jobs]
    return found._replace(runs=[*runs, *records.values()], problems=problems)


def of_job(job: PastJob, root: Root) -> RunSummary:
    """Returns a run by its job on Vertex AI."""
    return RunSummary(
        job.name,
        job.job_id,
        f"{root.uri}/{job.name}/{job.job_id}",
        job.status,
        started=job.created.isoformat(timespec="seconds"),
        wall_s=job.wall_s,
        cost=job.cost,
        error=job.error,
    )


def _jobs(root: Root, vertex: Vertex, name: str) -> Iterator[PastJob]:
    from quatrain.vertex.past_jobs import past_jobs

    return past_jobs(vertex, name, prices.load_prices(root.prices))
