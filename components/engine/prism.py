"""Prism, Beam's portable runner on one machine: its server, which ends with the step.

Beam would start it too, but end it only as Python's interpreter ends, which a killed step does not
reach, and would download it first.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile

from quatrain.components.errors import RunnerError

START_S = 15.0
"""The time that the server has to listen."""
NOTICE_S = 0.2
"""The time for Beam's threads to notice the server's end, which they log."""


@contextmanager
def serve(program: str) -> Iterator[str]:
    """Starts a server, yields its address, and ends it.

    Raises:
        RunnerError: The program does not start.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [program, f"--job_port={port}", "--serve_http=false", "--log_level=warn"]
    with TemporaryFile() as log:
        try:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        except OSError as error:
            raise RunnerError(
                f"{program} cannot be started: {error.strerror}; prism_location must be the "
                f"program of Prism"
            ) from error
        try:
            if not _listens(process, port):
                log.seek(0)
                end = log.read().decode(errors="replace").strip()[-500:]
                raise RunnerError(
                    f"{program} ended before it served, or does not within {START_S:g} s; "
                    f"prism_location must be the program of Prism: {end}"
                )
            yield f"localhost:{port}"
        finally:
            process.kill()
            process.wait()
            time.sleep(NOTICE_S)


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Returns whether a process listens at a port, once it does or cannot any more."""
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            socket.create_connection(("localhost", port), 1).close()
            return True
        time.sleep(0.02)
    return False
