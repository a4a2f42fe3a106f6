"""SIGTERM, by which a service ends a process, as an exception in the main thread.

The first process of a container has no default action for it: without a handler, a cancelled step
would go on, and with it the job that it started elsewhere.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
GRACE_S = 20.0
"""How long a stopped process may take to close what it has open. A container is killed after 30 s
(https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination)."""


class _Interrupt:
    """A handler that raises KeyboardInterrupt.

    Attributes:
        grace_s: See `termination_as_interrupt`.
        number: The signal that came, which the exception may no longer tell: Beam adds words to it.
    """

    def __init__(self, grace_s: float | None) -> None:
        self.grace_s = grace_s
        self.number = signal.SIGINT

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.number = signal.Signals(number)
        if self.grace_s is not None:
            last = threading.Timer(self.grace_s, os._exit, [128 + number])
            last.daemon = True
            last.start()
        raise KeyboardInterrupt(self.number.name)


@contextmanager
def termination_as_interrupt(grace_s: float | None = None) -> Iterator[_Interrupt]:
    """Raises KeyboardInterrupt with the signal's name when this process is to end.

    Does nothing inside another such block, nor in another thread than the main one, which may have
    no handlers. A signal that is ignored stays so, as `nohup` wants it.

    Args:
        grace_s: The seconds after which the process ends even if the exception has not ended it:
            Python may drop an exception, and code of a library may wait for a thread.
    """
    interrupt = _Interrupt(grace_s)
    with _handling(interrupt, _Interrupt):
        yield interrupt


@contextmanager
def termination_delayed() -> Iterator[None]:
    """Lets a signal to end wait for the end of a short block that must not be cut in two."""
    received: list[int] = []

    def delay(number: int, _: FrameType | None) -> None:
        received.append(number)

    try:
        with _handling(delay):
            yield
    finally:
        if received:
            signal.raise_signal(received[0])


@contextmanager
def exit_on_termination() -> Iterator[None]:
    """Ends this process with 128 + n at signal n, when the block has closed what it has open."""
    with termination_as_interrupt(GRACE_S) as interrupt:
        try:
            yield
        except KeyboardInterrupt:
            print(f"stopped by {interrupt.number.name}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(128 + interrupt.number)  # at once: Python would wait for a library's threads


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None], *but: type) -> Iterator[None]:
    """Handles the signals until the block ends, where they are neither ignored nor handled so."""
    former: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        former = {
            number: signal.signal(number, handler)
            for number, present in handlers.items()
            if present is not signal.SIG_IGN and not isinstance(present, but)
        }
    try:
        yield
    finally:
        for number, present in former.items():
            signal.signal(number, present)
