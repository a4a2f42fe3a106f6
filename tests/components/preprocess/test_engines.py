"""One pipeline, several engines, the same bytes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quatrain.components.engine import pool
from quatrain.components.errors import RunnerError
from quatrain.components.preprocess.run import preprocess
from quatrain.components.specification.schema import ModelSpec
from tests.emulators import storage as emulator

ROOT = Path(__file__).parents[3]


def contents(out: Path) -> dict[str, bytes]:
    files = [p for p in out.rglob("*") if p.is_file()]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def expected(small_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the in-process runner writes."""
    out = tmp_path_factory.mktemp("here") / "examples"
    preprocess(small_spec.as_json(), runner="local", out=str(out), range_bytes=2000)
    return contents(out)


@pytest.fixture
def served_pool() -> Iterator[str]:
    """A worker pool outside this process."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
    child = subprocess.Popen(
        [*command, f"--service_port={port}"],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("localhost", port), 1).close()
            break
        time.sleep(0.1)
    yield f"localhost:{port}"
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def test_worker_processes_and_a_worker_pool_write_the_same_bytes(
    small_spec: ModelSpec, tmp_path: Path, expected: dict[str, bytes], served_pool: str
) -> None:
    engines = {
        "processes": {"direct_num_workers": 2},
        "pool": {"environment_type": "EXTERNAL", "environment_config": served_pool},
    }
    for name, options in engines.items():
        preprocess(
            small_spec.as_json(),
            runner="local",
            out=str(tmp_path / name),
            range_bytes=2000,
            runner_options=options,
        )
        assert contents(tmp_path / name) == expected, name


def test_a_pool_that_nobody_serves_is_a_sentence(small_spec: ModelSpec, tmp_path: Path) -> None:
    options = {"environment_type": "EXTERNAL", "environment_config": "localhost:1"}
    with pytest.raises(RunnerError, match="no worker pool listens at localhost:1"):
        preprocess(
            small_spec.as_json(),
            runner="local",
            out=str(tmp_path / "out"),
            runner_options=options,
        )
    assert list(tmp_path.iterdir()) == []


def test_workers_of_another_beam_are_refused() -> None:
    with pytest.raises(
        RunnerError, match=r"it has Beam 2\.\d+\.\d+ and not 1\.0, as the launcher has"
    ):
        pool.compare(pool.versions() | {"Beam": "1.0"})


def test_workers_elsewhere_write_the_same_bytes_to_a_bucket(
    small_spec: ModelSpec,
    tmp_path: Path,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with emulator.serving() as storage:
        key = emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        bucket = storage.add_bucket("b")
        storage.put("gs://b/examples/left.parquet", b"of an attempt that was killed")
        runner = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
        out = "gs://b/examples"
        preprocess(small_spec.as_json(), runner=runner, out=out, range_bytes=2000)
        names = {name.removeprefix("examples/"): o.data for name, o in bucket.objects.items()}
    assert {n: data for n, data in names.items() if not n.endswith("/") and n} == expected
