"""A spec that `quatrain init` wrote, posted to the emulated Vertex AI, is run to a passed gate.

It is of a hostile table: an odd header, a time in seconds, amounts as text, spellings of nothing.
"""

import hashlib
import json
import random
from pathlib import Path

import pytest
import yaml
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from quatrain.cli import main
from quatrain.draft.propose import propose
from quatrain.pipelines.compiled import compile_pipeline
from tests.emulators import execution, storage, vertex

pytestmark = pytest.mark.whole

IMAGE = "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32
ROWS = 800


def rents() -> str:
    """Amounts with a decimal comma that grow with a size, by the hour, between semicolons."""
    chance = random.Random(7)  # noqa: S311 - not for secrets
    lines = ["start time;Größe m²;e-mail;Lage;label;Miete €"]
    for i in range(ROWS):
        size, place = chance.randint(20, 200), chance.choice(["Mitte", "Nord", "n/a"])
        rent = f"{size * 12.5 + (300 if place == 'Mitte' else 0):,.2f}"
        rent = rent.translate(str.maketrans(",.", ".,")) if i % 40 else ""
        time = 1_600_000_000 + 7200 * i + chance.randint(0, 60)
        lines.append(
            f"{time};{size if i % 9 else '-'};{i % 5};{place};{chance.random():.3f};{rent}"
        )
    return "\ufeff" + "\r\n".join(lines) + "\r\n"


def write_spec(table: Path) -> Path:
    """Writes the spec that init proposes, and nothing else."""
    path = table.with_name("rents.yaml")
    proposed = propose(str(table), "Miete €", path)
    assert (proposed.spec.label, proposed.spec.task) == ("Miete €", "regression")
    document = yaml.safe_load(path.read_text())
    assert document["columns"]["Miete €"] == {"type": "float", "decimal": ",", "thousands": "."}
    source = document["source"]
    assert source == {"uri": table.name, "nulls": ["", "n/a", "-"], "delimiter": ";"}
    return path


def test_a_submitted_job_runs_the_file_and_ends_with_its_report(tmp_path, monkeypatch, capsys):
    buckets = tmp_path / "buckets"
    (buckets / "bucket").mkdir(parents=True)
    table = buckets / "bucket/rents.csv"
    table.write_bytes(rents().encode())
    file = compile_pipeline(tmp_path / "training.yaml", IMAGE)
    executing = execution.LocalExecution(buckets)
    google = vertex.Vertex(execute=executing)
    monkeypatch.chdir(tmp_path)
    spec = write_spec(table)
    changed = ["--set", "source.uri=gs://bucket/rents.csv", "--set", "train.max_steps=300"]
    with vertex.serving(google) as url, storage.serving() as served:
        key = storage.write_credentials(tmp_path / "key.json", served.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", served.url)
        served.add_bucket("bucket")
        served.put("gs://bucket/rents.csv", table.read_bytes())
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
            main(["submit", str(spec), *changed, "--pipeline", str(file), "--wait"])
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
    assert link.startswith("https://storage.cloud.google.com/bucket/quatrain/rents/")
    page = buckets / link.removeprefix("https://storage.cloud.google.com/")
    assert "gate" in page.read_text()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in printed.out
    (run,) = executing.runs
    compiled = yaml.safe_load(file.read_bytes())
    (job,) = google.jobs.values()
    sent = json_format.MessageToDict(aiplatform_v1.PipelineJob.pb(job).pipeline_spec)
    assert sent == compiled
    assert yaml.safe_load((run / "training.yaml").read_bytes()) == compiled
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["rows"] > 50
    assert [c["metric"] for c in metrics["gate"]["checks"]] == ["r2", "opponent", "rmse", "skew"]
    assert metrics["gate"]["passed"]
