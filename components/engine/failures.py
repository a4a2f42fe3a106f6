"""Explains faults from outside in a sentence: a full disk, a worker process that was killed."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from quatrain.components.engine.beam_seam import LOST_WORKER
from quatrain.components.errors import ArtifactError, QuatrainError

_NO_SPACE = {
    errno.ENOSPC: "no space is left",
    errno.EDQUOT: "a quota is used up",
    errno.EFBIG: "a file may not be larger",
}


@contextmanager
def explain_faults(out: str) -> Iterator[None]:
    """Turns a fault from outside into an error of one sentence; any other exception stays as it is.

    A worker's error reaches the driver as the text of its traceback, so the number of the system's
    error is looked up there. The error cannot travel as data, as others do: on a full disk there is
    nowhere to write it.

    Args:
        out: The folder that the run writes to.

    Raises:
        ArtifactError: The folder cannot be written.
        QuatrainError: A worker process was lost.
    """
    try:
        yield
    except QuatrainError:
        raise
    except Exception as error:
        if reason := _no_space(error):
            raise ArtifactError(
                f"{out} cannot be written: {reason}; nothing was left there. Make room, or name "
                f"another place as the root"
            ) from error
        if LOST_WORKER in str(error):
            raise QuatrainError(
                "a worker process of Beam was lost; it was killed from outside, most often for "
                "want of memory. Nothing was written; run again, with fewer workers if it recurs"
            ) from error
        raise


def _no_space(error: Exception) -> str | None:
    """Returns why nothing more can be written, or None for any other error."""
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return _NO_SPACE[error.errno]
    number = re.search(r"OSError: \[Errno (\d+)\]", str(error))
    return _NO_SPACE.get(int(number[1])) if number else None
