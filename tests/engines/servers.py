"""What an engine needs outside the step: a worker pool, and Beam's own job server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STARTED = "Starting worker with command"
"""What a pool logs when an engine asks it for a worker."""
SITE = """
import os, pathlib, sys

if "SdkHarness" in " ".join(sys.orig_argv):
    from quatrain.components.preprocess import passes

    def faulty(name, real):
        def call(*arguments):
            if pathlib.Path(os.environ["FAULT"]).read_text() == name:
                os.kill(os.getpid(), 9)
            return real(*arguments)
        return call

    for name in ("clean_range", "engineer_range", "write_documents"):
        setattr(passes, name, faulty(name, getattr(passes, name)))
"""
"""What a worker of the pool runs first: it is killed in the pass that the file FAULT names."""


@dataclass(frozen=True)
class Server:
    """A server on loopback.

    Attributes:
        address: Its host and port.
        process: Its process.
        log: What it has printed.
    """

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(
    command: list[str], log: Path, port: int, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Starts a server and its descendants, and ends them all."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=env and {**env}, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError):
                socket.create_connection(("localhost", port), 1).close()
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Server(f"localhost:{port}", process, log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def worker_pool(folder: Path, python: Path = Path(sys.executable)) -> Iterator[Server]:
    """Serves a worker pool; the file `fault` in the folder names a pass that kills its worker."""
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(SITE)
    (folder / "fault").write_text("")
    env = {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}/site{os.pathsep}{ROOT}",
        "FAULT": f"{folder}/fault",
    }
    port = free_port()
    module = "apache_beam.runners.worker.worker_pool_main"
    command = [sys.executable, "-m", module, f"--service_port={port}"]
    with serving(command, folder / "pool.log", port, env) as server:
        yield server


@contextmanager
def job_server(folder: Path) -> Iterator[Server]:
    """Serves the job server that comes with Beam."""
    port = free_port()
    module = "apache_beam.runners.portability.local_job_service_main"
    command = [sys.executable, "-m", module, f"--port={port}"]
    with serving(command, folder / "jobs.log", port) as server:
        yield server


def free_port() -> int:
    """Returns a port at which nothing listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])
