"""The folder that the step writes: on this machine, or below a gs:// uri for workers elsewhere.

Either folder is written in place, and counts once its manifest, the last file, is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from quatrain.components import storage
from quatrain.components.artifacts import commit, write_whole

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Folder:
    """A folder by its path or gs:// uri; names are relative to it."""

    uri: str

    def path(self, name: str) -> str:
        """Returns the path or uri of a file."""
        return f"{self.uri}/{name}"

    def create(self, name: str) -> pa.NativeFile:
        """Opens a new file for writing; an object of a bucket appears once it is complete."""
        return storage.create_stream(self.path(name))

    def write(self, name: str, data: bytes) -> str:
        """Writes a file, which is whole or absent, and returns its sha256."""
        if storage.is_remote(self.uri):
            with self.create(name) as file:
                file.write(data)
        else:
            write_whole(Path(self.path(name)), data)
        return hashlib.sha256(data).hexdigest()

    def open(self, name: str) -> pa.NativeFile:
        """Opens a file for reading, from its start."""
        return storage.open_stream(self.path(name))

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file, or None if there is no such file."""
        if not storage.exists(self.path(name)):
            return None
        with self.open(name) as file:
            return bytes(file.read())

    def clear(self, name: str = "") -> None:
        """Removes all files of a subfolder, or of the folder itself, the manifest first."""
        folder = self.path(name).rstrip("/")
        storage.remove_file(f"{folder}/{MANIFEST}")
        storage.remove_contents(folder)


class HashingStream:
    """A stream for pyarrow that computes the sha256 of what is written to it."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream, self._digest = stream, hashlib.sha256()
        self.closed = False

    def write(self, data: Any) -> int:
        """Writes bytes or a buffer."""
        self._digest.update(data)
        return int(self._stream.write(data))

    def flush(self) -> None:
        """Does nothing: the stream is flushed when its owner closes it."""

    def close(self) -> None:
        """Does nothing: the owner of the stream closes it."""

    @property
    def sha256(self) -> str:
        """The sha256 of all bytes written so far, in hexadecimal."""
        return self._digest.hexdigest()


@contextmanager
def attempt(out: str, *, remote: bool) -> Iterator[Folder]:
    """Yields the folder to write the artifact `out` to, and removes it after an error.

    Args:
        out: The artifact. A gs:// uri is written through its mount (/gcs), unless `remote`.
        remote: Whether the workers are on other machines, which have no mount.
    """
    if not (remote and storage.is_remote(out)):
        with commit(storage.mounted(out), MANIFEST) as folder:
            yield Folder(str(folder))
        return
    target = Folder(out.rstrip("/"))
    target.clear()
    try:
        yield target
    except BaseException:
        target.clear()
        raise
