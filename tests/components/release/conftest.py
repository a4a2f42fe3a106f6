"""A small project on the emulation: two models of a run each, and a clock that moves by itself."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from quatrain.components.release.applier import Applier
from quatrain.components.release.back import Rollback
from quatrain.components.release.candidate import Candidate
from quatrain.components.release.service import Service
from quatrain.components.release.state import endpoints_of
from quatrain.components.specification.release import Release
from tests.emulators import vertex
from tests.emulators.serving import Serving

IMAGE = "europe-west1-docker.pkg.dev/my-project/quatrain/quatrain@sha256:" + "a" * 64
IN_PROCESS = "http://in-process"
START = datetime.datetime(2026, 12, 2, 8, tzinfo=datetime.UTC)


class Killed(BaseException):
    """The process was killed."""


class Linear:
    """A container whose model answers `slope * size`, as our server would."""

    def __init__(self, slope: float, status: int = 200, fails: bool = False) -> None:
        self.slope, self.status, self.fails = slope, status, fails

    def health(self) -> int:
        return self.status

    def predict(self, body: bytes) -> tuple[int, Any]:
        if self.fails:
            return 500, "the container failed"
        instances = json.loads(body)["instances"]
        return 200, {"predictions": [{"prediction": self.slope * i["size"]} for i in instances]}


class Project:
    """The emulated project, its clock and its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, START
        self.slopes: dict[str, Linear] = {}
        self.requests_a_minute = 60
        self.serving = Serving(self.start, now=lambda: self.now)
        self.words: list[str] = []
        self.calls = 0
        self.kill_at: tuple[int, str] | None = None
        """The call of the client that the process is killed at, and whether before or after it."""
        self.address = IN_PROCESS
        self.wrong: list[dict[str, int]] = []
        """Traffic that no endpoint may have."""

    def start(self, model: Any) -> Linear:
        return self.slopes[model.labels["run"]]

    def candidate(self, run: str, slope: float, artifact_slope: float | None = None) -> Candidate:
        """Writes a model, whose container answers by the slope, and returns it."""
        self.slopes[run] = Linear(slope if artifact_slope is None else artifact_slope)
        sizes = [1.0, 2.0, -3.5]
        golden = {
            "inputs": {"size": sizes},
            "output": "prediction",
            "answers": [slope * size for size in sizes],
        }
        metadata = {
            "inputs": [{"name": "size", "type": "float", "argument": "size"}],
            "classes": [],
            "files": {"golden.json": "0"},
            "package_sha256": "b" * 64,
            "examples": {"spec": "c" * 64, "transform": "d" * 64},
            "run": run,
        }
        data = json.dumps(metadata).encode()
        return InMemory(
            "sizes",
            run,
            f"gs://b/{run}/model",
            IMAGE,
            metadata,
            hashlib.sha256(data).hexdigest(),
            golden,
            {"rmse": {"value": 0.5}},
        )

    def service(self) -> Service:
        return Service(
            "my-project",
            "europe-west1",
            self.address,
            session=Session(self),
            sleep=self.sleep,
            now=lambda: self.now.timestamp(),
        )

    def sleep(self, seconds: float) -> None:
        """Moves the clock, while clients send requests."""
        for _ in range(int(seconds * self.requests_a_minute / 60) if seconds > 30 else 0):
            self.now += datetime.timedelta(seconds=60 / self.requests_a_minute)
            for name in self.serving.endpoints:
                self.client(name)
        self.now += datetime.timedelta(seconds=seconds if seconds <= 30 else 1)

    def client(self, name: str) -> None:
        with self.serving._lock:
            try:
                self.serving.predict({}, {"instances": [{"size": 1.0}]}, name)
            except vertex.Refusal:
                return

    def applier(self, candidate: Candidate, **settings: Any) -> Applier:
        defaults = {"endpoint": "sizes", "hold_s": 300, "min_requests": 10}
        return Applier(
            self.service(),
            candidate,
            Release(**{**defaults, **settings}),
            self.words.append,
        )

    def release(self, candidate: Candidate, **settings: Any) -> str:
        return self.applier(candidate, **settings).apply()

    def roll_back(self, candidate: Candidate) -> list[str]:
        """Rolls the endpoints of a model back to a run."""
        rollback = Rollback(
            self.service(),
            candidate.name,
            candidate.run,
            candidate.label,
            IMAGE,
            lambda image: dataclasses.replace(candidate, image=image),
            self.words.append,
        )
        found = endpoints_of(rollback.service, candidate.name)
        for endpoint in found:
            self.words += [rollback.plan(endpoint)]
        return [rollback.apply(endpoint) for endpoint in found]

    @property
    def endpoint(self) -> Any:
        (endpoint,) = self.serving.endpoints.values()
        return endpoint

    @property
    def runs(self) -> dict[str, int]:
        """The share of the traffic by run, of every deployed model."""
        split = self.endpoint.traffic_split
        return {
            d.display_name.split()[-1]: split.get(d.id, 0) for d in self.endpoint.deployed_models
        }


class InMemory(Candidate):
    """A candidate whose bucket is not there: the emulation does not read it."""

    def write_schemata(self) -> None:
        """Writes nothing."""


class Session:
    """Sends requests, and is killed before or after one of them."""

    def __init__(self, project: Project) -> None:
        self.project, self.session = project, requests.Session()

    def request(self, method: str, url: str, **options: Any) -> Any:
        project = self.project
        project.calls += 1
        if project.kill_at == (project.calls, "before"):
            raise Killed
        answer = self._answer(method, url, **options)
        if project.kill_at == (project.calls, "after"):
            raise Killed
        return answer

    def _answer(self, method: str, url: str, **options: Any) -> Any:
        project = self.project
        if project.address != IN_PROCESS:
            return self.session.request(method, url, **options)
        query = urlencode(options.get("params") or {})
        target = f"{url.removeprefix(IN_PROCESS)}?{query}"
        data = json.dumps(options["json"]).encode() if "json" in options else b""
        serving = project.serving
        return Answer(*(serving.monitoring(method, target) or serving.answer(method, target, data)))


@dataclass(frozen=True)
class Answer:
    """An answer of the emulation without the way through a socket, which kills need not take."""

    status_code: int
    body: Any

    def json(self) -> Any:
        return self.body


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    with vertex.serving(project.serving, other=project.serving.monitoring) as project.address:
        yield project


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[], Project]:
    """Makes projects, each on an emulation of its own."""
    return lambda: Project(tmp_path)
