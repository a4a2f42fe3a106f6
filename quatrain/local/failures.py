"""Finds the reason of a failed step in its log."""

from __future__ import annotations

import re
import signal
from pathlib import Path

_TRACEBACK = "Traceback (most recent call last):"
_RAISED = re.compile(r"(?:[\w.]+\.)?(?P<name>[A-Za-z_]\w*)(?:: (?P<message>.*))?$")
_TAIL_BYTES = 256 << 10


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
