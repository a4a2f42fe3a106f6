"""SIGTERM to each step, process 1 of its container: it ends soon, and the rerun is equal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.vertex import table
from tests.vertex.check_run import EQUAL, MANIFESTS
from tests.vertex.driver import Driver, document
from tests.vertex.machine import Machine, process_1

STOPS = {
    "find-files": ["GET .*tables/toys.csv"],
    "preprocess": ["write .*/examples/train-"],
    "compare": ["GET .*/examples/statistics.json"],
    "package": ["GET .*/examples/train-"],
    "plan": ["GET .*/package/package.json"],
    # The bootstrap, then the trainer.
    "custom-training-job-2": ["GET .*/package/.*tar.gz", "write .*/logs/events"],
    "measure": ["write .*/evaluation/predictions"],
    "gate": ["GET .*/evaluation/metrics.json"],
}
"""The moment at which a step is stopped: in its work."""
TERMINATED = 128 + signal.SIGTERM
SOON_S = 10.0


@pytest.fixture(scope="session")
def stopped(vertex: Machine, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A run without a history, each step of which is stopped in its work and run again."""
    folder = tmp_path_factory.mktemp("stopped")
    root = table.ROOT.replace("/root", "/stopped")
    job = table.submitted(vertex, folder, set_cloud=[f"root={root}"])
    stops = {task: list(patterns) for task, patterns in STOPS.items()}
    driver = Driver(vertex, job, "toys-4", tries=2, stops=stops)
    driver.run()
    return driver


def test_sigterm_ends_each_step_soon(stopped: Driver) -> None:
    ended = [a for a in stopped.attempts if a.code]
    assert [a.task for a in ended] == [task for task, stops in STOPS.items() for _ in stops]
    for attempt in ended:
        assert attempt.code == TERMINATED, attempt
        assert attempt.ending_s is not None and attempt.ending_s < SOON_S, attempt


def test_a_stopped_step_leaves_nothing_that_looks_whole(stopped: Driver) -> None:
    for attempt in stopped.attempts:
        if attempt.code and (manifest := MANIFESTS.get(attempt.task)):
            assert [name for name in attempt.left if name.endswith(manifest)] == []


def test_the_rerun_of_a_stopped_step_equals_an_undisturbed_run(
    vertex: Machine, first: Driver, stopped: Driver
) -> None:
    ours, theirs = vertex.objects(first.root), vertex.objects(stopped.root)
    names = [{n for n in objects if "/logs/" not in n} for objects in (ours, theirs)]
    assert names[0] == names[1]
    assert [n for n in names[0] if EQUAL.search(n) and ours[n] != theirs[n]] == []
    metrics = [document(vertex, d, "measure", "evaluation/metrics.json") for d in (first, stopped)]
    assert metrics[0]["metrics"] == metrics[1]["metrics"]


def test_the_server_ends_too(vertex: Machine, first: Driver, tmp_path: Path) -> None:
    model, log = f"{first.folders['plan']}/model/model", tmp_path / "server.log"
    words = ["python3", "-m", "quatrain.components.serve.server", model]
    server = vertex.start(words, log, {"AIP_HTTP_PORT": "0"})
    deadline = time.monotonic() + 120
    while "serving on port" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process_1(server), signal.SIGTERM)
    # 0 once it listens; it says that it serves a moment before.
    assert server.wait(timeout=SOON_S) in (0, TERMINATED), log.read_text()
