"""The jobs that the tasks of a pipeline launched on Vertex AI and Dataflow, and why they failed.

A launcher's own error is only `Job failed with error state: 5` (components 2.22.0). The job that it
launched says what happened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quatrain.vertex.cloud_file import CloudError
from quatrain.vertex.job_tasks import KINDS, LaunchedResource, resources_of, tasks_of

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex

_COLLECTIONS = {"customJobs": "CustomJob", "hyperparameterTuningJobs": "HyperparameterTuningJob"}
_GCLOUD = {"CustomJob": "custom-jobs", "HyperparameterTuningJob": "hp-tuning-jobs"}
GOING_ON = ("JOB_STATE_QUEUED", "JOB_STATE_PENDING", "JOB_STATE_RUNNING")
"""The states of a launched job that is billed, or will be."""
_NO_MACHINES = re.compile(
    r"resources are insufficient|insufficient resources|does not have enough resources|"
    r"resource_pool_exhausted|stockout",
    re.IGNORECASE,
)
"""How Vertex and Compute Engine say that a region has no such machines just now."""


@dataclass(frozen=True)
class LaunchedJob:
    """A job that failed.

    Attributes:
        kind: custom job, tuning job or Dataflow job.
        number: The last part of its name.
        reason: Why it failed, in the service's words.
    """

    kind: str
    number: str
    reason: str

    @property
    def lacked_machines(self) -> bool:
        """Whether the region had none of the machines that the job needs."""
        return bool(_NO_MACHINES.search(self.reason))

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.reason}"


def failed_jobs(vertex: Vertex, job: Mapping[str, Any], job_id: str) -> Iterator[LaunchedJob]:
    """Yields the failed jobs behind the failed tasks of a pipeline job.

    A task names its job in its execution. Where no task does, the jobs of Vertex are found by their
    display name, which is the id of the pipeline job.

    Args:
        vertex: The service.
        job: The pipeline job, in the API's JSON form.
        job_id: Its id.
    """
    resources = list(_resources(job))
    for resource in resources:
        kind, uri = resource.kind, resource.uri
        try:
            reason = (
                _dataflow_error(vertex, uri)
                if kind == "DataflowJob"
                else _reason(vertex, kind, vertex.read(uri, f"read {uri}"))
            )
        except CloudError as error:
            reason = str(error)
        if reason:
            yield LaunchedJob(KINDS[kind], resource.number, reason)
    if not resources:
        for kind, launched in jobs_named(vertex, job_id):
            if reason := _reason(vertex, kind, launched):
                yield LaunchedJob(KINDS[kind], launched["name"].rsplit("/", 1)[1], reason)


def _resources(job: Mapping[str, Any]) -> Iterator[LaunchedResource]:
    """Yields the jobs of failed tasks."""
    for task in tasks_of(job):
        if task.get("state") in ("FAILED", "CANCELLED"):
            yield from resources_of(task)


def jobs_named(vertex: Vertex, display_name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the kind of each training and tuning job of a display name, and the job."""
    for collection, kind in _COLLECTIONS.items():
        uri = f"{vertex.service}/v1/{vertex.cloud.parent}/{collection}"
        answer = vertex.read(
            uri, f"list the {KINDS[kind]}s", filter=f'display_name="{display_name}"'
        )
        yield from ((kind, job) for job in answer.get(collection, []))


def _reason(vertex: Vertex, kind: str, job: Mapping[str, Any]) -> str:
    """Returns the error of a training or tuning job, or that it goes on; empty if it is neither."""
    if job.get("state") in GOING_ON:  # its launcher has failed alone
        number, cloud = job["name"].rsplit("/", 1)[1], vertex.cloud
        return (
            f"goes on and is billed, though nothing waits for it; end it with `gcloud ai "
            f"{_GCLOUD[kind]} cancel {number} --region {cloud.location} --project {cloud.project}`"
        )
    return str(job.get("error", {}).get("message", ""))


def _dataflow_error(vertex: Vertex, uri: str) -> str:
    """Returns the last error in the log of a Dataflow job; empty without one."""
    importance = "JOB_MESSAGE_ERROR"
    answer = vertex.read(f"{uri}/messages", f"read {uri}", minimumImportance=importance)
    lines = [m["messageText"] for m in answer.get("jobMessages", [])]
    return " ".join(lines[-1].split()) if lines else ""
