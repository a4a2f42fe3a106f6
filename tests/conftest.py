"""The order of the files, and no garbage collector while they are imported."""

import atexit
import gc

import pytest

gc.disable()  # every process imports TensorFlow and Beam, of which nothing is garbage: 1 CPU-s


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files that run a whole chain first, so that no process waits for one at the end."""
    whole = {item.path for item in items if item.get_closest_marker("whole")}
    items.sort(key=lambda item: item.path not in whole)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # else DuckDB tells of leaks when the process ends
