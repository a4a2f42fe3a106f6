"""The way over Dataflow, with everything on gs://: stopped, killed, and run to its end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulators import dataflow
from tests.vertex import table
from tests.vertex.check_run import EQUAL
from tests.vertex.driver import KILLED, Driver, document
from tests.vertex.machine import Machine


@pytest.fixture(scope="session")
def service(vertex: Machine, tmp_path_factory: pytest.TempPathFactory) -> dataflow.Dataflow:
    """The service, whose workers have the clients of Cloud Storage."""
    log = tmp_path_factory.mktemp("workers") / "worker.log"

    def worker(uri: str) -> subprocess.Popen[bytes]:
        command = "import time; time.sleep(600)"  # the first two jobs would take long
        if len(served.jobs) < 3:
            return vertex.start(["python3", "-c", command], log)
        return vertex.start(["python3", "-m", "tests.vertex.dataflow_worker", uri], log)

    served = dataflow.Dataflow(worker=worker)
    return served


@pytest.fixture(scope="session")
def run(
    vertex: Machine, service: dataflow.Dataflow, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    """The first two steps; preprocess is stopped, then killed, while its job runs."""
    reads = dict[str, int]()
    read = service.read

    def disturb(job_id: str) -> dict[str, Any]:
        reads[job_id] = reads.get(job_id, 0) + 1
        if reads[job_id] == 2:
            {1: driver.stop, 2: driver.kill}.get(len(reads), lambda: None)()
        return read(job_id)

    service.read = disturb  # type: ignore[method-assign]
    with dataflow.serving(service) as url:
        options = {"dataflow_endpoint": url, "no_auth": True}
        folder = tmp_path_factory.mktemp("dataflow")
        root = table.ROOT.replace("/root", "/dataflow")
        job = table.submitted(
            vertex, folder, set_cloud=[f"root={root}"], runner="dataflow", runner_options=options
        )
        driver = Driver(vertex, job, "toys-5", tries=2, last="preprocess")
        try:
            driver.run()
            yield driver
        finally:
            for process in service.running.values():
                process.kill()
                process.wait()


def test_a_stopped_step_cancels_its_job_and_leaves_nothing(
    run: Driver, service: dataflow.Dataflow
) -> None:
    stopped = run.attempts[1]
    assert stopped.code == 143 and stopped.ending_s is not None and stopped.ending_s < 10
    assert service.cancelled == list(service.jobs)[:1]
    below = {name for name in stopped.left if name.startswith("preprocess")}
    assert below == {"preprocess_2/gcp_resources"}


def test_a_killed_step_is_run_again_and_its_job_s_files_are_removed(
    vertex: Machine, run: Driver
) -> None:
    assert [a.code in KILLED for a in run.attempts] == [False, False, True, False]
    assert any(".dataflow/staging" in name for name in run.attempts[2].left)
    left = vertex.objects(run.root)
    assert [name for name in left if ".dataflow" in name or ".spill" in name] == []


def test_the_examples_of_dataflow_equal_those_of_the_local_engine(
    vertex: Machine, first: Driver, run: Driver
) -> None:
    folders = [vertex.objects(f"{d.folders['preprocess']}/examples") for d in (first, run)]
    assert set(folders[0]) == set(folders[1])
    different = [n for n in folders[0] if folders[0][n] != folders[1][n]]
    assert [n for n in different if EQUAL.search(n)] == []
    manifests = [document(vertex, d, "preprocess", "examples/manifest.json") for d in (first, run)]
    assert manifests[0] == manifests[1]
    resources = document(vertex, run, "preprocess", "gcp_resources")["resources"]
    assert resources[0]["resourceUri"].endswith("-3")
