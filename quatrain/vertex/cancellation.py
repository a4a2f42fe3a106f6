"""Cancels a pipeline job and the jobs that its tasks launched."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from quatrain.vertex.cloud_file import CloudError
from quatrain.vertex.job_tasks import (
    FINISHED,
    LaunchedResource,
    resources_of,
    state_of,
    tasks_of,
)
from quatrain.vertex.job_watch import PAUSES_S
from quatrain.vertex.launched_jobs import GOING_ON, jobs_named

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex

CANCEL = "roles/aiplatform.user, and for Dataflow roles/dataflow.developer,"
"""The roles that cancelling a launched job needs."""


def cancel(vertex: Vertex, job_id: str) -> dict[str, Any]:
    """Cancels a pipeline job and returns it once it has ended.

    The service makes a best effort: the job may succeed or fail all the same.

    Args:
        vertex: The service.
        job_id: The id of the job.

    Raises:
        CloudError: The job cannot be read or cancelled.
    """
    try:
        vertex.cancel_job(job_id)
    except CloudError:
        if state_of(vertex.get_job(job_id)) not in FINISHED:  # else it ended just before
            raise
    for pause_s in itertools.chain(PAUSES_S, itertools.repeat(PAUSES_S[-1])):
        job = vertex.get_job(job_id)
        if state_of(job) in FINISHED:
            return job
        time.sleep(pause_s)
    raise AssertionError("the pauses never end")


def launched(vertex: Vertex, job: Mapping[str, Any], job_id: str) -> Iterator[LaunchedResource]:
    """Yields the jobs that the tasks of a pipeline job launched.

    A launcher cancels its job when it is itself cancelled (job_remote_runner.py of
    google-cloud-pipeline-components 2.22.0), unless it is killed before it can.

    Args:
        vertex: The service.
        job: The pipeline job, in the API's JSON form.
        job_id: Its id.
    """
    resources = [resource for task in tasks_of(job) for resource in resources_of(task)]
    yield from resources
    if not resources:  # a launcher that was killed may not have recorded its job
        for kind, own in jobs_named(vertex, job_id):
            yield LaunchedResource(kind, f"{vertex.service}/v1/{own['name']}")


def is_going_on(vertex: Vertex, resource: LaunchedResource) -> bool:
    """Whether a launched job is billed, or will be.

    Raises:
        CloudError: It cannot be read.
    """
    job = vertex.read(resource.uri, f"read {resource}")
    return (job.get("state") or job.get("currentState")) in GOING_ON


def cancel_launched(vertex: Vertex, resource: LaunchedResource) -> None:
    """Requests the end of a training, tuning or Dataflow job.

    Raises:
        CloudError: The service refuses it.
    """
    what = f"cancel {resource}"
    if resource.kind == "DataflowJob":
        # https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.jobs/update
        body = {"requestedState": "JOB_STATE_CANCELLED"}
        vertex.send(resource.uri, what, body, needs=CANCEL, method="PUT")
    else:
        vertex.send(f"{resource.uri}:cancel", what, {}, needs=CANCEL)
