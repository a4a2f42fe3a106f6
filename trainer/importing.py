"""Imports large libraries without the garbage collector."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Pauses the collector, and exempts all objects that exist at the end from it.

    The objects of TensorFlow's import live as long as the process. Searching them for garbage takes
    time, during the import and whenever a graph is traced, and finds nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # else C++ extensions report leaks when the process ends
        if enabled:
            gc.enable()
