"""A trial of an engine before a run: its addresses, and a worker's versions of Beam and Python.

Beam itself waits forever for a worker that does not start, and 300 s for an absent job server.
"""

from __future__ import annotations

import platform
import socket
import threading
from collections.abc import Iterator
from importlib import metadata

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners.runner import PipelineRunner

from quatrain.components.engine.failures import explain_engine
from quatrain.components.errors import RunnerError

CONNECT_S, START_S, PULL_S = 5.0, 45.0, 900.0
"""The time for one connection, for a worker to answer, and for one whose image is pulled first."""
_IMAGE_TYPES = (None, "DOCKER")
"""The kinds of environment in which an engine pulls an image."""
_START_POOL = "`python -m apache_beam.runners.worker.worker_pool_main --service_port=PORT`"


def try_engine(runner: PipelineRunner | None, options: PipelineOptions, pool: str = "") -> None:
    """Connects to each address of the options, then runs a job of one element on the engine.

    Args:
        runner: Beam's runner; None lets the options choose one.
        options: Beam's options.
        pool: The address of the worker pool, if there is one.

    Raises:
        RunnerError: Nothing listens, no worker answers, or it has another Beam or Python.
    """
    server = options.view_as(PortableOptions).job_endpoint
    if server and server != "embed":
        _connect(
            server,
            "job server",
            "start it, or give --runner-option job_endpoint=HOST:PORT of one that runs",
        )
    if pool:
        _connect(
            pool,
            "worker pool",
            f"start one by {_START_POOL} and give --runner-option environment_config=HOST:PORT",
        )
    place = f"the worker pool at {pool}" if pool else f"the job server at {server or 'its program'}"
    failures: list[Exception] = []
    attempt = threading.Thread(
        target=_run_one_element, args=(runner, options, versions(), failures), daemon=True
    )
    attempt.start()
    kind = options.view_as(PortableOptions).environment_type
    patience_s = START_S if runner or kind not in _IMAGE_TYPES else PULL_S
    attempt.join(patience_s)
    if attempt.is_alive():
        raise RunnerError(
            f"{place} took the connection, but no worker answered within {patience_s:g} s; a "
            f"worker needs a Python that has this version of Quatrain and Beam (a pool starts the "
            f"`python` of its PATH), and a way back to this machine"
        )
    if failures:
        raise RunnerError(f"{place} is of no use: {failures[0]}") from None


def versions() -> dict[str, str]:
    """Returns the versions that must agree between the processes that pickle and unpickle."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "Beam": metadata.version("apache-beam"),
    }


def differences(launcher: dict[str, str]) -> Iterator[str]:
    """Yields how the versions of this process, a worker, differ from those of the launcher."""
    for what, version in versions().items():
        if version != launcher[what]:
            yield f"a worker has {what} {version}, and the launching process {launcher[what]}"


def compare(launcher: dict[str, str]) -> None:
    """Compares the versions of the launching process with those of this one, a worker.

    Raises:
        RunnerError: The versions differ.
    """
    if found := list(differences(launcher)):
        raise RunnerError(" and ".join(found))


def _run_one_element(
    runner: PipelineRunner | None,
    options: PipelineOptions,
    expected: dict[str, str],
    failures: list[Exception],
) -> None:
    """Runs a pipeline of one element, in which a worker compares its versions."""
    try:
        with explain_engine(), beam.Pipeline(runner, options) as pipeline:
            _ = pipeline | beam.Create([expected]) | "compare versions" >> beam.Map(compare)
    except Exception as error:  # a thread has no caller: `try_engine` raises the error
        failures.append(error)


def _connect(address: str, what: str, way_out: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise RunnerError(f"no {what} listens at {address} ({error}); {way_out}") from error
