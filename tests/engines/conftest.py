"""The engines of one machine, with a bucket, for all tests, or the reason why there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import storage
from tests.engines import servers
from tests.engines.servers import Server

PRISM = os.environ.get("PRISM", "")
ENGINES = ("prism", "prism-pool", "portable", "portable-pool", "local-pool", "flink", "spark")


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[storage.Storage]:
    """A storage with the bucket `b`, which this process and all that it starts use."""
    with storage.serving() as served, pytest.MonkeyPatch.context() as patch:
        key = storage.write_credentials(tmp_path_factory.mktemp("key") / "key.json", served.url)
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        patch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", served.url)
        patch.setenv("STORAGE_EMULATOR_HOST", served.url)
        served.add_bucket("b")
        yield served


@pytest.fixture(scope="session")
def pool(bucket: storage.Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.worker_pool(tmp_path_factory.mktemp("pool")) as server:
        yield server


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers.job_server(tmp_path_factory.mktemp("jobs")) as server:
        yield server


@pytest.fixture(scope="session")
def launch(pool: Server, jobs: Server) -> Callable[[str], dict[str, Any]]:
    """Gives the runner and the runner's options of an engine."""

    def make(engine: str) -> dict[str, Any]:
        runner, _, workers = engine.partition("-")
        options = {
            "prism": {"prism_location": PRISM},
            "local": {},
        }.get(runner, {"job_endpoint": jobs.address, "environment_type": "LOOPBACK"})
        if runner == "prism" and not Path(PRISM).is_file():
            pytest.skip("PRISM names no program of Prism; `make engine-test` makes it by Go")
        if workers:
            options |= {"environment_type": "EXTERNAL", "environment_config": pool.address}
        return {"runner": runner, "runner_options": options}

    return make


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Fails a test that leaves a process of this one behind."""
    before = _children()
    yield
    assert _children() <= before


def _children() -> set[str]:
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {pid for children in listed for pid in children.read_text().split()}
