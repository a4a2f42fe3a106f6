"""The command line on an emulated Vertex AI whose clock moves by itself, with runs in a bucket."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from quatrain.cli import main
from quatrain.components.release import service
from quatrain.components.specification.schema import ModelSpec
from tests.emulators import storage as storage_emulator
from tests.emulators import vertex as emulator
from tests.emulators.serving import Serving
from tests.quatrain.vertex.conftest import CLOUD

ROOT = "gs://bucket/quatrain"
SIZES = [1.0, 2.5]
START = datetime.datetime(2026, 12, 3, 8, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)

Verb = Callable[..., tuple[int, str, str]]


class Container:
    """A container whose model answers twice `x`, as its golden rows say, unless it is changed."""

    def __init__(self) -> None:
        self.slope, self.status = 2.0, 200

    def health(self) -> int:
        return self.status

    def predict(self, body: bytes) -> tuple[int, Any]:
        instances = json.loads(body)["instances"]
        return 200, {"predictions": [{"prediction": self.slope * i["x"]} for i in instances]}


class Google:
    """An emulated Vertex AI and bucket.

    Attributes:
        on_sleep: Called once when a release watches a step.
    """

    def __init__(self, storage: storage_emulator.Storage) -> None:
        self.now, self.storage = START, storage
        self.containers: dict[str, Container] = {}
        self.serving = Serving(self._start, now=lambda: self.now)
        self.on_sleep: Callable[[], object] | None = None

    def _start(self, model: Any) -> Container:
        return self.containers.setdefault(model.labels["run"], Container())

    def sleep(self, seconds: float) -> None:
        """Moves the clock; while a step is watched, a client sends a request a second."""
        act, self.on_sleep = self.on_sleep, None if seconds > 30 else self.on_sleep
        if seconds > 30 and act:
            act()
        for _ in range(int(seconds) if seconds > 30 else 0):
            self.now += SECOND
            for name in self.serving.endpoints:
                with self.serving._lock, suppress(emulator.Refusal):
                    self.serving.predict({}, {"instances": [{"x": 1.0}]}, name)
        self.now += seconds * SECOND if seconds <= 30 else SECOND

    def put(self, uri: str, document: Any) -> str:
        """Writes a document, and returns its sha256."""
        data = json.dumps(document).encode()
        self.storage.put(uri, data)
        return hashlib.sha256(data).hexdigest()

    def put_run(self, run: str) -> None:
        """Writes the model, the measurements and the record of a run that was measured."""
        artifacts = {k: f"{ROOT}/toy/{run}/{k}" for k in ("model", "evaluation", "examples")}
        folder = f"{artifacts['model']}/model"
        golden = {"inputs": {"x": SIZES}, "output": "prediction"}
        documents = {
            "golden.json": {**golden, "answers": [2 * s for s in SIZES]},
            "transform.json": {"text": {"columns": {}}},
        }
        metadata = {
            "inputs": [{"name": "x", "type": "float", "argument": "x"}],
            "classes": [],
            "files": {name: self.put(f"{folder}/{name}", d) for name, d in documents.items()},
            "run": run,
        }
        digest = self.put(f"{folder}/metadata.json", metadata)
        made_by = {"metadata": digest, "split": {}}
        metrics = {"made_by": made_by, "metrics": {"rmse": {"value": 0.5}}}
        self.put(f"{artifacts['evaluation']}/metrics.json", metrics)
        statistics = {"version": 1, "kept": {}}
        sha256 = self.put(f"{artifacts['examples']}/statistics.json", statistics)
        files = {"statistics.json": sha256}
        self.put(f"{artifacts['examples']}/manifest.json", {"files": files})
        base = {"version": 1, "run": run, "made": "2026-12-01T00:00:00Z"}
        measured = {key: {} for key in ("spec", "rows", "data", "code", "metrics")}
        uri = f"{ROOT}/toy/statistics/runs/{run}.json"
        self.put(uri, {**base, **measured, "artifacts": artifacts})

    @property
    def endpoint(self) -> Any:
        """The only endpoint."""
        (endpoint,) = self.serving.endpoints.values()
        return endpoint

    @property
    def runs(self) -> dict[str, int]:
        """The share of the traffic by run, of every deployed model."""
        split = self.endpoint.traffic_split
        return {
            d.display_name.split()[-1]: split.get(d.id, 0) for d in self.endpoint.deployed_models
        }

    @property
    def champion(self) -> str:
        """The run that has the champion's place."""
        return str(json.loads(self.storage.get(f"{ROOT}/toy/statistics/champion.json"))["run"])


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: ModelSpec) -> Iterator[Google]:
    """Vertex AI and a bucket, with the settings and a spec in the working folder."""
    monkeypatch.chdir(tmp_path)
    with storage_emulator.serving() as storage:
        google = Google(storage)
        with emulator.serving(google.serving, google.serving.monitoring) as url:
            for variable in ("STORAGE_EMULATOR_HOST", "CLOUD_STORAGE_EMULATOR_ENDPOINT"):
                monkeypatch.setenv(variable, storage.url)
            key = storage_emulator.write_credentials(tmp_path / "key.json", storage.url)
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
            clock = SimpleNamespace(sleep=google.sleep, time=lambda: google.now.timestamp())
            monkeypatch.setattr(service, "time", clock)
            storage.add_bucket("bucket")
            (tmp_path / "cloud.yaml").write_text(yaml.safe_dump({**CLOUD, "api_endpoint": url}))
            document = {
                **spec.as_document(),
                "name": "toy",
                "release": {"endpoint": "toy", "min_requests": 10},
            }
            (tmp_path / "toy.yaml").write_text(yaml.safe_dump(document))
            yield google


@pytest.fixture
def quatrain(google: Google, capsys: pytest.CaptureFixture[str]) -> Verb:
    """The command line; a call returns the exit code and what it printed on both streams."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture
def promoted(google: Google, quatrain: Verb) -> Callable[[str], None]:
    """Measures a run, and makes it the champion by the command line."""

    def promote(run: str) -> None:
        google.put_run(run)
        uri = f"{ROOT}/toy/{run}"
        code, _, err = quatrain("promote", uri, "--reason", "try it", "--cloud", "cloud.yaml")
        assert code == 0, err

    return promote


@pytest.fixture
def released(promoted: Callable[[str], None], quatrain: Verb) -> Callable[..., None]:
    """Promotes a run, and releases it by the command line."""

    def release(run: str, *settings: str) -> None:
        promoted(run)
        options = [o for s in settings for o in ("--set", s)]
        code, _, err = quatrain("deploy", "toy.yaml", *options)
        assert code == 0, err

    return release
