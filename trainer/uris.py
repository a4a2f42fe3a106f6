"""The names of files and objects: local paths, gs:// uris, and paths below the mount of buckets."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

BUCKET = "gs://"
MOUNT = "/gcs/"
"""Where Vertex AI mounts every bucket: a file there costs as many calls as one below gs://."""


@contextmanager
def named(uri: str) -> Iterator[None]:
    """Gives an error of the system the name of its file, which reads and Arrow leave out.

    Raises:
        OSError: Its number says why, as errno.EACCES for an object that may not be read.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        # Google's C++ client wraps the server's message in a line of its own names.
        message = re.search(r"last message of (.*?)(?: error_info=|$)", str(error))
        why = message[1] if message else os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno or errno.EIO, why, uri) from error


def by_uri(text: str) -> str:
    """Returns a text in which paths below the mount are the uris of their objects."""
    return re.sub(rf"(?<![\w/.-]){MOUNT}", BUCKET, text)


def in_bucket(folder: str) -> bool:
    """Whether a folder is in a bucket, where a call takes 50 to 100 ms."""
    return "://" in folder or folder.startswith(MOUNT)


def name_outside(names: Iterable[str]) -> str:
    """Returns the first name that leads out of the folder it is joined to; empty if none does.

    A manifest is only as trustworthy as the folder it lies in, so its names are checked before a
    file is read or written by them.
    """
    paths = ((name, PurePosixPath(name)) for name in names)
    return next((n for n, path in paths if path.is_absolute() or ".." in path.parts), "")
