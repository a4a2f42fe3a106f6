"""Turns a table into a trained, evaluated and served TensorFlow model."""

__all__ = ["__version__"]
__version__: str

# This file imports nothing: for `python -m quatrain`, it runs before __main__.py has made the path
# safe, and a user's folder may hold a typing.py.


def __getattr__(name: str) -> object:
    """Loads a public name when it is first used (PEP 562), so that `import quatrain` is quick."""
    if name == "__version__":
        from importlib.metadata import version

        return version("quatrain")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
