"""What `quatrain report` shows of a run in a bucket or on Vertex AI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from quatrain.components.artifacts import ANOTHER_RUN
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import in_shape, read_manifest
from quatrain.components.tiers import prices
from quatrain.results.listing import Root, of_job
from quatrain.results.run_files import RunFiles, files_of_run
from quatrain.results.summary import RunSummary, joined
from quatrain.terminal.printouts import metric_lines
from quatrain.terminal.run_table import duration, usd

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex


@dataclass(frozen=True)
class RemoteRun:
    """A run without a folder here.

    Attributes:
        summary: What is known of it.
        metrics: metrics.json; None if it was not measured.
        report: The uri of its report; empty if it was not measured.
        link: The page of its job in Google's console; empty without a cloud.
    """

    summary: RunSummary
    metrics: Mapping[str, Any] | None
    report: str
    link: str = ""

    def as_document(self) -> dict[str, Any]:
        """Returns the run as `quatrain report --json` prints it."""
        return {
            "folder": self.summary.place,
            "run": self.summary.as_document(),
            "metrics": self.metrics,
            "page": self.report or None,
        }

    def lines(self) -> Iterator[str]:
        """Yields the status, the cost, the metrics, the gate, and where the pages are."""
        from quatrain.vertex.job_watch import report_link
        from quatrain.vertex.past_jobs import COUNTED

        run = self.summary
        yield f"{run.name} {run.run}: {run.status} after {duration(run.wall_s)}"
        if run.cost:
            yield f"estimated at {usd(run.cost.model_dump())} USD: {COUNTED}"
        if self.metrics:
            yield ""
            with in_shape(f"{self.report.rpartition('/')[0]}/metrics.json", ANOTHER_RUN):
                yield from metric_lines(dict(self.metrics))
        if run.error:
            yield from ("", f"error: {run.error}")
        if self.report:
            yield from ("", f"page: {report_link(self.report)}")
        if self.link:
            yield f"job:  {self.link}"


def read_remote(place: str, root: Root) -> RemoteRun:
    """Reads a run by its record, and by its job where there is a cloud.

    Args:
        place: `gs://ROOT/NAME/RUN`, or `gs://ROOT/NAME` for the last run.
        root: The cloud, if there is one.

    Raises:
        ArtifactError: It left neither a record nor a job, or a file cannot be read.
        QuatrainError: There is no such run, or Vertex AI cannot be asked.
    """
    files = files_of_run(place)
    if root.vertex is None:
        return _measured(files, files.summary(), "")
    job, link = _job(root, root.vertex, files.place)
    try:
        recorded = files.summary()
    except ArtifactError:
        if job is None:
            raise
        return RemoteRun(job, None, "", link)
    return _measured(files, joined(job, recorded) if job else recorded, link)


def _measured(files: RunFiles, summary: RunSummary, link: str) -> RemoteRun:
    evaluation = files.artifact("evaluation")
    metrics = read_manifest(evaluation, "metrics.json", "evaluate")
    return RemoteRun(summary, metrics, f"{evaluation}/report.html", link)


def _job(root: Root, vertex: Vertex, place: str) -> tuple[RunSummary | None, str]:
    """Returns what the job of a run says, and its page; None and no page if it is gone."""
    from quatrain.vertex.client import NotFound
    from quatrain.vertex.job_watch import console_link
    from quatrain.vertex.past_jobs import past_job

    job_id = place.rpartition("/")[2]
    try:
        job = past_job(vertex, job_id, prices.load_prices(root.prices))
    except NotFound:
        return None, ""
    return replace(of_job(job, root), place=place), console_link(vertex.cloud, job_id)
