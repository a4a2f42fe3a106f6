"""The custom-job launcher of google-cloud-pipeline-components, unmodified, runs our worker pools.

It knows Google's address alone and speaks gRPC over TLS, so it is led to loopback by its
environment; what it sends is checked and run as Vertex AI would.
"""

import json
import os
import subprocess
import sys

import pytest
from google.cloud import aiplatform_v1

from quatrain.components.tiers import tiers
from quatrain.local import training_job
from quatrain.pipelines.compiled import LAUNCHER
from tests.emulators import storage, tls, vertex

HOST = "europe-west1-aiplatform.googleapis.com"
IMAGE = "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32
PROGRAM = "import os, sys; print(os.environ['AIP_MODEL_DIR']); sys.exit(int(sys.argv[1]))"


@pytest.fixture
def launch(tmp_path):
    """Runs launchers one after another; returns how they ended, and the service.

    The program of the chief ends with `code`. Each further launcher is a retry of the one before,
    with the same file of resources.
    """

    def run(code, *, faults=(), times=1):
        arguments = ["-c", PROGRAM, str(code)]
        container = {"image_uri": IMAGE, "command": ["python"], "args": arguments}
        payload = {
            "display_name": "quatrain-training",
            "job_spec": {
                "worker_pool_specs": tiers.resolve("BASIC").worker_pools(container),
                "scheduling": {"timeout": "60s", "strategy": "STANDARD", "max_wait_duration": "9s"},
                "service_account": "",
                "base_output_directory": {"output_uri_prefix": "gs://b/model"},
            },
            "encryption_spec": {"kms_key_name": ""},
        }

        def execute(job):
            sent = json.loads(
                aiplatform_v1.CustomJob.to_json(job, preserving_proto_field_name=True)
            )
            log = tmp_path / "chief.log"
            replicas = training_job.read_replicas(sent, os.environ)
            outcome = training_job.run_replicas(replicas, log, training_job.timeout_of(sent))
            return "" if outcome.succeeded else outcome.reason

        google = vertex.Vertex(run_custom_job=execute)
        google.faults.extend(faults)
        with storage.serving() as tokens, tls.serving(google, HOST, tmp_path) as leading:
            key = storage.write_credentials(tmp_path / "key.json", tokens.url)
            command = [sys.executable, "-m", LAUNCHER, "--type", "CustomJob"]
            command += ["--project", "my-project", "--location", "europe-west1"]
            command += ["--payload", json.dumps(payload)]
            command += ["--gcp_resources", str(tmp_path / "resources.json")]
            environment = {**os.environ, **leading, "GOOGLE_APPLICATION_CREDENTIALS": str(key)}
            completed = [
                subprocess.run(command, env=environment, capture_output=True, text=True)
                for _ in range(times)
            ]
        return *completed, google

    return run


def test_the_launcher_posts_our_pools_and_waits_for_the_job(launch, tmp_path):
    completed, google = launch(0)
    assert completed.returncode == 0, completed.stderr[-2000:]
    assert (tmp_path / "chief.log").read_text().split() == ["gs://b/model/model/"]
    ((name, job),) = google.custom_jobs.items()
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    assert job.job_spec.worker_pool_specs[0].container_spec.image_uri == IMAGE
    (resource,) = json.loads((tmp_path / "resources.json").read_text())["resources"]
    assert resource == {"resourceType": "CustomJob", "resourceUri": f"https://{HOST}/v1/{name}"}


def test_the_launcher_fails_with_the_job(launch):
    completed, google = launch(7)
    assert completed.returncode != 0
    assert "Job failed with value error in error state: 5." in completed.stderr  # JOB_STATE_FAILED
    (job,) = google.custom_jobs.values()
    assert job.error.message == "workerpool0-0: gs://b/model/model/"  # the log's last words


def test_a_retried_launcher_takes_up_the_one_job_that_was_created(launch):
    faults = [("create_custom_job", 429, "before"), ("get_custom_job", 403, "before")]
    *ended, google = launch(7, faults=faults, times=3)
    assert all(launcher.returncode for launcher in ended)
    errors = [launcher.stderr for launcher in ended]
    assert "ResourceExhausted: 429" in errors[0]  # it created nothing
    assert "PermissionDenied: 403" in errors[1]  # it ended, and its job went on
    assert "Job failed with value error in error state: 5." in errors[2]
    assert google.calls.count("create_custom_job") == 2
    assert len(google.custom_jobs) == 1
