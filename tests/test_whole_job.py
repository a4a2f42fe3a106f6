"""A job posted to the emulated Vertex AI is executed, and followed to its report."""

import hashlib
import json
import random

import pytest
import yaml
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from pipelines import cli, submission
from pipelines.compiled import compile_pipeline
from tests.emulators import execution, storage, vertex

pytestmark = pytest.mark.whole

IMAGE = "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32
SPEC = {
    "name": "shapes",
    "source": "gs://bucket/shapes.csv",
    "columns": {"id": "string", "size": "float", "round": "bool"},
    "label": "round",
    "task": "binary",
    "split": {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2},
    "features": [{"name": "size", "from": "size", "transform": "standardize"}],
    "train": {"model": "linear", "epochs": 2, "batch_size": 64},
}


def test_a_submitted_job_runs_the_file_and_ends_with_its_report(tmp_path, monkeypatch, capsys):
    buckets = tmp_path / "buckets"
    (buckets / "bucket").mkdir(parents=True)
    draw = random.Random(3)  # noqa: S311 - test data
    sizes = [draw.uniform(0, 10) for _ in range(400)]
    rows = [f"r{n},{size:.3f},{str(size > 5).lower()}" for n, size in enumerate(sizes)]
    (buckets / "bucket/shapes.csv").write_text("\n".join(["id,size,round", *rows, ""]))
    file = compile_pipeline(tmp_path / "training.yaml", IMAGE)
    executing = execution.LocalExecution(buckets)
    google = vertex.Vertex(execute=executing)
    monkeypatch.setattr(submission, "POLL_S", 0.5)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes.yaml").write_text(yaml.safe_dump(SPEC))
    with vertex.serving(google) as url, storage.serving() as served:
        key = storage.write_credentials(tmp_path / "key.json", served.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", served.url)
        served.add_bucket("bucket")
        served.put("gs://bucket/shapes.csv", (buckets / "bucket/shapes.csv").read_bytes())
        settings = {
            "project": "my-project",
            "location": "europe-west1",
            "root": "gs://bucket/quatrain",
            "image": IMAGE,
            "service_account": "trainer@my-project.iam.gserviceaccount.com",
            "api_endpoint": url,
        }
        (tmp_path / "cloud.yaml").write_text(yaml.safe_dump(settings))
        with pytest.raises(SystemExit) as ended:
            cli.main(["submit", "shapes.yaml", "--pipeline", str(file), "--wait"])
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    ended_steps = [line.split()[:2] for line in printed.err.splitlines() if "succeeded" in line]
    assert ended_steps == [
        ["[1/4]", "preprocess"],
        ["[2/4]", "package"],
        ["[3/4]", "train"],
        ["[4/4]", "evaluate"],
    ]
    link = printed.out.splitlines()[-1].split()[-1]
    assert link.startswith("https://storage.cloud.google.com/bucket/quatrain/shapes/")
    page = buckets / link.removeprefix("https://storage.cloud.google.com/")
    assert "gate" in page.read_text()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in printed.out
    (run,) = executing.runs
    compiled = yaml.safe_load(file.read_bytes())
    (job,) = google.jobs.values()
    sent = json_format.MessageToDict(aiplatform_v1.PipelineJob.pb(job).pipeline_spec)
    assert sent == compiled
    assert yaml.safe_load((run / "training.yaml").read_bytes()) == compiled
    assert json.loads((run / "metrics.json").read_text())["rows"] > 50
