"""The exit task of a job on Vertex AI: one notice, by topic and webhook, whatever the job met."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.notices import Notices, notices_server
from tests.vertex import table
from tests.vertex.driver import KILLED, Driver, TaskFailed
from tests.vertex.machine import Machine

SECRET = "projects/my-project/secrets/chat/versions/latest"  # noqa: S105 - a name
TOPIC = "projects/my-project/topics/runs"
HOOK = "/hook?key=T0K3N-of-the-channel"


@dataclasses.dataclass
class Channel:
    """A machine, and the server that gets its notices."""

    machine: Machine
    server: Notices

    def driver(self, folder: Path, changes: dict[str, Any], **options: Any) -> Driver:
        """Returns a run with a root of its own that has not begun."""
        name = folder.name
        request = {"predicts": True} if options.pop("predicts", False) else {}
        root = options.pop("root", table.ROOT.replace("/root", f"/notices/{name}"))
        settings = [f"root={root}", f"notify={{webhook: {SECRET}, pubsub: {TOPIC}}}"]
        job = table.submitted(self.machine, folder, changes, set_cloud=settings, **request)
        return Driver(self.machine, job, name, **options)

    def notice(self, driver: Driver, n_posts: int = 1) -> dict[str, Any]:
        """Returns the fields of a run's notice, which both sides got once, and no log's secret."""
        posts = [body for body in self.server.posts(HOOK) if body["quatrain"]["run"] == driver.name]
        messages = self.server.published[TOPIC]
        of_run = [m for m in messages if m["attributes"]["run"] == driver.name]
        assert (len(posts), len(of_run)) == (n_posts, 1)
        [message] = of_run
        fields: dict[str, Any] = json.loads(base64.b64decode(message["data"]))["quatrain"]
        assert not [body for body in posts if body["quatrain"] != fields]
        assert message["attributes"]["event"] == fields["event"]
        written = self.machine.objects(driver.root).values()
        logs = [attempt.log for attempt in (*driver.attempts, *driver.exits)]
        secret = HOOK.rpartition("=")[2]
        assert not [t for t in [*logs, json.dumps(driver.job)] if secret in t]
        assert not [data for data in written if secret.encode() in data]
        return fields


@pytest.fixture(scope="module")
def channel(vertex: Machine) -> Iterator[Channel]:
    with notices_server() as server:
        server.secrets[SECRET] = f"{server.url}{HOOK}"
        server.topics.add(TOPIC)
        hosts = {"PUBSUB_EMULATOR_HOST": server.host, "SECRET_MANAGER_EMULATOR_HOST": server.host}
        environment = {**vertex.environment, **hosts}
        yield Channel(dataclasses.replace(vertex, environment=environment), server)


DIVERGES = {"train": {**table.SPEC["train"], "model": "linear", "learning_rate": 1e30}}
FAILURES = {
    "find_files": ({"source": {"uri": table.SOURCE + ".gz"}}, "", "preprocess"),
    "preprocess": ({}, "/preprocess_[0-9]+/examples/", "preprocess"),
    "package": ({}, "/package_[0-9]+/package/", "package"),
    "train": (DIVERGES, "", "train"),
    "measure": ({}, "/measure_[0-9]+/evaluation/", "evaluate"),
}


@pytest.mark.parametrize("phase", FAILURES)
def test_a_failed_step_s_notice_has_its_phase_its_reason_and_its_advice(
    channel: Channel, tmp_path: Path, phase: str
) -> None:
    changes, forbidden, step = FAILURES[phase]
    driver = channel.driver(tmp_path, changes)
    refused = channel.machine.storage.forbid(forbidden or "(?!)")
    with refused, pytest.raises(TaskFailed) as failed:
        driver.run()
    notice = channel.notice(driver)
    assert [notice[key] for key in ("event", "step", "phase")] == ["failed", step, phase]
    assert notice["reason"] in str(failed.value) and notice["advice"] in str(failed.value)
    assert notice["reason"] and notice["advice"]
    assert notice["link"].endswith(f"/pipelines/runs/{driver.name}?project=my-project")


def test_a_step_that_was_killed_is_named_by_vertex_s_error(
    channel: Channel, tmp_path: Path
) -> None:
    driver = channel.driver(tmp_path, {})
    storage = channel.machine.storage
    name = tmp_path.name

    def killed() -> None:  # at each of its attempts
        driver.kill()
        storage.watch(f"{name}.*/preprocess_[0-9]+/examples/", killed)

    storage.watch(f"{name}.*/preprocess_[0-9]+/examples/", killed)
    with pytest.raises(TaskFailed):
        driver.run()
    storage.watch(f"{name}.*/preprocess_[0-9]+/examples/", lambda: None)
    notice = channel.notice(driver)
    assert [notice[key] for key in ("event", "step", "phase")] == ["failed", "preprocess", ""]
    assert "run out of memory" in notice["advice"]


@pytest.fixture(scope="module")
def promoted(channel: Channel, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A run whose exit task is killed when the webhook has its notice and the topic has not."""
    driver = channel.driver(tmp_path_factory.mktemp("toys"), {}, tries=1)
    server, publish = channel.server, channel.server.publish
    kills: list[Any] = []

    def killed(topic: str, body: Any) -> tuple[int, Any]:
        if kills:
            return publish(topic, body)
        deadline = time.monotonic() + 60
        while "notice.json" not in channel.machine.objects(driver.root):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        kills.append(driver.kill())
        return 503, {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "publish", killed)
        driver.run()
    return driver


def test_an_exit_task_that_was_killed_sends_only_the_rest(
    channel: Channel, promoted: Driver
) -> None:
    first, second = promoted.exits
    assert first.code in KILLED and second.code == 0
    assert "notify: promoted: was sent to the webhook before" in second.log
    assert channel.notice(promoted)["event"] == "promoted"


def root_of(driver: Driver) -> str:
    return driver.root.split("/123456789/")[0]


def moved_rows(machine: Machine) -> str:
    """Writes the table once more with other sizes, and returns its uri."""
    uri = f"{table.SOURCE.removesuffix('.csv')}-moved.csv"
    lines = machine.storage.get(table.SOURCE).decode().splitlines()
    rows = [line.split(",") for line in lines[1:-1]]
    text = [lines[0], *(",".join([r[0], f"{float(r[1]) + 3:.3f}", *r[2:]]) for r in rows)]
    machine.storage.put(uri, "\n".join([*text, ""]).encode())
    return uri


def test_a_prediction_is_silent_until_its_inputs_drift(
    channel: Channel, promoted: Driver, tmp_path: Path
) -> None:
    (quiet := tmp_path / "quiet").mkdir()
    driver = channel.driver(quiet, {}, root=root_of(promoted), predicts=True)
    driver.run()
    [attempt] = driver.exits
    assert f"notify: toys: run {driver.name} predicted" in attempt.log
    assert driver.name not in str([channel.server.published[TOPIC], channel.server.posts(HOOK)])

    (drifted := tmp_path / "drifted").mkdir()
    changes = {
        "source": {"uri": moved_rows(channel.machine)},
        "drift": {"psi": {"warn": 0.1, "fail": 0.2}},
    }
    driver = channel.driver(drifted, changes, root=root_of(promoted), predicts=True)
    with pytest.raises(TaskFailed, match="compare-inputs ended with 1"):
        driver.run()
    notice = channel.notice(driver)
    assert [notice[key] for key in ("event", "step")] == ["drift", "compare-inputs"]
    assert any("size: psi=" in sentence for sentence in notice["drift"])


def test_the_gate_s_verdict_is_heard_of_with_the_drift_and_without_the_secret(
    channel: Channel, promoted: Driver, tmp_path: Path
) -> None:
    """The run goes on below the root of the promoted one; its secret is refused."""
    changes = {
        "source": {"uri": moved_rows(channel.machine)},
        "drift": {"psi": {"warn": 0.1, "fail": None}},
        "evaluate": {"gate": {"auc": {"min": 0.99999}}},
    }
    driver = channel.driver(tmp_path, changes, root=root_of(promoted))
    address = channel.server.secrets.pop(SECRET)
    try:
        with pytest.raises(TaskFailed, match="gate ended with 1"):
            driver.run()
    finally:
        channel.server.secrets[SECRET] = address
    notice = channel.notice(driver, n_posts=0)
    assert [notice[key] for key in ("event", "step", "phase")] == ["gate", "evaluate", "gate"]
    assert any("size: psi=" in sentence for sentence in notice["drift"])
    [attempt] = driver.exits
    assert attempt.code == 0
    assert f"not sent to {SECRET}: the secret {SECRET} was refused with status 404" in attempt.log
