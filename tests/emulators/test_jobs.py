"""The emulated custom jobs and models; and gcloud, where it is installed, against the emulators."""

import os
import shutil
import subprocess

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1

from quatrain.components.tiers import tiers
from tests.emulators import storage
from tests.emulators import vertex as emulator
from tests.emulators.test_vertex import PARENT, changed

IMAGE = "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32
POOLS = tiers.resolve("STANDARD_1").worker_pools({"image_uri": IMAGE, "args": ["--epochs", "3"]})
JOB = {"display_name": "toy", "job_spec": {"worker_pool_specs": POOLS}}


@pytest.fixture(scope="module")
def client():
    with emulator.serving(emulator.Vertex()) as url:
        options = {"api_endpoint": url}
        yield aiplatform_v1.JobServiceClient(
            transport="rest", credentials=AnonymousCredentials(), client_options=options
        )


def test_a_custom_job_advances_to_its_end(client):
    name = client.create_custom_job(parent=PARENT, custom_job=JOB).name
    states = [client.get_custom_job(name=name).state.name for _ in range(4)]
    assert states == [f"JOB_STATE_{s}" for s in ("PENDING", "RUNNING", "SUCCEEDED", "SUCCEEDED")]
    with pytest.raises(exceptions.BadRequest, match="is JOB_STATE_SUCCEEDED"):
        client.cancel_custom_job(name=name)


def test_a_cancelled_custom_job_stays_so(client):
    name = client.create_custom_job(parent=PARENT, custom_job=JOB).name
    client.cancel_custom_job(name=name)
    assert client.get_custom_job(name=name).state.name == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("display_name", "", "display_name is required"),
        ("job_spec/worker_pool_specs", [], "1 to 4 pools, not 0"),
        ("job_spec/worker_pool_specs", [{**POOLS[0], "replica_count": 2}], "count must be 1"),
        ("job_spec/worker_pool_specs", [POOLS[0], {}], r"\[1\].replica_count must be positive"),
        ("job_spec/base_output_directory/output_uri_prefix", "/tmp", "must be a gs:// path"),  # noqa: S108
        ("job_spec/service_account", "me", "service_account 'me' is malformed"),
        ("job_spec/scheduling/max_wait_duration", "60s", "goes with strategy FLEX_START"),
        ("job_spec/tensorboard", "t", "tensorboard needs service_account"),
        ("labels/Team", "a", "label 'Team'"),
    ],
)
def test_a_custom_job_that_google_would_refuse_is_refused(client, path, value, sentence):
    with pytest.raises(exceptions.BadRequest, match=sentence):
        client.create_custom_job(parent=PARENT, custom_job=changed(JOB, path, value))


@pytest.fixture
def gcloud(tmp_path):
    """Runs gcloud against emulators of Vertex AI and Cloud Storage."""
    program = shutil.which("gcloud")
    if program is None:
        pytest.skip("gcloud is not installed")
    google = emulator.Vertex()
    with emulator.serving(google) as url, storage.serving() as buckets:
        environment = {
            **os.environ,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": f"{url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{buckets.url}/storage/v1/",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_PROJECT": "my-project",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        }

        def run(*words):
            command = [program, *words]
            completed = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert completed.returncode == 0, completed.stderr
            return completed.stdout

        yield run, google, buckets


def test_gcloud_takes_our_pools_serves_our_image_and_sees_the_bucket(gcloud, tmp_path):
    run, google, buckets = gcloud
    spec = aiplatform_v1.CustomJobSpec(worker_pool_specs=POOLS)
    text = aiplatform_v1.CustomJobSpec.to_json(spec, use_integers_for_enums=False)
    (tmp_path / "job.yaml").write_text(text)
    job = ["--display-name=toy", f"--config={tmp_path / 'job.yaml'}"]
    run("ai", "custom-jobs", "create", *job, "--region=europe-west1")
    (created,) = google.custom_jobs.values()
    pools = created.job_spec.worker_pool_specs
    assert [p.replica_count for p in pools] == [1, 4]
    assert list(pools[1].container_spec.args) == ["--epochs", "3"]
    buckets.add_bucket("b", "europe-west1", "region")
    form = "--format=value(location,location_type)"
    assert run("storage", "buckets", "describe", "gs://b", form).split() == [
        "EUROPE-WEST1",
        "region",
    ]
