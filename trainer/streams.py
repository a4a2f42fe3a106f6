"""Keeps stderr for errors: a cloud's log takes every line of it for one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stderr_for_errors() -> Iterator[None]:
    """Sends to stdout what this process and its children write to stderr while the context lasts.

    Vertex AI logs stdout as INFO and stderr as ERROR. TensorFlow writes its hints about the machine
    to stderr, from C++, so an alert on errors would fire in every good run. The traceback of an
    exception that leaves the context is written after it, and so to stderr.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(1, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
