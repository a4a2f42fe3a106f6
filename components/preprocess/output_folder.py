"""The folder that the step writes: on this machine, or below a gs:// uri for workers elsewhere.

Either folder is written in place, and counts once its manifest, the last file, is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from quatrain.components import storage
from quatrain.components.artifacts import commit, write_whole

MANIFEST = "manifest.json"
SPILL = ".spill"
"""The folder inside the artifact for the files that only the step itself reads."""


@dataclass(frozen=True)
class Folder:
    """A folder by its path or gs:// uri; names are relative to it.

    Attributes:
        uri: The folder.
        scratch_path: A folder on this machine for the files that only the step itself reads; empty:
            they go to a folder inside this one, which every worker can reach.
    """

    uri: str
    scratch_path: str = ""

    @property
    def scratch(self) -> Folder:
        """The folder of the files that only the step itself reads."""
        return Folder(self.scratch_path or self.path(SPILL))

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
            path = Path(self.path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
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

    def clear(self) -> None:
        """Removes all files of the folder, the manifest first."""
        storage.remove_file(self.path(MANIFEST))
        storage.remove_contents(self.uri)


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

    A bucket is written and read through its API rather than its mount, where a file costs three
    calls, and six if it is renamed; and its objects appear only when they are whole. Files that
    only the step itself reads stay on this machine's disk, unless the workers are elsewhere.

    Args:
        out: The artifact, a path or gs:// uri.
        remote: Whether the workers are on other machines.
    """
    if not storage.is_remote(out):
        with commit(out, MANIFEST) as path:
            yield Folder(str(path))
        return
    with TemporaryDirectory(prefix="quatrain-spill-") as scratch:
        target = Folder(out.rstrip("/"), "" if remote else scratch)
        target.clear()
        storage.show_folder(target.path("rejected"))  # and the one that it is in
        try:
            yield target
        except BaseException:
            target.clear()
            raise
