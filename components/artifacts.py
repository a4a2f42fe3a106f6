"""Artifacts between steps: digests, and folders that are complete or absent.

A step writes into a temporary sibling folder and calls `commit`, which renames it. The manifest is
the last file written, so a folder without one is not there, whatever killed the step.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Returns the one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def json_bytes(value: Any) -> bytes:
    """Returns indented JSON, as every document of an artifact is written."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON; the file is whole or absent, and flushed to the disk."""
    partial = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    with open(partial, "wb") as file:
        file.write(json_bytes(value))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_manifest(folder: Path | str, name: str, made_by: str) -> dict[str, Any]:
    """Reads the manifest of an artifact.

    Args:
        folder: The artifact.
        name: Its manifest, for example `manifest.json`.
        made_by: The step that makes it, for the error.

    Raises:
        ArtifactError: There is no readable manifest: the step did not end.
    """
    path = Path(folder) / name
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder} is not a complete artifact: {name} is absent or unreadable ({error}); "
            f"run the {made_by} step again"
        ) from error


@contextmanager
def commit(folder: Path | str) -> Iterator[Path]:
    """Yields a temporary folder that becomes `folder` when the block ends without an error.

    Leftovers of a killed attempt at the same folder are removed first.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}.*.tmp"):
        shutil.rmtree(leftover)
    partial = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    former = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    if target.exists():  # renamed first: half removed, it could still have its manifest
        os.replace(target, former)
    os.replace(partial, target)
    shutil.rmtree(former, ignore_errors=True)
