"""Runs one command and leaves no process of it behind, however this process or its parent ends.

    python -I -S supervisor.py PARENT_PID TEMPORARY PEAK COMMAND...

A step starts a shell, the shell a Python, and Python may start more processes. The supervisor
stands between them and the command line. When the parent ends (even by SIGKILL) or sends a signal
to stop, the supervisor ends the command's process group, gently first, and then every other
descendant, and removes the command's temporary folder. It exits with the command's code (128 + n
after signal n), and writes the largest resident set of a descendant, in the unit of ru_maxrss, to
the file descriptor PEAK. It needs only the standard library and starts in 20 ms.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time

GRACE_S = 5.0
"""The time between SIGTERM and SIGKILL, in which a step ends what it has started."""

_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WATCHED = {*_STOP, signal.SIGCHLD, signal.SIGALRM}
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def supervise(parent: int, command: list[str]) -> int:
    """Runs the command until it or the parent ends, and returns its exit code."""
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
    """On Linux, makes orphaned descendants our children, and the parent's end a signal."""
    if sys.platform == "linux":
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _reap(child: int) -> int | None:
    """Collects every process that has ended, and returns the child's wait status if it has."""
    status_of_child = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status_of_child
        if pid == 0:
            return status_of_child
        if pid == child:
            status_of_child = status


def _kill_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (
        ProcessLookupError,
        PermissionError,
    ):  # the group is empty (macOS: the latter)
        return


def _kill_descendants() -> None:
    """Kills descendants outside the group, one generation after another, until no child is left."""
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
    peak_fd = int(sys.argv[3])
    os.set_inheritable(peak_fd, False)
    exit_code = supervise(int(sys.argv[1]), sys.argv[4:])
    os.write(peak_fd, str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss).encode())
    shutil.rmtree(sys.argv[2], ignore_errors=True)
    sys.exit(exit_code)
