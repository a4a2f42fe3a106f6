"""Starts supervised processes that write to a log, and reads from the log why one failed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from quatrain.trainer.failure import LOST

POLL_S = 0.05
"""Seconds between two polls of a process."""

_SUPERVISOR = Path(__file__).with_name("supervisor.py")

_TRACEBACK = "Traceback (most recent call last):"
_ERROR = "error: "
_RAISED = re.compile(r"[\w.]+(?:: (?P<message>.*))?$")
"""The first line of an exception: its class, and its message if it has one."""
_LEAKS = "nanobind: leaked"
"""What DuckDB prints after the exception of a process that ends while a thread uses it."""
_MAXRSS_OF_A_MB = 1 << (20 if sys.platform == "darwin" else 10)
"""The unit of ru_maxrss is a byte on macOS, and 1 024 bytes on Linux (getrusage(2))."""
_TAIL_BYTES = 256 << 10
"""How much of a log's end is read."""


class Process:
    """A supervised command, whose descendants end with it and with this process.

    Its temporary folder, TMPDIR, goes with it. A step of kfp leaves its code there, and one that is
    killed whatever it had begun.
    """

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.log = log
        self.cpu_s = 0.0
        self.peak_mb = 0.0
        self.code: int | None = None
        self._temporary = tempfile.mkdtemp(prefix="quatrain-step-")
        # Its own usage would do, but Linux counts in it what the process that forked it had.
        self._peak = tempfile.TemporaryFile()  # noqa: SIM115, closed when the command has ended
        supervisor = [sys.executable, "-I", "-S", str(_SUPERVISOR)]
        supervisor += [str(os.getpid()), self._temporary, str(self._peak.fileno())]
        with log.open("ab") as stream:
            self._popen = subprocess.Popen(
                [*supervisor, *command],
                env={**env, "TMPDIR": self._temporary},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=[self._peak.fileno()],
                start_new_session=True,  # Ctrl-C reaches only the command line, which stops it
            )

    @property
    def pid(self) -> int:
        """The supervisor, which leads the session of the command and its descendants."""
        return self._popen.pid

    def poll(self) -> int | None:
        """Returns the exit code, or None while the command runs."""
        if self.code is None:
            # Popen.poll would drop the usage, which here counts every descendant of the command.
            pid, status, usage = os.wait4(self._popen.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self._popen.returncode = code
                if code < 0:  # the supervisor itself was killed, and left all this undone
                    _kill_session(pid)
                    shutil.rmtree(self._temporary, ignore_errors=True)
                self.code = code if code >= 0 else 128 - code
                self.cpu_s = usage.ru_utime + usage.ru_stime
                self._peak.seek(0)
                self.peak_mb = int(self._peak.read() or 0) / _MAXRSS_OF_A_MB
                self._peak.close()
        return self.code

    def stop(self) -> None:
        """Ends the command; the supervisor kills it if it does not end soon."""
        if self.poll() is None:
            os.kill(self._popen.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Returns the exit code once the command has ended."""
        while (code := self.poll()) is None:
            time.sleep(POLL_S)
        return code


def _kill_session(session: int) -> None:
    """On Linux, kills the processes of a session, as a supervisor does before it ends."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[3] == str(session):  # proc(5): state, ppid, pgrp, session
                os.kill(int(stat.parent.name), signal.SIGKILL)


def stop_all(processes: Iterable[Process]) -> None:
    """Ends all processes and waits until every one has ended."""
    running = list(processes)
    for process in running:
        process.stop()
    for process in running:
        process.wait()


def describe_exit(code: int, log: Path) -> str:
    """Returns why a process ended: the signal that killed it, or the last error in its log.

    Args:
        code: The exit code, as a shell reports it: 128 + n after signal n.
        log: The log of the process.
    """
    if code == 0:
        return "it succeeded"
    if code <= 128 or code == LOST:
        return last_error(log)
    name = signal.Signals(code - 128).name
    hint = ", often for want of memory" if name == "SIGKILL" else ""
    return f"it was killed by {name}{hint}; its log ends with: {last_error(log)}"


def last_error(log: Path) -> str:
    """Returns the last error that was printed to a log, or else the log's last line.

    A step prints `error: ` before a sentence, which may have many lines. An exception of Python
    follows the indented lines of its traceback, and may have many lines, too. The class is dropped
    if it is one of Quatrain's own, whose messages are sentences.
    """
    lines = _tail(log)
    starts = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    errors = [number for number, line in enumerate(lines) if line.startswith(_ERROR)]
    if errors and errors[-1] > (starts or [-1])[-1]:
        return "\n".join(lines[errors[-1] :]).removeprefix(_ERROR).strip()
    if not starts:
        last = next((line for line in reversed(lines) if line.strip()), "")
        return last.strip() or "it wrote nothing to its log"
    after = [*takewhile(lambda line: not line.startswith(_LEAKS), lines[starts[-1] + 1 :])]
    first = next((i for i, line in enumerate(after) if line[:1] not in ("", " ")), None)
    if first is None:
        return "the traceback is cut short"
    raised = "\n".join(after[first:]).strip()
    return _without_class(raised)


def _without_class(raised: str) -> str:
    head, *rest = raised.split("\n")
    match = _RAISED.match(head)
    if match is None or not match["message"] or not _is_own(head):
        return raised
    return "\n".join([match["message"], *rest])


def _is_own(head: str) -> bool:
    return head.startswith(("quatrain.", "trainer."))


def _tail(log: Path) -> list[str]:
    with log.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - _TAIL_BYTES))
        return stream.read().decode("utf-8", errors="replace").splitlines()
