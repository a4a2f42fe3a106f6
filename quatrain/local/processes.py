"""Starts supervised processes whose output goes to a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

POLL_S = 0.05
_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class Process:
    """One supervised command; its descendants end with it, and with this process."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.log = log
        self.cpu_s = 0.0
        self.code: int | None = None
        supervisor = [sys.executable, "-I", "-S", str(_SUPERVISOR), str(os.getpid())]
        with log.open("ab") as stream:
            self._popen = subprocess.Popen(
                [*supervisor, *command],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the command line only, which then stops us
            )

    def poll(self) -> int | None:
        """Returns the exit code, or None while the command runs."""
        if self.code is None:
            pid, status, usage = os.wait4(self._popen.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self._popen.returncode = code
                self.code = code if code >= 0 else 128 - code
                self.cpu_s = usage.ru_utime + usage.ru_stime
        return self.code

    def stop(self) -> None:
        """Asks the command to end; it is killed if it does not."""
        if self.poll() is None:
            os.kill(self._popen.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Returns the exit code once the command has ended."""
        while (code := self.poll()) is None:
            time.sleep(POLL_S)
        return code


def stop_all(processes: Iterable[Process]) -> None:
    """Ends all processes and waits until none of them is left."""
    running = list(processes)
    for process in running:
        process.stop()
    for process in running:
        process.wait()
