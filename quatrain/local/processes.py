"""Starts supervised processes whose output goes to a log file, and says from it why one failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

POLL_S = 0.05
_SUPERVISOR = Path(__file__).with_name("supervisor.py")

_TRACEBACK = "Traceback (most recent call last):"
_RAISED = re.compile(r"(?:[\w.]+\.)?(?P<name>[A-Za-z_]\w*)(?:: (?P<message>.*))?$")
_TAIL_BYTES = 256 << 10


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


def describe_exit(code: int, log: Path) -> str:
    """Returns why a process ended: the signal that killed it, or what its log says last."""
    if code == 0:
        return "it ended well"
    if code <= 128:
        return last_error(log)
    name = signal.Signals(code - 128).name
    hint = ", often for want of memory" if name == "SIGKILL" else ""
    return f"it was killed by {name}{hint}; its last words: {last_error(log)}"


def last_error(log: Path) -> str:
    """Returns the last exception that Python printed to a log, or else its last line.

    The exception follows the indented lines of the last traceback and may have many lines.
    Our own errors are returned as their message; any other keeps its class.
    """
    lines = _tail(log)
    starts = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    if not starts:
        last = next((line for line in reversed(lines) if line.strip()), "")
        return last.strip() or "it ended without a word"
    after = lines[starts[-1] + 1 :]
    first = next((i for i, line in enumerate(after) if line[:1] not in ("", " ")), None)
    if first is None:
        return "the traceback is cut short"
    raised = "\n".join(after[first:]).strip()
    return _without_class(raised)


def _without_class(raised: str) -> str:
    head, *rest = raised.split("\n")
    found = _RAISED.match(head)
    if found is None or not found["message"] or not _is_own(head):
        return raised
    return "\n".join([found["message"], *rest])


def _is_own(head: str) -> bool:
    return head.startswith(("quatrain.", "trainer."))


def _tail(log: Path) -> list[str]:
    with log.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - _TAIL_BYTES))
        return stream.read().decode("utf-8", errors="replace").splitlines()
