"""The release at the end of a run: the compiled file, our own server, and an emulated endpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import tls
from tests.emulators.notices import Notices, notices_server
from tests.emulators.serving import Serving
from tests.vertex import table
from tests.vertex.driver import KILLED, Driver, TaskFailed, document
from tests.vertex.machine import Machine, end

ROOT = table.ROOT.replace("/root", "/released")
RELEASE = {"release": {"endpoint": "toys", "golden_answers": 2}}
TASK = "release"
HOOK = "/T0K3N"


class Container:
    """Our server on this machine, with the command, ports and routes that the registry got."""

    def __init__(self, machine: Machine, model: Any, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        given = {"AIP_STORAGE_URI": model.artifact_uri, "AIP_HTTP_PORT": str(port)}
        spec = model.container_spec
        self.process = machine.start(list(spec.command), log, given)
        self.base, self.log = f"http://127.0.0.1:{port}", log
        self.routes = spec.health_route, spec.predict_route

    def health(self) -> int:
        for _ in range(600):
            code = self._answer(self.routes[0], None)[0]
            if code == 200 or self.process.poll() is not None:
                return code
            time.sleep(0.1)
        return code

    def predict(self, body: bytes) -> tuple[int, Any]:
        return self._answer(self.routes[1], body)

    def _answer(self, route: str, body: bytes | None) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(self.base + route, body, timeout=20) as answer:  # noqa: S310
                data = answer.read()
                return answer.status, json.loads(data) if body else None
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError):
            return 503, None


@dataclasses.dataclass
class Project:
    """A machine whose runs reach an emulated registry and endpoint."""

    machine: Machine
    serving: Serving
    folder: Path
    notices: Notices

    def driver(self, name: str, changes: dict[str, Any], tries: int = 0) -> Driver:
        """Returns a run that has not begun."""
        (folder := self.folder / name).mkdir()
        settings = [f"root={ROOT}", f"notify.webhook={self.notices.url}{HOOK}"]
        job = table.submitted(self.machine, folder, changes, set_cloud=settings)
        return Driver(self.machine, job, name, tries=tries)

    @property
    def state(self) -> tuple[list[Any], list[str]]:
        """What exists: the endpoints as they are, and the versions of the model."""
        endpoints = [type(e).to_json(e) for e in self.serving.endpoints.values()]
        return endpoints, [n for v in self.serving.versions.values() for n in v]


@pytest.fixture(scope="module")
def project(vertex: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("serving")
    servers: list[subprocess.Popen[bytes]] = []

    def start(model: Any) -> Container:
        container = Container(vertex, model, folder / f"server-{len(servers)}.log")
        servers.append(container.process)
        return container

    serving = Serving(start)
    proxy = vertex.environment["https_proxy"]
    google = tls.serving_rest(serving, "europe-west1", folder, proxy)
    with google as leading, notices_server() as notices:
        machine = dataclasses.replace(vertex, environment={**vertex.environment, **leading})
        yield Project(machine, serving, folder, notices)
    for server in servers:
        end(server)


@pytest.fixture(scope="module")
def released(project: Project) -> Driver:
    """The first run, whose release is killed once, while its version is being uploaded."""
    driver = project.driver("toys-1", RELEASE, tries=1)
    upload, kills = project.serving._upload, []

    def killed(*arguments: Any) -> Any:
        reply = upload(*arguments)
        if not kills:
            kills.append(driver.kill())
        return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project.serving, "_upload", killed)
        driver.run()
    return driver


def test_a_run_ends_with_its_champion_serving_everything(
    project: Project, released: Driver
) -> None:
    (endpoint,) = project.serving.endpoints.values()
    (deployed,) = endpoint.deployed_models
    assert dict(endpoint.traffic_split) == {deployed.id: 100}
    assert deployed.display_name == "quatrain toys toys-1"
    assert "champion" in project.serving._version(deployed.model).version_aliases
    last = released.attempts[-1]
    assert (last.task, last.code) == (TASK, 0)
    assert "has all the traffic of endpoint toys" in last.log
    answered = project.serving.requests
    assert len(answered) >= 2 and {code for _, _, _, code, _ in answered} == {"2xx"}


def test_a_release_that_was_killed_uploads_no_second_version(
    project: Project, released: Driver
) -> None:
    codes = [attempt.code for attempt in released.attempts if attempt.task == TASK]
    assert len(codes) == 2 and codes[0] in KILLED and codes[1] == 0
    assert [*project.state[1]] == ["1"]


@pytest.mark.parametrize(
    ("name", "changes", "code"),
    [
        ("toys-failed", {"evaluate": {"gate": {"auc": {"min": 0.99999}}}}, 1),
        ("toys-held", {"split": {**table.SPEC["split"], "train": 0.5, "test": 0.3}}, 0),
        ("toys-absent", {"release": None}, 0),
    ],
)
def test_what_is_not_promoted_or_not_to_be_released_leaves_the_endpoint_untouched(
    project: Project, released: Driver, name: str, changes: dict[str, Any], code: int
) -> None:
    before = project.state
    driver = project.driver(name, {**RELEASE, **changes})
    with contextlib.suppress(TaskFailed):
        driver.run()
    last = driver.attempts[-1]
    assert (last.task, last.code) == ("gate", code), last.log
    assert project.state == before


def test_a_release_that_fails_fails_the_run_and_is_not_tried_again(
    project: Project, released: Driver
) -> None:
    quota, project.serving.quota = project.serving.quota, 0
    try:
        driver = project.driver("toys-2", RELEASE, tries=1)
        with pytest.raises(TaskFailed, match="quotas are exceeded"):
            driver.run()
    finally:
        project.serving.quota = quota
    first, *others = (a for a in driver.attempts if a.task == TASK)
    assert "error: cannot deploy toys@2" in first.log and "Traceback" not in first.log
    assert others and {a.code for a in (first, *others)} == {1}
    assert not [a for a in others if "release: deploy" in a.log]
    assert "release: deploy" in first.log
    failure = document(project.machine, driver, TASK, "failure.json")
    assert (failure["step"], failure["phase"]) == ("release", "release")
    assert document(project.machine, driver, "measure", "evaluation/metrics.json")["gate"]["passed"]
    posts = [body["quatrain"] for body in project.notices.posts(HOOK)]
    [notice] = [fields for fields in posts if fields["run"] == driver.name]
    assert [notice[key] for key in ("event", "step", "phase")] == ["failed", "release", "release"]
    assert "quotas are exceeded" in notice["reason"] + notice["advice"]
    [exit_] = driver.exits
    assert "sent to http://localhost" in exit_.log and HOOK not in exit_.log
    (endpoint,) = project.serving.endpoints.values()
    assert [d.display_name for d in endpoint.deployed_models] == ["quatrain toys toys-1"]
    assert list(endpoint.traffic_split.values()) == [100]
