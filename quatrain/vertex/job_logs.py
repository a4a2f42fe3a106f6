"""The log lines of a pipeline job: of its tasks, and of the jobs that they launched.

They are read by `entries.list` of Cloud Logging
(https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list).
"""

from __future__ import annotations

import datetime
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quatrain.components.errors import QuatrainError
from quatrain.components.times import parse_utc
from quatrain.components.wording import near
from quatrain.vertex.job_tasks import (
    FINISHED,
    LaunchedResource,
    containers_of,
    path_of,
    resources_of,
    state_of,
    steps_of,
    tasks_of,
)

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex

ENTRIES = "https://logging.googleapis.com/v2/entries:list"
MAX_PAGE = 1000
"""The largest page of `entries.list`."""
SEVERITIES = (
    "DEFAULT",
    "DEBUG",
    "INFO",
    "NOTICE",
    "WARNING",
    "ERROR",
    "CRITICAL",
    "ALERT",
    "EMERGENCY",
)
"""The severities of Cloud Logging, from the least (google/logging/type/log_severity.proto)."""
PAUSE_S = 5.0
"""Seconds between two looks with --follow; a project may ask for 60 pages a minute
(https://cloud.google.com/logging/quotas#api-limits)."""
OVERLAP = datetime.timedelta(seconds=60)
"""Lines that arrive this much later than they were written are seen by --follow, too."""


class LogError(QuatrainError):
    """The logs cannot be selected as requested."""


@dataclass(frozen=True)
class LogLine:
    """An entry of the log.

    Attributes:
        time: When it was written, in UTC.
        severity: A word of `SEVERITIES`.
        source: The step, and the replica where it has several.
        text: The message, of one line or several.
        key: Tells the entry from all others.
    """

    time: datetime.datetime
    severity: str
    source: str
    text: str
    key: tuple[str, str, str]

    def lines(self) -> Iterator[str]:
        """Yields the entry in lines for the terminal, with the time in the local zone."""
        first, *more = self.text.splitlines() or [""]
        local = self.time.astimezone()
        yield f"{local:%Y-%m-%d %H:%M:%S}  {self.severity.lower():<8}  {self.source:<19}  {first}"
        yield from (f"    {line}" for line in more)


@dataclass(frozen=True)
class _Job:
    """A job behind a task: its step, its type of resource, and whether the task launched it."""

    step: str
    type: str
    is_launched: bool


@dataclass(frozen=True)
class LogQuery:
    """Which lines to read.

    Attributes:
        step: The step, such as train; empty for all, and for the events of the pipeline itself.
        severity: The least severity.
        since: The time of the first line; None for the creation of the job.
    """

    step: str = ""
    severity: str = "DEFAULT"
    since: datetime.datetime | None = None


class JobLogs:
    """Reads the log lines of a pipeline job.

    Args:
        vertex: The service.
        job_id: The id of the job.
        query: Which lines to read.

    Raises:
        LogError: The pipeline has no such step.
        CloudError: The job cannot be read.
    """

    def __init__(self, vertex: Vertex, job_id: str, query: LogQuery) -> None:
        self._vertex, self._job_id, self._query = vertex, job_id, query
        self._job = vertex.get_job(job_id)
        self._steps = steps_of(self._job)
        if query.step and query.step not in self._steps:
            raise LogError(
                f"--step {query.step}: {job_id} has no such step{near(query.step, self._steps)}"
            )

    @property
    def state(self) -> str:
        """The state of the job when it was last read, such as RUNNING."""
        return state_of(self._job)

    def last(self, n: int, severity: str = "") -> list[LogLine]:
        """Returns the last `n` lines in the order of time.

        Args:
            n: The most lines.
            severity: The least severity; by default the query's.
        """
        text = self._filter(self._since(), severity or self._query.severity)
        newest_first = self._entries(text, "timestamp desc", min(n, MAX_PAGE))
        return list(itertools.islice(newest_first, n))[::-1]

    def following(self, shown: Sequence[LogLine]) -> Iterator[LogLine]:
        """Yields lines as they arrive, until the job has ended and brings no more.

        Args:
            shown: The lines that were read before.
        """
        seen = {line.key for line in shown}
        newest = max((line.time for line in shown), default=self._since())
        while True:
            had_ended = self.state in FINISHED
            self._job = self._vertex.get_job(self._job_id)  # has the jobs launched since
            start = max(self._since(), newest - OVERLAP)
            text = self._filter(start, self._query.severity)
            for line in self._entries(text, "timestamp asc", MAX_PAGE):
                if line.key not in seen:
                    seen.add(line.key)
                    newest = max(newest, line.time)
                    yield line
            if had_ended:
                return
            time.sleep(PAUSE_S)

    def _since(self) -> datetime.datetime:
        return self._query.since or parse_utc(self._job["createTime"])

    def _entries(self, text: str, order: str, page_size: int) -> Iterator[LogLine]:
        from quatrain.vertex.client import LOGS

        if not text:
            return
        jobs = self._jobs()
        body: dict[str, Any] = {
            "resourceNames": [f"projects/{self._vertex.cloud.project}"],
            "filter": text,
            "orderBy": order,
            "pageSize": page_size,
        }
        while True:
            what = f"read the log of job {self._job_id}"
            page = self._vertex.send(ENTRIES, what, body, needs=LOGS)
            yield from (_line_of(entry, jobs) for entry in page.get("entries", ()))
            # A page may be empty where the service has only not searched further yet.
            if not page.get("nextPageToken"):
                return
            body["pageToken"] = page["nextPageToken"]

    def _jobs(self) -> dict[str, _Job]:
        """Returns the jobs behind the tasks, by their numbers."""
        jobs: dict[str, _Job] = {}
        for task in tasks_of(self._job):
            step = path_of(self._job, task, self._steps)[0]
            if self._query.step in ("", step):
                jobs |= dict.fromkeys(containers_of(task), _Job(step, "ml_job", False))
                jobs |= {r.number: _Job(step, _type_of(r), True) for r in resources_of(task)}
        return jobs

    def _filter(self, since: datetime.datetime, severity: str) -> str:
        """Returns the filter of the job's lines in the query language of Cloud Logging.

        It is empty for a step that has not started, which has no job yet.

        The types of resources and their labels are those of
        https://cloud.google.com/logging/docs/api/v2/resource-list. Containers and custom jobs are
        `ml_job` by the job's number, as gcloud streams them (command_lib/ml_engine/log_utils.py);
        workers of Dataflow are `dataflow_step`
        (https://cloud.google.com/dataflow/docs/guides/logging); the pipeline's own events are
        `aiplatform.googleapis.com/PipelineJob`
        (https://cloud.google.com/vertex-ai/docs/pipelines/logging).
        """
        jobs = self._jobs()
        alternatives = []
        if not self._query.step:
            alternatives.append(
                f'(resource.type="aiplatform.googleapis.com/PipelineJob" AND '
                f'resource.labels.pipeline_job_id="{self._job_id}")'
            )
        for kind in ("ml_job", "dataflow_step"):
            numbers = [json.dumps(number) for number, job in jobs.items() if job.type == kind]
            if numbers:
                labels = f"resource.labels.job_id=({' OR '.join(numbers)})"
                alternatives.append(f'(resource.type="{kind}" AND {labels})')
        if not alternatives:
            return ""
        text = f'timestamp>="{_rfc3339(since)}" AND ({" OR ".join(alternatives)})'
        return text if severity == SEVERITIES[0] else f"{text} AND severity>={severity}"


def read_since(text: str, now: datetime.datetime) -> datetime.datetime:
    """Returns the time that `--since` names: 30s, 10m, 2h or 7d before now, or an ISO time.

    Raises:
        LogError: The text is neither.
    """
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    number, unit = text[:-1], text[-1:]
    try:
        if unit in units and number.isdecimal():
            return now - datetime.timedelta(**{units[unit]: int(number)})
        time = datetime.datetime.fromisoformat(text)
        return time.astimezone(datetime.UTC)  # one without an offset is in the local zone
    except (ValueError, OverflowError) as error:
        raise LogError(
            f"--since {text!r} must be a time before now, such as 30s, 10m, 2h or 7d, or an ISO "
            f"time, such as 2026-12-01T03:00"
        ) from error


def _line_of(entry: Mapping[str, Any], jobs: Mapping[str, _Job]) -> LogLine:
    """Returns an entry of the log as a line."""
    labels = entry.get("resource", {}).get("labels", {})
    job = jobs.get(labels.get("job_id", ""), _Job("pipeline", "", False))
    trial = entry.get("labels", {}).get("ml.googleapis.com/trial_id")
    replica = f"trial-{trial}" if trial else labels.get("task_name", "")
    return LogLine(
        parse_utc(entry["timestamp"]),
        entry.get("severity", SEVERITIES[0]),
        f"{job.step}/{replica}" if job.is_launched and replica else job.step,
        _text_of(entry),
        (entry.get("logName", ""), entry["timestamp"], entry.get("insertId", "")),
    )


def _text_of(entry: Mapping[str, Any]) -> str:
    """Returns the message of an entry, or its whole payload in one line of JSON."""
    if "textPayload" in entry:
        return str(entry["textPayload"]).rstrip("\n")
    payload = entry.get("jsonPayload") or entry.get("protoPayload") or {}
    message = payload.get("message")
    return str(message).rstrip("\n") if message else json.dumps(payload, ensure_ascii=False)


def _type_of(resource: LaunchedResource) -> str:
    return "dataflow_step" if resource.kind == "DataflowJob" else "ml_job"


def _rfc3339(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
