"""Follows a job on Vertex AI to its end, and says why it failed."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote

from quatrain.components.errors import QuatrainError
from quatrain.components.storage import read_file
from quatrain.pipelines.compiled import RELEASE
from quatrain.terminal.console import Console
from quatrain.trainer import failure
from quatrain.vertex.cloud_file import Cloud, CloudError
from quatrain.vertex.job_tasks import path_of, state_of, tasks_of
from quatrain.vertex.launched_jobs import LaunchedJob, failed_jobs

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.submission import Submission

PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0)
"""Seconds between two reads of a job; the last is repeated. They start short, so that a job that
fails at once is reported at once."""

_OUTCOMES = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELLED": "was cancelled"}
"""How a job ended, by its state."""

_STEP_OUTCOMES = {
    "SUCCEEDED": "succeeded",
    "SKIPPED": "taken from the cache",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "NOT_TRIGGERED": "not started",
}
"""How a step ended, by its state."""

_EVALUATION = "evaluation"
"""The artifact that holds the report."""

_RELEASED = "output:released"
"""The field of the release's execution that says how far it got."""


class JobFailed(QuatrainError):
    """The job ended without success; the message says which step, why and where to look."""


class MachinesLacking(JobFailed):
    """The region had none of the training's machines just now; another tier may have some."""


class JobWatch:
    """Follows a job to its end.

    Args:
        vertex: The service.
        submission: The job that was sent.
        stream: Receives the progress.
        sleep: Waits between two reads of the job.
    """

    def __init__(
        self,
        vertex: Vertex,
        submission: Submission,
        stream: TextIO,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._vertex, self._submission, self._sleep = vertex, submission, sleep
        self._steps = submission.compiled.steps
        self._console = Console(stream, len(self._steps))
        self._states: dict[str, str] = {}
        self._started: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Returns the job once it has succeeded.

        Raises:
            MachinesLacking: The region had none of the training's machines.
            JobFailed: The job failed or was cancelled.
            CloudError: The job can no longer be read; on Vertex it continues.
        """
        pauses = itertools.chain(PAUSES_S, itertools.repeat(PAUSES_S[-1]))
        while True:
            job = self._read()
            self._show(job)
            state = state_of(job)
            if state == "SUCCEEDED":
                return job
            if state in _OUTCOMES:
                raise self._failure(job, state)
            self._sleep(next(pauses))

    def _read(self) -> dict[str, Any]:
        """Returns the job as it is now."""
        from quatrain.vertex.client import NoResponse

        job_id = self._submission.job_id
        try:
            return self._vertex.get_job(job_id)
        except NoResponse as error:
            raise CloudError(
                f"{error}\nthe job is still running; look: "
                f"{console_link(self._vertex.cloud, job_id)}"
            ) from error

    def _show(self, job: Mapping[str, Any]) -> None:
        """Prints the steps whose state has changed, and the time of running ones."""
        tasks = {
            task["taskName"]: task for task in tasks_of(job) if len(self._path(job, task)) == 1
        }
        for number, step in enumerate(self._steps, 1):
            task = tasks.get(step, {})
            state, before = state_of(task), self._states.get(step, "PENDING")
            if state == before:
                if state == "RUNNING":
                    elapsed_s = time.monotonic() - self._started[step]
                    self._console.step_goes_on(number, step, elapsed_s, None)
                continue
            if before != "RUNNING" and state in ("RUNNING", *_STEP_OUTCOMES):
                self._started[step] = time.monotonic()
                self._console.step_started(number, step)
            if state in _STEP_OUTCOMES:
                self._console.step_ended(number, step, _duration_s(task), _STEP_OUTCOMES[state])
            self._states[step] = state
        self._show_release(tasks_of(job))

    def _show_release(self, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Prints that the release is running, or how far it got, in a line after the steps.

        A condition that is false leaves the innermost task out, or not triggered.
        """
        parents = {task.get("parentTaskId") for task in tasks}
        for task in tasks:
            if task["taskName"] != RELEASE or task["taskId"] in parents:
                continue
            state, before = state_of(task), self._states.get(RELEASE, "PENDING")
            if state != before and state in ("RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"):
                outputs = task.get("execution", {}).get("metadata", {})
                words = "..." if state == "RUNNING" else _STEP_OUTCOMES[state]
                self._console.print(f"{RELEASE}: {outputs.get(_RELEASED, words)}")
            self._states[RELEASE] = state

    def _path(self, job: Mapping[str, Any], task: Mapping[str, Any]) -> list[str]:
        return path_of(job, task, self._steps)

    def _reason(self, job: Mapping[str, Any]) -> str:
        """Returns why the innermost failed task failed: outer tasks only repeat its error."""
        failed = [t for t in tasks_of(job) if state_of(t) == "FAILED" and _error(t)]
        parents = {t.get("parentTaskId") for t in failed}
        task = next((t for t in failed if t["taskId"] not in parents), None)
        return f"task {'/'.join(self._path(job, task))}: {_error(task)}" if task else _error(job)

    def _failure(self, job: Mapping[str, Any], state: str) -> JobFailed:
        """Returns why the job failed and where to look, in lines."""
        job_id = self._submission.job_id
        reason = self._reason(job)
        lines = [f"job {job_id} {_OUTCOMES[state]}" + (f": {reason}" if reason else "")]
        launched: list[LaunchedJob] = []
        try:
            launched += failed_jobs(self._vertex, job, job_id) if state == "FAILED" else []
        except CloudError as error:
            lines.append(str(error))
        lines += map(str, launched)
        if trainer_failure := _trainer_failure(job):
            lines.append(f"training: {trainer_failure}")
        lines.append(f"look: {console_link(self._vertex.cloud, job_id)}")
        if report := report_uri(job):
            lines.append(f"report: {report_link(report)}")
        lacked = any(each.lacked_machines for each in launched)
        return (MachinesLacking if lacked else JobFailed)("\n".join(lines))


def console_link(cloud: Cloud, job_id: str) -> str:
    """Returns the page of a job in Google's console."""
    return (
        f"https://console.cloud.google.com/vertex-ai/locations/{cloud.location}"
        f"/pipelines/runs/{job_id}?project={cloud.project}"
    )


def report_link(uri: str) -> str:
    """Returns the address at which a signed-in browser shows an object of a bucket."""
    return f"https://storage.cloud.google.com/{quote(uri.removeprefix('gs://'))}"


def report_uri(job: Mapping[str, Any]) -> str:
    """Returns the uri of a job's report, or an empty text before there is one."""
    for task in tasks_of(job):
        if artifacts := _artifacts(task, _EVALUATION):
            return f"{artifacts[0]['uri']}/report.html"
    return ""


def _trainer_failure(job: Mapping[str, Any]) -> str:
    """Returns the sentence of the trainer's failure.json, or an empty text without one."""
    for artifact in (a for task in tasks_of(job) for a in _artifacts(task, "model")):
        # Without a record that can be read, the job's own error is printed.
        with contextlib.suppress(OSError, ValueError, TypeError):
            record = json.loads(read_file(f"{artifact['uri']}/{failure.NAME}"))
            return str(failure.Failure(**record))
    return ""


def _artifacts(task: Mapping[str, Any], output: str) -> list[dict[str, Any]]:
    return list(task.get("outputs", {}).get(output, {}).get("artifacts", []))


def _error(job_or_task: Mapping[str, Any]) -> str:
    return str(job_or_task.get("error", {}).get("message", ""))


def _duration_s(task: Mapping[str, Any]) -> float:
    """Returns the duration of a task in seconds; 0 for a task that was never started."""
    try:
        start, end = (
            datetime.datetime.fromisoformat(task[key]) for key in ("startTime", "endTime")
        )
    except KeyError:
        return 0.0
    return (end - start).total_seconds()
