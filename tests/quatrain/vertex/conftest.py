"""An emulated Vertex AI, the command line on it, and a client of it."""

import pytest
import yaml
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from quatrain.cli import main
from quatrain.pipelines.compiled import compile_pipeline
from quatrain.vertex import submission
from quatrain.vertex.client import Vertex
from quatrain.vertex.cloud_file import Cloud
from tests.emulators import storage as storage_emulator
from tests.emulators import vertex as emulator

IMAGE = "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32
CLOUD = {
    "project": "my-project",
    "location": "europe-west1",
    "root": "gs://bucket/quatrain",
    "image": IMAGE,
    "service_account": "trainer@my-project.iam.gserviceaccount.com",
    "labels": {"team": "search"},
}
CRON = ["--cron", "TZ=America/Sao_Paulo 0 3 * * 1"]


@pytest.fixture(scope="module")
def training_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled") / "training.yaml"
    return compile_pipeline(path, IMAGE)


@pytest.fixture
def google(monkeypatch, tmp_path, spec):
    """An emulated Vertex AI and storage, with the settings and a spec in the working folder."""
    google = emulator.Vertex()
    google.other = {}
    monkeypatch.chdir(tmp_path)

    def other(_, target):
        """Answers for other services, by the whole path."""
        return (200, google.other[target]) if target in google.other else None

    with emulator.serving(google, other) as url, storage_emulator.serving() as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        key = storage_emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        storage.add_bucket("bucket")
        storage.put("gs://bucket/toy.csv", b"x,y\n1,true\n")
        google.storage = storage
        storage.add_bucket("wide", "eu", "multi-region")
        google.url = url
        (tmp_path / "cloud.yaml").write_text(yaml.safe_dump({**CLOUD, "api_endpoint": url}))
        document = {**spec.as_document(), "source": "gs://bucket/toy.csv"}
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(document))
        yield google


@pytest.fixture
def quatrain(google, capsys, training_path):
    def call(*arguments, file=training_path):
        pipeline = ["--pipeline", str(file)] if file else []
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), *pipeline])
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture
def vertex(google):
    return Vertex(Cloud(**{**CLOUD, "api_endpoint": google.url}), patience_s=1.0)


@pytest.fixture
def job(training_path, google):
    return submission.prepare(
        submission.JobRequest("toy.yaml", "cloud.yaml", pipeline=training_path), None
    ).job


def posted(google):
    (job,) = google.jobs.values()
    return json_format.MessageToDict(aiplatform_v1.PipelineJob.pb(job))
