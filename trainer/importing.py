"""Imports large libraries without the garbage collector, and without what only notebooks need."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

NOTEBOOK = ("IPython", "matplotlib", "pandas", "sklearn")
"""Libraries that TensorFlow, LightGBM and Beam import if they are installed, for frames, plots and
notebooks. With the first and the third, TensorFlow's import costs 1.4 times as much CPU time,
Beam's 2.2 times and LightGBM's 6 times."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Pauses the collector, and exempts all objects that exist at the end from it.

    The objects of TensorFlow's import live as long as the process. Searching them for garbage takes
    time, during the import and whenever a graph is traced, and finds nothing. When the process
    ends, the interpreter would free them one by one, which takes a second of CPU time. Only DuckDB
    needs that: its extension reports every object of it that is left as a leak.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if "duckdb" in sys.modules:
            atexit.register(gc.unfreeze)
        if enabled:
            gc.enable()


@contextmanager
def without(names: tuple[str, ...]) -> Iterator[None]:
    """Lets libraries look as if they were not installed, unless they are imported already."""
    finder = _Hiding(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def unnamed() -> tuple[str, ...]:
    """Returns the libraries of NOTEBOOK that no other module of this package has in its text.

    A model of one's own may pass data frames to Keras, which takes none if it was imported without
    their library.
    """
    here = Path(__file__)
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in here.parent.rglob("*.py")
        if path != here
    ]
    return tuple(name for name in NOTEBOOK if not any(name in text for text in texts))


class _Hiding(MetaPathFinder, Loader):
    """Finds libraries first, and fails to load them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns a spec that cannot be loaded for a library, and None for any other module."""
        return ModuleSpec(fullname, self) if fullname in self._names else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Raises ModuleNotFoundError."""
        raise ModuleNotFoundError(
            f"No module named {spec.name!r}: it is hidden where only notebooks need it, by "
            f"{__name__}",
            name=spec.name,
        )

    def exec_module(self, module: ModuleType) -> None:
        """Is never called."""
