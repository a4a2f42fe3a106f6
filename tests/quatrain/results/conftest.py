"""Two runs of one model in a folder, and one of them in a bucket."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from quatrain.components import history
from quatrain.components.storage import write_file
from tests.emulators import storage

FIXTURE = Path(__file__).parents[2] / "fixtures/root-0.1.0/root"
LAST = "20261201T143511-251852"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of all runs, with two runs of one model."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "runs", symlinks=True))


@pytest.fixture
def remote(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The root in a bucket, with one run as Vertex AI leaves it: a record, and artifacts."""
    with storage.serving() as state:
        key = storage.write_credentials(tmp_path / "key.json", state.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", state.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", state.url)
        state.add_bucket("b")
        (job,) = (root / "toys" / LAST / "pipeline").iterdir()
        for file in (p for p in job.rglob("*") if p.is_file()):
            write_file(f"gs://b/q/123/{LAST}/{file.relative_to(job)}", file.read_bytes())
        metrics = json.loads((root / "toys" / LAST / "metrics.json").read_text())
        tasks = {"examples": "preprocess/examples", "evaluation": "measure/evaluation"}
        record = {
            "run": "job-7",
            "made": "2026-12-01T14:35:11Z",
            **{key: {} for key in ("rows", "data", "code")},
            "spec": {"name": "toys"},
            "name": "toys",
            "task": "binary",
            "decided": "2026-12-01T14:37:11Z",
            "test_rows": 67,
            "warnings": [],
            "changes": {},
            "metrics": metrics["metrics"],
            "gate": {"passed": True, "failed": {}},
            "artifacts": {
                name: f"gs://b/q/123/{LAST}/{task}"
                for name, task in {**tasks, "model": "plan/model"}.items()
            },
        }
        history.record_last("gs://b/q", "toys", record)
        history.record_measured("gs://b/q", "toys", record)
        yield "gs://b/q"
