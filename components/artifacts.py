"""Artifacts between steps: digests, and folders that are complete or absent.

A step writes its folder in place, inside `commit`. An earlier manifest is removed first and the new
one is written last, by the atomic rename of one file. Readers go by the manifest alone, so a folder
without one does not count, whatever killed the step. No folder is renamed: `/gcs` is a mount of a
bucket, which has no folders and refuses that (EMFILE with gcsfuse 3.11).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from quatrain.components.errors import ArtifactError


def sha256_of(path: Path | str) -> str:
    """Returns the sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_files(folder: Path) -> dict[str, str]:
    """Returns the sha256 of every file below a folder by its relative path, in path order."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): sha256_of(p) for p in files}


def canonical_json(value: Any) -> str:
    """Returns the canonical JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def json_bytes(value: Any) -> bytes:
    """Returns indented JSON, the form of every document in an artifact."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON by `write_whole`."""
    write_whole(path, json_bytes(value))


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that it is either whole or as it was before, and flushes it to the disk."""
    partial = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)  # once it is closed: a mount of a bucket renames no open file
    except BaseException:
        partial.unlink(missing_ok=True)  # a full disk is not to get fuller
        raise


def read_manifest(folder: Path | str, name: str, step: str) -> dict[str, Any]:
    """Reads the manifest of an artifact.

    Args:
        folder: The artifact.
        name: The name of its manifest, for example `manifest.json`.
        step: The step that writes it, for the error.

    Raises:
        ArtifactError: There is no readable manifest, so the step did not finish.
    """
    path = Path(folder) / name
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder} is not a complete artifact: {name} is absent or unreadable ({error}); "
            f"run the {step} step again"
        ) from error


@contextmanager
def commit(folder: Path | str, manifest: str) -> Iterator[Path]:
    """Yields an empty folder to write an artifact in; the block writes its manifest last.

    The files of an earlier or a killed attempt are removed first; if the block fails, its own files
    are removed too. Each time the manifest goes first, so a half-removed folder never counts.

    Args:
        folder: The artifact.
        manifest: The name of the file that makes the folder count, as `manifest.json`.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)  # without it, a mount may not show the objects below
    _remove_contents(target, manifest)
    try:
        yield target
    except BaseException:
        (target / manifest).unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)  # a worker may still write there
        raise


def _remove_contents(folder: Path, manifest: str) -> None:
    (folder / manifest).unlink(missing_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):  # files before their folder
        with suppress(FileNotFoundError):  # a bucket's folder may vanish with its last file
            path.rmdir() if path.is_dir() else path.unlink()
