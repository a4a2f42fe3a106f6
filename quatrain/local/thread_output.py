"""Sends to a log what one thread prints; the threads of a notebook or a server print on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class _ByThread:
    """A text stream that is a log in the thread that made it, and another stream elsewhere."""

    def __init__(self, log: TextIO, others: TextIO) -> None:
        self._log: TextIO | None = log
        self._others, self._thread = others, threading.get_ident()

    def write(self, text: str) -> int:
        """Writes a text and returns its length."""
        return self._stream().write(text)

    def end(self) -> None:
        """Sends all later texts to the other stream, for who has kept this one."""
        self._log = None

    def _stream(self) -> TextIO:
        is_own = threading.get_ident() == self._thread
        return self._log if is_own and self._log is not None else self._others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream(), name)


@contextmanager
def thread_output_to(log: TextIO) -> Iterator[None]:
    """Sends what this thread prints to a log while the context lasts."""
    former: tuple[Any, Any] = sys.stdout, sys.stderr
    streams: tuple[Any, Any] = _ByThread(log, former[0]), _ByThread(log, former[1])
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        for stream in streams:
            stream.end()
        sys.stdout, sys.stderr = former
