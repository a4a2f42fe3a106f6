"""Runs one command and leaves nothing of it behind, however this process or its parent ends.

    python -I -S supervisor.py PARENT_PID COMMAND...

A step starts a shell, that a Python, that perhaps more. This process stands between them and the
command line: when the parent is gone (even by SIGKILL) or asks it to stop, it ends the command's
process group, gently first, and then everything that descends from it. Its exit code is the
command's (128 + n after signal n). It needs the standard library only and starts in 20 ms.
"""

from __future__ import annotations

import os
import signal
import sys
import time

GRACE_S = 5.0
"""Time between SIGTERM and SIGKILL; a trainer saves a checkpoint in it."""

_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WATCHED = {*_STOP, signal.SIGCHLD, signal.SIGALRM}
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def supervise(parent: int, command: list[str]) -> int:
    """Runs the command to its end, or to the parent's, and returns its exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    _adopt_descendants()
    child = os.posix_spawnp(command[0], command, os.environ, setpgroup=0, setsigmask=[])
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
    deadline = None
    while True:
        received = signal.sigwait(_WATCHED)
        if received == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                break
        stop = received in _STOP or os.getppid() != parent
        if stop and deadline is None:
            deadline = time.monotonic() + GRACE_S
            _kill_group(child, signal.SIGTERM)
        elif deadline is not None and time.monotonic() > deadline:
            _kill_group(child, signal.SIGKILL)
    _kill_group(child, signal.SIGKILL)
    _kill_descendants()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _adopt_descendants() -> None:
    """On Linux, orphans below become children of this process, and the parent's end is a signal."""
    if sys.platform == "linux":
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _reap(child: int) -> int | None:
    """Collects every process that has ended; returns the child's wait status if it is one."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _kill_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # the group is empty; macOS says the latter
        return


def _kill_descendants() -> None:
    """Kills what left the group, one generation after another, until no child is left."""
    listing = f"/proc/self/task/{os.getpid()}/children"
    while os.path.exists(listing):
        with open(listing, encoding="ascii") as stream:
            children = [int(pid) for pid in stream.read().split()]
        if not children:
            return
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    sys.exit(supervise(int(sys.argv[1]), sys.argv[2:]))
