"""The folder of an artifact, on this machine or in a bucket: complete or absent.

A step writes its folder in place, inside `commit`. An earlier manifest is removed first and the new
one is written last, at once. Readers go by the manifest alone, so a folder without one does not
count, whatever killed the step. No folder is renamed: a bucket has none, and its mount at `/gcs`
refuses that (EMFILE with gcsfuse 3.11).

A gs:// folder is written through the API of its bucket, not through the mount. There a new file
takes a list, a stat and an upload, and three calls more to be renamed; and it appears as far as it
was written when its writer is killed. An object appears whole, by two calls.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quatrain.components import storage
from quatrain.components.artifacts import json_bytes, run_again
from quatrain.components.errors import ArtifactError
from quatrain.components.wording import first_line
from quatrain.trainer.failure import Failure
from quatrain.trainer.uris import name_outside

if TYPE_CHECKING:
    import pyarrow as pa


MISSHAPEN = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError),
    *(ZeroDivisionError, RecursionError),
)
"""What a document of another shape than ours raises where it is read."""


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

    def write(self, name: str, data: bytes, content_type: str = "") -> str:
        """Writes a file, which is whole or absent, and returns its sha256."""
        storage.write_file(self.path(name), data, content_type)
        return hashlib.sha256(data).hexdigest()

    def write_json(self, name: str, value: Any) -> None:
        """Writes indented JSON, whole or not at all."""
        self.write(name, json_bytes(value))

    def open(self, name: str) -> pa.NativeFile:
        """Opens a file for reading, from its start."""
        return storage.open_stream(self.path(name))

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file, or None if there is no such file."""
        try:
            return storage.read_file(self.path(name))
        except FileNotFoundError:
            return None


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
def commit(out: Path | str, manifest: str) -> Iterator[Folder]:
    """Yields an empty folder to write an artifact in; the block writes its manifest last.

    The files of an earlier or a killed attempt are removed first; if the block fails, its own files
    are removed too. Each time the manifest goes first, so a half-removed folder never counts.

    Args:
        out: The artifact, by its path or gs:// uri.
        manifest: The name of the file that makes the folder count, as `manifest.json`.
    """
    folder = Folder(str(out).rstrip("/"))
    remote = storage.is_remote(folder.uri)
    if not remote:  # without it, a mount may not show the objects below
        Path(folder.uri).mkdir(parents=True, exist_ok=True)
    storage.remove_contents(folder.uri, first=manifest)
    storage.show_folder(folder.uri)
    try:
        yield folder
    except BaseException:
        if remote:
            storage.remove_contents(folder.uri, first=manifest)
        else:
            Path(folder.uri, manifest).unlink(missing_ok=True)
            shutil.rmtree(folder.uri, ignore_errors=True)  # a worker may still write there
        raise


@contextmanager
def in_shape(uri: Path | str, way_out: str) -> Iterator[None]:
    """Reports a document whose values do not have the shape that the block takes.

    Args:
        uri: The document.
        way_out: What to do about it.

    Raises:
        ArtifactError: The block met a value of another shape.
    """
    try:
        yield
    except MISSHAPEN as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        raise ArtifactError(f"{uri} is cut short or altered ({why}); {way_out}") from error


def read_manifest(folder: Path | str, name: str, step: str, sha256: str = "") -> dict[str, Any]:
    """Reads the manifest of an artifact, or another of its documents.

    The names of its `files` are checked: each stays inside the folder.

    Args:
        folder: The artifact, by its path or gs:// uri.
        name: The name of the document, for example `manifest.json`.
        step: The step that writes it, for the error.
        sha256: What the manifest says of another document; it is checked.

    Raises:
        ArtifactError: There is no readable document, so the step did not finish; or another one.
    """
    uri = f"{folder}/{name}"
    try:
        data = storage.read_file(uri)
        if sha256 and (digest := hashlib.sha256(data).hexdigest()) != sha256:
            raise ArtifactError(
                f"{uri} is not the file that was written: its sha256 is {digest[:12]}..., the "
                f"manifest says {sha256[:12]}...; {run_again(step)}"
            )
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ValueError(f"it is {type(document).__name__}, not an object")
        files = document.get("files")
        if outside := name_outside(files if isinstance(files, dict) else ()):
            raise ValueError(f"it names {outside!r}, outside of the folder")
        return document
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{folder} is not a complete artifact: {name} is absent; {run_again(step)}"
        ) from error
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{uri} is cut short or altered ({error}); {run_again(step)}"
        ) from error
