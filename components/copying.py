"""Copies files, within a bucket without their bytes passing through this machine."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from quatrain.components.buckets import open_client
from quatrain.components.errors import ArtifactError
from quatrain.components.login import check_login
from quatrain.components.storage import PATIENCE_S, create_stream, is_remote, open_stream
from quatrain.components.uris import SCHEME
from quatrain.components.wording import first_line
from quatrain.trainer.uris import named

CHUNK_BYTES = 1 << 20
"""How much of a file is in memory at a time."""


def copy_file(source: str, target: str, sha256: str = "") -> None:
    """Copies a file.

    Within a bucket, the service copies it (objects.rewrite of Cloud Storage's JSON API), by one
    call unless it is of many gigabytes. Any other copy is a stream of bytes, whose digest is
    checked. A file of this machine is never linked: a linked copy would change with its source. It
    takes its name once it is whole, so a copy onto an earlier one never shortens that.

    Args:
        source: A path or gs:// uri.
        target: Where the copy goes.
        sha256: The digest of the bytes; if empty, it is not checked.

    Raises:
        FileNotFoundError: There is no such file.
        ArtifactError: It has another digest, or the bucket refuses.
        OSError: It cannot be read or written.
    """
    if is_remote(source) and is_remote(target) and _bucket(source) == _bucket(target):
        _rewrite(source, target)
        return
    digest = hashlib.sha256()
    with open_stream(source) as stream, _created(target) as copy:
        while chunk := _next(source, stream):
            digest.update(chunk)
            copy.write(chunk)
        if sha256 and digest.hexdigest() != sha256:
            raise ArtifactError(
                f"{source} is not the file that was exported: its sha256 is "
                f"{digest.hexdigest()[:12]}..., its manifest says {sha256[:12]}...; start another "
                f"run"
            )


def _next(source: str, stream: Any) -> bytes:
    with named(source):
        return bytes(stream.read(CHUNK_BYTES))


@contextmanager
def _created(target: str) -> Iterator[Any]:
    """Opens a copy for writing; on this machine, one that failed leaves what was there before."""
    if is_remote(target):
        with named(target), create_stream(target) as stream:
            yield stream
        return
    path = Path(target)
    partial = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with named(target), create_stream(str(partial)) as stream:
            yield stream
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def show_folders(uris: Iterable[str]) -> None:
    """Makes the objects that stand for folders of a bucket; folders of this machine need none.

    A mount without --implicit-dirs shows no other folders. The mount's own objects are the same:
    empty, with the name of the folder and a slash
    (https://cloud.google.com/storage/docs/cloud-storage-fuse/file-system#implicit-directories).

    Raises:
        ArtifactError: The bucket refuses.
    """
    from google.api_core.exceptions import PreconditionFailed

    for uri in uris:
        if is_remote(uri):
            with _refusals(uri, "made"):
                try:
                    _blob(f"{uri.rstrip('/')}/").upload_from_string(b"", if_generation_match=0)
                except PreconditionFailed:  # it is there
                    continue


def _rewrite(source: str, target: str) -> None:
    from google.api_core.exceptions import NotFound
    from google.cloud.storage.retry import DEFAULT_RETRY

    retry, token = DEFAULT_RETRY.with_timeout(PATIENCE_S), None
    with _refusals(source, f"copied to {target}"):
        try:
            while True:  # the token of a copy that takes longer than one call
                token, _, _ = _blob(target).rewrite(_blob(source), token=token, retry=retry)
                if token is None:
                    return
        except NotFound as error:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", source) from error


def _bucket(uri: str) -> str:
    return uri.removeprefix(SCHEME).partition("/")[0]


def _blob(uri: str) -> Any:
    check_login(uri)
    bucket, _, name = uri.removeprefix(SCHEME).partition("/")
    return open_client("").bucket(bucket).blob(name)


@contextmanager
def _refusals(uri: str, what: str) -> Iterator[None]:
    """Raises what a bucket refuses as an error with the uri."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError) as error:
        raise ArtifactError(
            f"{uri} cannot be {what}: {first_line(error)}; check the account's rights on the bucket"
        ) from error
