"""The jobs that the tasks of a pipeline launched on Vertex AI and Dataflow, and why they failed.

A launcher's own error is only `Job failed with error state: 5` (components 2.22.0). The job that it
launched says what happened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quatrain.vertex.cloud_file import CloudError

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex

RESOURCES = "output:gcp_resources"
"""The field of a task's execution that names the jobs; python-aiplatform reads it too."""

_KINDS = {
    "CustomJob": "custom job",
    "HyperparameterTuningJob": "tuning job",
    "DataflowJob": "Dataflow job",
}
_COLLECTIONS = {"customJobs": "CustomJob", "hyperparameterTuningJobs": "HyperparameterTuningJob"}
_GCLOUD = {"CustomJob": "custom-jobs", "HyperparameterTuningJob": "hp-tuning-jobs"}
_GOING_ON = ("JOB_STATE_QUEUED", "JOB_STATE_PENDING", "JOB_STATE_RUNNING")
_GOOGLE = re.compile(r"https://[a-z0-9-]+\.googleapis\.com/")
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
        kind, uri = resource["resourceType"], resource["resourceUri"]
        try:
            reason = (
                _dataflow_error(vertex, uri)
                if kind == "DataflowJob"
                else _reason(vertex, kind, vertex.read(uri, f"read {uri}"))
            )
        except CloudError as error:
            reason = str(error)
        if reason:
            yield LaunchedJob(_KINDS[kind], uri.rsplit("/", 1)[1], reason)
    if not resources:
        yield from _failed_jobs_named(vertex, job_id)


def _resources(job: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yields the references of failed tasks to their jobs."""
    for task in job.get("jobDetail", {}).get("taskDetails", []):
        text = task.get("execution", {}).get("metadata", {}).get(RESOURCES)
        if text and task.get("state") in ("FAILED", "CANCELLED"):
            for resource in json.loads(text)["resources"]:
                # The credentials are sent to this host.
                if resource["resourceType"] in _KINDS and _GOOGLE.match(resource["resourceUri"]):
                    yield resource


def _failed_jobs_named(vertex: Vertex, display_name: str) -> Iterator[LaunchedJob]:
    """Yields the failed training and tuning jobs of a display name."""
    for collection, kind in _COLLECTIONS.items():
        uri = f"{vertex.service}/v1/{vertex.cloud.parent}/{collection}"
        answer = vertex.read(
            uri, f"list the {_KINDS[kind]}s", filter=f'display_name="{display_name}"'
        )
        for job in answer.get(collection, []):
            if reason := _reason(vertex, kind, job):
                yield LaunchedJob(_KINDS[kind], job["name"].rsplit("/", 1)[1], reason)


def _reason(vertex: Vertex, kind: str, job: Mapping[str, Any]) -> str:
    """Returns the error of a training or tuning job, or that it goes on; empty if it is neither."""
    if job.get("state") in _GOING_ON:  # its launcher has failed alone
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
