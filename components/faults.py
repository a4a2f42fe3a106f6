"""Ends a process in one sentence at a fault that its user can mend; a bug keeps its traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from quatrain.components.errors import QuatrainError
from quatrain.trainer.failure import BROKEN, Failure
from quatrain.trainer.uris import by_uri


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Ends the process with status 1 and `error: SENTENCE`, where it would end in a traceback.

    A path below the mount is printed as the uri of its object, which other machines know.
    """
    try:
        yield
    except Exception as error:
        sentence = sentence_of(error)
        if not sentence:
            raise
        sys.stdout.flush()
        sys.exit(f"error: {sentence}")


def sentence_of(error: Exception) -> str:
    """Returns the sentence of an error, or an empty text for a bug."""
    if isinstance(error, QuatrainError):
        return by_uri(str(error))
    failure = Failure.of(error)
    return "" if failure.exit_code == BROKEN else str(failure)
