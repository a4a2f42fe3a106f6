"""A worker pool outside this process: tried before a run, since Beam would wait for it forever."""

from __future__ import annotations

import platform
import socket
import threading
from importlib import metadata

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions

from quatrain.components.engine.beam_import import LOCAL
from quatrain.components.engine.runners import ENGINES
from quatrain.components.errors import RunnerError

CONNECT_S, START_S = 5.0, 60.0
"""The time that a pool has to accept a connection, and then to start a worker that answers."""


def check(options: PipelineOptions) -> None:
    """Checks that a pool starts workers, and that they have this process's Beam and Python.

    Does nothing if the options name no pool. A pool is a process of `python -m
    apache_beam.runners.worker.worker_pool_main`, which starts the `python` of its PATH.

    Raises:
        RunnerError: Nothing listens there, no worker answers, or it has other versions.
    """
    portable = options.view_as(PortableOptions)
    local = options.view_as(StandardOptions).runner == ENGINES[LOCAL].beam
    if not local or portable.environment_type != "EXTERNAL":
        return
    at = str(portable.environment_config)
    host, _, port = at.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise RunnerError(
            f"no worker pool listens at {at} ({error}); start one by "
            f"`python -m apache_beam.runners.worker.worker_pool_main --service_port=PORT` and "
            f"give --runner-option environment_config=HOST:PORT"
        ) from error
    failures: list[Exception] = []
    attempt = threading.Thread(target=_try, args=(options, versions(), failures), daemon=True)
    attempt.start()
    attempt.join(START_S)
    if attempt.is_alive():
        raise RunnerError(
            f"the worker pool at {at} took the connection, but no worker answered within "
            f"{START_S:g} s; it starts the `python` of its PATH, which must have this version of "
            f"Quatrain and Beam"
        )
    if failures:
        raise RunnerError(
            f"a worker of the pool at {at} is of no use: {_sentence(failures[0])}"
        ) from failures[0]


def versions() -> dict[str, str]:
    """Returns the versions that must agree between the processes that pickle and unpickle."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "Beam": metadata.version("apache-beam"),
    }


def compare(launcher: dict[str, str]) -> None:
    """Compares the versions of the launching process with those of this one, a worker.

    Raises:
        RunnerError: The versions differ.
    """
    here = versions()
    differences = [f"{k} {here[k]} and not {v}" for k, v in launcher.items() if here[k] != v]
    if differences:
        raise RunnerError(f"it has {' and '.join(differences)}, as the launcher has")


def _try(options: PipelineOptions, expected: dict[str, str], failures: list[Exception]) -> None:
    """Runs a pipeline of one element, in which a worker compares its versions."""
    try:
        with beam.Pipeline(options=options) as pipeline:
            _ = pipeline | beam.Create([expected]) | beam.Map(compare)
    except Exception as error:  # a thread has no caller: `check` raises the error
        failures.append(error)


def _sentence(error: Exception) -> str:
    """Returns the message of a worker's error, from the traceback that Beam passes on as text."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    ours = [line for line in lines if "RunnerError: " in line]
    return (ours or lines or [type(error).__name__])[-1].partition("RunnerError: ")[2] or lines[-1]
