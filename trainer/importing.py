"""Imports of large libraries without the garbage collector."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Pauses the collector, and keeps it from what was made meanwhile.

    What TensorFlow's import makes stays to the end of the process, so looking through it for
    garbage, then and whenever a graph is traced, finds nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # else C++ extensions tell of leaks when the process ends
        if enabled:
            gc.enable()
