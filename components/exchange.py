"""Replaces a file only if it is still as it was read, so that of two writers at once one loses.

In a bucket that is a precondition on the object's generation
(https://cloud.google.com/storage/docs/request-preconditions); on a disk, a lock beside the file.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quatrain.components.artifacts import write_whole
from quatrain.components.buckets import open_client
from quatrain.components.errors import ArtifactError
from quatrain.components.login import check_login
from quatrain.components.storage import is_remote, read_file
from quatrain.components.wording import first_line
from quatrain.trainer.uris import named


class Overtaken(ArtifactError):
    """Someone else has replaced the file since it was read; it is as they left it."""


@dataclass(frozen=True)
class Content:
    """A file as it was read.

    Attributes:
        data: Its bytes; None if there is no such file.
        generation: The generation of an object of a bucket; 0 if there is none, or on a disk.
    """

    data: bytes | None
    generation: int = 0


def read_content(uri: str) -> Content:
    """Reads a file that is to be replaced.

    Raises:
        ArtifactError: The bucket refuses.
        OSError: The file cannot be read.
    """
    if is_remote(uri):
        return _read_object(uri)
    try:
        return Content(read_file(uri))
    except FileNotFoundError:
        return Content(None)


def replace_content(uri: str, data: bytes, former: Content) -> None:
    """Writes a file whole if it is as it was read.

    Args:
        uri: A path or uri.
        data: The new bytes.
        former: What `read_content` returned.

    Raises:
        Overtaken: It is not as it was read.
        ArtifactError: The bucket refuses.
    """
    if is_remote(uri):
        _replace_object(uri, data, former)
        return
    path = Path(uri)
    with named(uri), _locked(path):
        if read_content(uri) != former:
            raise Overtaken(f"{uri} was replaced by another process meanwhile; try again")
        write_whole(path, data)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file, which ends with its process; the lock's own file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read_object(uri: str) -> Content:
    from google.api_core.exceptions import NotFound, PreconditionFailed

    with _refusals(uri, "read"):
        blob = _blob(uri)
        for _ in range(4):
            try:
                blob.reload()
                generation = int(blob.generation)
                return Content(blob.download_as_bytes(if_generation_match=generation), generation)
            except NotFound:
                return Content(None)
            except PreconditionFailed:  # replaced between the two calls
                continue
    raise ArtifactError(f"{uri} is being replaced all the time; try again when others are done")


def _replace_object(uri: str, data: bytes, former: Content) -> None:
    from google.api_core.exceptions import PreconditionFailed

    with _refusals(uri, "replaced"):
        try:
            _blob(uri).upload_from_string(
                data, "application/json", if_generation_match=former.generation
            )
        except PreconditionFailed as error:
            # A first try may have succeeded although its answer was lost.
            if _read_object(uri).data != data:
                raise Overtaken(
                    f"{uri} was replaced by another process meanwhile; try again"
                ) from error


def _blob(uri: str) -> Any:
    check_login(uri)
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return open_client("").bucket(bucket).blob(name)


@contextmanager
def _refusals(uri: str, what: str) -> Iterator[None]:
    """Raises what a bucket refuses as an error with the uri."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise ArtifactError(
            f"{uri} cannot be {what}: {first_line(error)}; check the account's rights on the bucket"
        ) from error
