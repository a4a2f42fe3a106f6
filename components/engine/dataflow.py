"""A Dataflow job: its options, its start from a step, and its end."""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from itertools import chain, repeat
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions
from apache_beam.runners.runner import PipelineState

from quatrain.components import storage
from quatrain.components.engine.gcp_resources import write_resources
from quatrain.components.errors import RunnerError
from quatrain.components.image import BEAM, PYTHON
from quatrain.components.termination import termination_as_interrupt, termination_delayed

PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0)
"""The times between two checks of a job's state; the last one is repeated."""
MAX_WORKERS = 50
"""The bound of autoscaling, unless the option `max_num_workers` sets another."""
LOG_S = 60.0
"""How long Dataflow may take to answer with a part of a job's log."""
LABEL_CHARS = 63
"""The longest value of a label: https://cloud.google.com/compute/docs/labeling-resources."""


def defaults(
    *, name: str, project: str, location: str, image: str, out: str, n_ranges: int
) -> dict[str, Any]:
    """Returns the default options of a job.

    The job's workers run our image as it is, have no public addresses, and stay in its region.

    Args:
        name: The model's name.
        project: The job's project.
        location: The job's region.
        image: The image of the step that launches, by its reference.
        out: Where the step writes; temporary files go beside it.
        n_ranges: The number of ranges; with more workers than that, some would be idle.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return {
        "project": project,
        "region": location,
        "job_name": f"quatrain-{name}-{stamp}-{secrets.token_hex(2)}",
        "temp_location": f"{_folder(out)}/temp",
        "staging_location": f"{_folder(out)}/staging",
        "sdk_container_image": image,
        "sdk_location": "container",
        "no_use_public_ips": True,
        # Without the last one, Beam lists this environment's packages, which takes seconds.
        "experiments": ["use_runner_v2", "disable_logging_submission_environment"],
        "autoscaling_algorithm": "THROUGHPUT_BASED",
        "max_num_workers": min(MAX_WORKERS, max(n_ranges, 1)),
        "labels": [f"quatrain={name[:LABEL_CHARS]}"],
    }


def _folder(out: str) -> str:
    """Returns the folder of a job's own files, unless the options name others."""
    return f"{out.rstrip('/')}.dataflow"


@contextmanager
def temporary_files(out: str) -> Iterator[None]:
    """Removes the job's own files when the block ends, and first those of a killed step."""
    storage.remove_folder(_folder(out))
    try:
        yield
    finally:
        storage.remove_folder(_folder(out))


def check_launch(chosen: Mapping[str, Any], image: str, out: str, image_beam: str = BEAM) -> None:
    """Checks before the launch for what would make workers fail minutes later.

    Workers unpickle what this process has pickled, so both need the same code, Beam and Python.

    Args:
        chosen: The options of the run.
        image: The image of the step that launches the job.
        out: Where the step writes.
        image_beam: The version of Beam in the image.

    Raises:
        RunnerError: Workers could not write to `out`, or would have another Python or Beam.
    """
    if not storage.is_remote(out):
        raise RunnerError(
            f"runner 'dataflow' writes to a bucket, and this run to {out}, which its workers do "
            f"not have; `quatrain submit --runner dataflow` launches it from Vertex AI"
        )
    worker_image = str(chosen.get("sdk_container_image", image))
    if worker_image != image:
        raise RunnerError(
            f"runner option sdk_container_image is {worker_image}, but the step that launches runs "
            f"{image}: workers need the very same code, Python and Beam; leave the option out"
        )
    here = {"Beam": metadata.version("apache-beam"), "Python": _python()}
    for what, there in (("Beam", image_beam), ("Python", PYTHON)):
        if here[what] != there:
            raise RunnerError(
                f"this process has {what} {here[what]}, and the image of the workers {there}; "
                f"launch from the image itself"
            )


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def run(pipeline: beam.Pipeline, gcp_resources: str, step: str) -> None:
    """Starts a pipeline's job, prints its link, and waits for its end; cancels it on SIGTERM.

    Args:
        pipeline: The pipeline, with its options.
        gcp_resources: The file through which the page of Vertex AI links to the job; may be empty.
        step: The name of the step, for what is printed.

    Raises:
        RunnerError: The job failed or was cancelled.
    """
    options = pipeline.options.view_as(GoogleCloudOptions)
    result = None
    with termination_as_interrupt():
        try:
            with termination_delayed():  # a job that is being created could not be cancelled
                result = pipeline.run()
            job = f"projects/{options.project}/locations/{options.region}/jobs/{result.job_id()}"
            write_resources(gcp_resources, job)
            link = _link(options, result.job_id())
            print(f"{step}: Dataflow job {result.job_id()}: {link}", flush=True)
            state = _wait(result, step)
        except BaseException:
            if result is not None and not PipelineState.is_terminal(result.state):
                print(f"{step}: cancelling Dataflow job {result.job_id()}", flush=True)
                result.cancel()
            raise
    if state != PipelineState.DONE:
        raise RunnerError(
            f"Dataflow job {result.job_id()} ended as {state}{_reason(options, result.job_id())}; "
            f"look: {link}"
        )


def _wait(result: Any, step: str) -> str:
    """Prints each new state of a job, and returns its last one."""
    start, printed = time.monotonic(), ""
    pauses_s = chain(PAUSES_S, repeat(PAUSES_S[-1]))
    while True:
        state = str(result.state)
        if state != printed:
            printed = state
            print(f"{step}: Dataflow: {state} ({time.monotonic() - start:.0f} s)", flush=True)
        if PipelineState.is_terminal(state):
            return state
        time.sleep(next(pauses_s))


def _reason(options: GoogleCloudOptions, job_id: str) -> str:
    """Returns the last error in a job's log, in one line; empty if the log cannot be read."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    with suppress(GoogleAPICallError, GoogleAuthError):
        if errors := list(_errors(options, job_id)):
            return f": {' '.join(errors[-1].split())[:500]}"
    return ""


def _errors(options: GoogleCloudOptions, job_id: str) -> Iterator[str]:
    """Yields the errors in a job's log, which Beam's own result does not have."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import dataflow_v1beta3

    client = dataflow_v1beta3.MessagesV1Beta3Client(
        credentials=AnonymousCredentials() if options.no_auth else None,
        client_options=ClientOptions(api_endpoint=options.dataflow_endpoint.rstrip("/")),
        transport="rest",
    )
    importance = dataflow_v1beta3.JobMessageImportance.JOB_MESSAGE_ERROR
    request = dataflow_v1beta3.ListJobMessagesRequest(
        project_id=options.project,
        location=options.region,
        job_id=job_id,
        minimum_importance=importance,
    )
    for message in client.list_job_messages(request, timeout=LOG_S):
        if message.message_importance == importance:
            yield message.message_text


def _link(options: GoogleCloudOptions, job_id: str) -> str:
    return (
        f"https://console.cloud.google.com/dataflow/jobs/{options.region}/{job_id}"
        f"?project={options.project}"
    )
