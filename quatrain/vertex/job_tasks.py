"""The tasks of a pipeline job on Vertex AI: their states, their steps and the jobs behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quatrain.pipelines.compiled import tasks_of as steps_below

FINISHED = ("SUCCEEDED", "FAILED", "CANCELLED")
"""The states in which a job ends."""

KINDS = {
    "CustomJob": "custom job",
    "HyperparameterTuningJob": "tuning job",
    "DataflowJob": "Dataflow job",
}
"""The kinds of jobs that a task launches, as `gcp_resources` names them, and in words."""

RESOURCES = "output:gcp_resources"
"""The field of a task's execution that names the jobs; python-aiplatform reads it too."""

_GOOGLE = re.compile(r"https://[a-z0-9-]+\.googleapis\.com/")


@dataclass(frozen=True)
class LaunchedResource:
    """A job that a task launched.

    Attributes:
        kind: CustomJob, HyperparameterTuningJob or DataflowJob.
        uri: The address of the job, at a service of Google.
    """

    kind: str
    uri: str

    @property
    def number(self) -> str:
        """The last part of its name."""
        return self.uri.rsplit("/", 1)[1]

    def __str__(self) -> str:
        return f"{KINDS[self.kind]} {self.number}"


def tasks_of(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the tasks of a job, in the API's JSON form."""
    return list(job.get("jobDetail", {}).get("taskDetails", []))


def state_of(job_or_task: Mapping[str, Any]) -> str:
    """Returns the state without its prefix, such as RUNNING."""
    return str(job_or_task.get("state", "PENDING")).removeprefix("PIPELINE_STATE_")


def steps_of(job: Mapping[str, Any]) -> list[str]:
    """Returns the names of the pipeline's outermost tasks, by the alphabet."""
    spec = job.get("pipelineSpec", {})
    return sorted(steps_below(spec)) if "root" in spec else []


def path_of(job: Mapping[str, Any], task: Mapping[str, Any], steps: Collection[str]) -> list[str]:
    """Returns the names of a step and of the tasks in it that lead to a task, itself the last.

    A task inside a step may have the step's name: preprocess is in preprocess. So a step is the
    outermost task of its name.
    """
    by_id = {t["taskId"]: t for t in tasks_of(job)}
    path: list[str] = []
    ancestor: Mapping[str, Any] | None = task
    while ancestor:
        path.insert(0, ancestor["taskName"])
        ancestor = by_id.get(ancestor.get("parentTaskId"))
    outermost = next((n for n, name in enumerate(path) if name in steps), 0)
    return path[outermost:]


def resources_of(task: Mapping[str, Any]) -> Iterator[LaunchedResource]:
    """Yields the jobs that a task launched, by its execution.

    Those elsewhere than at Google are left out, as credentials are sent to the address.
    """
    text = task.get("execution", {}).get("metadata", {}).get(RESOURCES)
    for resource in json.loads(text)["resources"] if text else ():
        kind, uri = resource["resourceType"], resource["resourceUri"]
        if kind in KINDS and _GOOGLE.match(uri):
            yield LaunchedResource(kind, uri)


def containers_of(task: Mapping[str, Any]) -> Iterator[str]:
    """Yields the numbers of the custom jobs that ran a task's container, the last attempt first.

    Vertex runs a container in a custom job of its own, and each retry in another (comments of
    PipelineTaskExecutorDetail.ContainerDetail in google.cloud.aiplatform_v1 1.165).
    """
    detail = task.get("executorDetail", {}).get("containerDetail", {})
    for name in filter(None, (detail.get("mainJob"), *detail.get("failedMainJobs", ()))):
        yield str(name).rsplit("/", 1)[1]
