"""Prints that a verb is still at work, where nothing else was printed for a while."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from quatrain.terminal.plain_text import PlainStream

FIRST_S, LONGEST_S = 10.0, 60.0
"""Seconds of silence before the first line, and the most between two later ones."""
POLL_S = 0.5


class Heartbeat:
    """Knows when a line is due.

    Args:
        verb: The name of the verb.
        streams: The streams of this process, in whose output nothing is due.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, verb: str, streams: Sequence[PlainStream], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._verb, self._streams, self._clock = verb, streams, clock
        self._began_s = self._last_s = clock()
        self._pause_s = FIRST_S

    def line(self) -> str:
        """Returns the line that is due now, or an empty text.

        Nothing is due where a console draws its own progress.
        """
        now_s = self._clock()
        spoken_s = max([self._last_s, *(stream.last_write_s for stream in self._streams)])
        if now_s - spoken_s < self._pause_s or any(s.is_drawn_on for s in self._streams):
            return ""
        self._last_s, self._pause_s = now_s, min(2 * self._pause_s, LONGEST_S)
        return f"{self._verb}: still at work after {now_s - self._began_s:.0f} s"


_BEATING = threading.Lock()
"""Held by the one heartbeat of this process: that of the command line covers its functions."""


@contextmanager
def heartbeat(verb: str, stream: TextIO) -> Iterator[None]:
    """Prints the lines of a heartbeat while the context lasts; inside another one, none.

    Args:
        verb: The name of the verb.
        stream: Receives the lines.
    """
    if not _BEATING.acquire(blocking=False):
        yield
        return
    streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, PlainStream)]
    beat, ended = Heartbeat(verb, streams), threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_S):
            if line := beat.line():
                try:
                    print(line, file=stream, flush=True)
                except OSError:  # the reader has gone
                    return

    thread = threading.Thread(target=watch, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _BEATING.release()
