"""What every call from Python has in common: whose modules it imports, and what it raises.

Of the standard library, the head of this file imports only what is built in: a user's folder may
hold a functools.py.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    from quatrain.components.errors import QuatrainError

    P = ParamSpec("P")
    T = TypeVar("T")


class _UsersModulesLast:
    """A context in which the folder of a script or notebook is the last that is searched.

    Python searches it first, so a queue.py or a yaml.py there would be imported in place of the
    module that Quatrain or a library means. It stays on the path, since a folder may hold all that
    a program needs, libraries too.
    """

    def __init__(self) -> None:
        self._lock, self._depth = allocate_lock(), 0
        self._moved: list[str] = []

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1 and not sys.flags.safe_path:
                self._moved = [e for e in sys.path[:1] if not _is_of_python(e)]
                del sys.path[: len(self._moved)]
                sys.path += self._moved

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if not self._depth and self._moved and sys.path[-1:] == self._moved:
                del sys.path[-1]
                sys.path[:0] = self._moved
            self._moved = self._moved if self._depth else []


def _is_of_python(entry: str) -> bool:
    """Whether an entry of the path is a folder of this Python's own modules or libraries."""
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix)
    return any(entry.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes)


USERS_MODULES_LAST = _UsersModulesLast()


def public(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a public function: its imports are safe, and its errors are those of Quatrain."""
    from functools import wraps

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with USERS_MODULES_LAST:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                known = as_ours(error)
                if known is None or known is error:
                    raise  # a bug keeps its traceback
                raise known from error

    return call


def as_ours(error: Exception) -> QuatrainError | None:
    """Returns an error as one of Quatrain's, whose message is a sentence; None for a bug."""
    from quatrain.components.errors import QuatrainError
    from quatrain.trainer.settings import TrainerError

    if isinstance(error, QuatrainError):
        return error
    if isinstance(error, TrainerError):
        return QuatrainError(str(error))
    if isinstance(error, OSError) and error.filename:
        return QuatrainError(
            f"{error.filename} cannot be used: {error.strerror}; check its name and your rights"
        )
    return None
