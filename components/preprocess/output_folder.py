"""The folder that the step writes, and where it keeps what only itself reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from quatrain.components import folder, storage

MANIFEST = "manifest.json"
SPILL = ".spill"
"""The folder inside the artifact for the files that only the step itself reads."""


@dataclass(frozen=True)
class Folder(folder.Folder):
    """The folder of the examples, with the one of the files that only the step itself reads.

    Attributes:
        scratch_path: A folder on this machine for those files; empty: they go to a folder inside
            this one, which every worker can reach.
    """

    scratch_path: str = ""

    @property
    def scratch(self) -> Folder:
        """The folder of the files that only the step itself reads."""
        return Folder(self.scratch_path or self.path(SPILL))


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

    Files that only the step itself reads stay on a disk of this machine, unless the workers are
    elsewhere.

    Args:
        out: The artifact, a path or gs:// uri.
        remote: Whether the workers are on other machines.
    """
    with (
        folder.commit(out, MANIFEST) as target,
        TemporaryDirectory(prefix="quatrain-spill-") as scratch,
    ):
        storage.show_folder(target.path("rejected"))
        inside = remote or not storage.is_remote(target.uri)
        yield Folder(target.uri, "" if inside else scratch)
