"""What TensorFlow's libraries write to stderr while a model is loaded, which nobody can act on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def native_noise_hidden() -> Iterator[None]:
    """Hides what this process writes to the file descriptor of stderr.

    The libraries write past Python and past TF_CPP_MIN_LOG_LEVEL.
    """
    with contextlib.suppress(AttributeError, OSError, ValueError):  # no stderr, or a closed one
        sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # nobody hears it
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
