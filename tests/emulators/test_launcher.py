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
    """Runs the launcher with a program for the chief; returns how it ended, and the service."""

    def run(code):
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
        with storage.serving() as tokens, tls.serving(google, HOST, tmp_path) as leading:
            key = storage.write_credentials(tmp_path / "key.json", tokens.url)
            command = [sys.executable, "-m", LAUNCHER, "--type", "CustomJob"]
            command += ["--project", "my-project", "--location", "europe-west1"]
            command += ["--payload", json.dumps(payload)]
            command += ["--gcp_resources", str(tmp_path / "resources.json")]
            environment = {**os.environ, **leading, "GOOGLE_APPLICATION_CREDENTIALS": str(key)}
            completed = subprocess.run(command, env=environment, capture_output=True, text=True)
        return completed, google

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
