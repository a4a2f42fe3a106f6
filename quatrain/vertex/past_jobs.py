"""What became of a model's jobs on Vertex AI: their state, their time and their cost."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from quatrain.components.errors import QuatrainError
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.tiers.prices import Interval, Prices
from quatrain.components.times import parse_utc
from quatrain.components.train.plan import resolve_tier

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex

COUNTED = (
    "the machines of each task for the time of the task, its wait for them included, and the fee "
    "of a run; neither transfer, storage, Dataflow nor discounts"
)
"""What the estimated cost of a job counts."""
_TRAINING, _TUNING = "custom-training-job", "hyperparameter-tuning-job"
"""The begin of the names of the tasks that wait for a training, or for the trials of a tuning."""
_STATUS = {
    "QUEUED": "running",
    "PENDING": "running",
    "CANCELLING": "cancelled",
}
"""The status of a job in one word, where that is not its state."""


@dataclass(frozen=True)
class PastJob:
    """A pipeline job, ended or not.

    Attributes:
        name: The model.
        job_id: The last part of the job's name, which is the id of the run.
        status: running, succeeded, failed, cancelled or paused.
        created: When it was created, in UTC.
        wall_s: How long it took, or has taken so far, its wait in a queue included.
        error: The task that failed, and why; empty for other states.
        cost: The estimated cost in USD by the list prices; None if the machines are not known.
    """

    name: str
    job_id: str
    status: str
    created: datetime.datetime
    wall_s: float
    error: str
    cost: Interval | None


def past_jobs(vertex: Vertex, name: str, prices: Prices) -> Iterator[PastJob]:
    """Yields the jobs of a model whose artifacts go to the root of a cloud, the newest first.

    Args:
        vertex: The service; its cloud names the root.
        name: The model; if empty, the jobs of all models.
        prices: The table of prices.
    """
    label = f'labels.quatrain="{name}"' if name else "labels.quatrain:*"
    root, now = vertex.cloud.root.rstrip("/"), datetime.datetime.now(datetime.UTC)
    for job in vertex.jobs(label):
        if job.get("runtimeConfig", {}).get("gcsOutputDirectory", "").rstrip("/") == root:
            yield _past_job(job, prices, vertex.cloud.location, now)


def past_job(vertex: Vertex, job_id: str, prices: Prices) -> PastJob:
    """Returns a job by its id.

    Raises:
        NotFound: There is no such job.
        CloudError: It cannot be read.
    """
    now = datetime.datetime.now(datetime.UTC)
    return _past_job(vertex.get_job(job_id), prices, vertex.cloud.location, now)


def _past_job(
    job: Mapping[str, Any], prices: Prices, location: str, now: datetime.datetime
) -> PastJob:
    state = str(job.get("state", "PENDING")).removeprefix("PIPELINE_STATE_")
    created = parse_utc(job["createTime"])
    return PastJob(
        job.get("labels", {}).get("quatrain", ""),
        job["name"].rsplit("/", 1)[1],
        _STATUS.get(state, state.lower()),
        created,
        (_time(job, "endTime", now) - created).total_seconds(),
        _error(job) if state == "FAILED" else "",
        estimate_cost(job, prices, location, now),
    )


def estimate_cost(
    job: Mapping[str, Any], prices: Prices, location: str, now: datetime.datetime
) -> Interval | None:
    """Returns what a job has cost so far, as far as `COUNTED` says; None if that is not known.

    Args:
        job: The job in the API's JSON form, with its parameters and the details of its tasks.
        prices: The table of prices.
        location: The job's region.
        now: Until when a task that goes on is counted.
    """
    steps_h = training_h = tuning_h = 0.0
    for task in _leaves(job):
        if "startTime" not in task or task.get("state") == "SKIPPED":
            continue
        hours = (_time(task, "endTime", now) - parse_utc(task["startTime"])).total_seconds() / 3600
        if task["taskName"].startswith(_TRAINING):
            training_h += hours
        elif task["taskName"].startswith(_TUNING):
            tuning_h += hours
        else:
            steps_h += hours
    step = prices.of_region(location) * prices.of_machine(prices.run.step_machine)
    total = step * steps_h + Interval(low=prices.run.fee, high=prices.run.fee)
    if not (training_h or tuning_h):
        return total
    try:
        training, trials = _machines(job, prices, location)
    except (KeyError, QuatrainError, OSError):  # of another version, or without the spec's file
        return None
    return total + training * training_h + trials * tuning_h


def _machines(job: Mapping[str, Any], prices: Prices, location: str) -> tuple[Interval, Interval]:
    """Returns the price of an hour of a job's training, and of its trials, always on demand."""
    values = job["runtimeConfig"]["parameterValues"]
    spec = read_parameter(values["spec"])
    created = parse_utc(job["createTime"]).date()
    tier = resolve_tier(spec, values.get("tier", ""), created)
    trial = prices.of_tier(replace(tier, scheduling="STANDARD"), location)
    parallel = min(spec.train.tune.parallel, spec.train.tune.trials) if spec.train.tune else 0
    return prices.of_tier(tier, location), trial * parallel


def _error(job: Mapping[str, Any]) -> str:
    """Returns the innermost task that failed and its error: outer tasks only repeat that."""
    failed = [t for t in _tasks(job) if t.get("state") == "FAILED" and t.get("error")]
    parents = {task.get("parentTaskId") for task in failed}
    for task in failed:
        if task["taskId"] not in parents:
            return f"task {task['taskName']}: {task['error'].get('message', '')}"
    return str(job.get("error", {}).get("message", ""))


def _leaves(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the tasks that ran something; a task with others in it only waits for them."""
    parents = {task.get("parentTaskId") for task in _tasks(job)}
    yield from (task for task in _tasks(job) if task["taskId"] not in parents)


def _tasks(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(job.get("jobDetail", {}).get("taskDetails", []))


def _time(entry: Mapping[str, Any], key: str, now: datetime.datetime) -> datetime.datetime:
    return parse_utc(entry[key]) if key in entry else now
