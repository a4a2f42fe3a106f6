"""Turns a table into a trained, evaluated and served TensorFlow model."""

from __future__ import annotations

from typing import Any

__all__ = ["__version__"]


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used (PEP 562), so that `import quatrain` is quick."""
    if name == "__version__":
        from importlib.metadata import version

        return version("quatrain")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
