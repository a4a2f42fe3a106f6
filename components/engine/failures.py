"""What stops a run from outside, as a sentence: a disk without space, a worker that was killed."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from quatrain.components.errors import ArtifactError, QuatrainError

_FULL = {
    errno.ENOSPC: "no space is left",
    errno.EDQUOT: "a quota is used up",
    errno.EFBIG: "a file may not be larger",
}
_LOST = ("Channel closed prematurely",)
"""What Beam says of a worker process that ended without a word."""


@contextmanager
def told(out: str) -> Iterator[None]:
    """Raises what stops a run from outside as one sentence; anything else stays as it is.

    A worker's error comes through Beam as the text of a traceback, so the text is looked at too.

    Raises:
        ArtifactError: The folder `out` cannot be written.
        QuatrainError: A worker was lost.
    """
    try:
        yield
    except QuatrainError:
        raise
    except Exception as error:
        if why := _full(error):
            raise ArtifactError(
                f"{out} cannot be written: {why}; nothing was left there. Make room, or name "
                f"another place as the root"
            ) from error
        if any(words in str(error) for words in _LOST):
            raise QuatrainError(
                "a worker process of Beam was lost; it was killed from outside, most often for "
                "want of memory. Nothing was written; run again, with fewer workers if it recurs"
            ) from error
        raise


def _full(error: Exception) -> str | None:
    if isinstance(error, OSError) and error.errno in _FULL:
        return _FULL[error.errno]
    found = re.search(r"OSError: \[Errno (\d+)\]", str(error))
    return _FULL.get(int(found[1])) if found else None
