"""The folder that the step writes: on this machine, or below a gs:// uri for workers elsewhere.

Both are written in place, and count once their manifest, the last file, is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from quatrain.components.artifacts import commit, write_whole
from quatrain.components.storage import open_filesystem

MANIFEST = "manifest.json"
_REMOTE = "gs://"


@dataclass(frozen=True)
class Folder:
    """A folder by its path or gs:// uri; names are relative to it."""

    uri: str

    def path(self, name: str) -> str:
        """Returns the path or uri of a file."""
        return f"{self.uri}/{name}"

    @contextmanager
    def create(self, name: str) -> Iterator[pa.NativeFile]:
        """Opens a file to be written from its start; an object is there once it is whole."""
        filesystem, path = _of(self.path(name))
        if not self.uri.startswith(_REMOTE):
            filesystem.create_dir(path.rpartition("/")[0])
        with filesystem.open_output_stream(path, compression=None) as stream:
            yield stream

    def write(self, name: str, data: bytes) -> str:
        """Writes a file, which is whole or absent, and returns its sha256."""
        if self.uri.startswith(_REMOTE):
            with self.create(name) as file:
                file.write(data)
        else:
            write_whole(Path(self.path(name)), data)
        return hashlib.sha256(data).hexdigest()

    @contextmanager
    def open(self, name: str) -> Iterator[pa.NativeFile]:
        """Opens a file to be read from its start."""
        filesystem, path = _of(self.path(name))
        with filesystem.open_input_stream(path, compression=None) as file:
            yield file

    def read(self, name: str) -> bytes | None:
        """Returns what a file holds, or None when there is none."""
        filesystem, path = _of(self.path(name))
        if filesystem.get_file_info(path).type == pafs.FileType.NotFound:
            return None
        with self.open(name) as file:
            return bytes(file.read())

    def clear(self, name: str = "") -> None:
        """Removes all files below a folder in it, or below itself, its manifest first."""
        filesystem, path = _of(self.path(name).rstrip("/"))
        with suppress(FileNotFoundError):  # the rest goes in no order, many objects at once
            filesystem.delete_file(f"{path}/{MANIFEST}")
        filesystem.delete_dir_contents(path, missing_dir_ok=True)


class Digested:
    """A stream that knows the sha256 of what went through it; pyarrow writes to it."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream, self._digest = stream, hashlib.sha256()
        self.closed = False

    def write(self, data: Any) -> int:
        """Writes bytes or a buffer."""
        self._digest.update(data)
        return int(self._stream.write(data))

    def flush(self) -> None:
        """Nothing: the stream is closed when it is whole."""

    def close(self) -> None:
        """Nothing: its owner closes the stream."""

    @property
    def sha256(self) -> str:
        """The sha256 of what was written, in hexadecimal."""
        return self._digest.hexdigest()


@contextmanager
def attempt(out: str, *, remote: bool) -> Iterator[Folder]:
    """Yields the folder that an attempt at the artifact `out` writes.

    Args:
        out: The artifact; a gs:// uri is reached through its mount (/gcs) unless `remote`.
        remote: Whether the workers are on other machines, which have no mount.
    """
    if not (remote and out.startswith(_REMOTE)):
        with commit(out.replace(_REMOTE, "/gcs/", 1), MANIFEST) as folder:
            yield Folder(str(folder))
        return
    target = Folder(out.rstrip("/"))
    target.clear()
    try:
        yield target
    except BaseException:
        target.clear()
        raise


@cache
def _bucket(root: str) -> pafs.FileSystem:
    return open_filesystem(root)[0]


def _of(uri: str) -> tuple[pafs.FileSystem, str]:
    """Returns the file system of a path or uri, made once a process, and the path in it."""
    if not uri.startswith(_REMOTE):
        return _bucket("/"), uri
    path = uri.removeprefix(_REMOTE)
    return _bucket(_REMOTE + path.partition("/")[0]), path
