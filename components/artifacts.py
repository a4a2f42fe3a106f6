"""The files of artifacts: their digests, their JSON, and how a local one is written whole."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from quatrain.trainer.uris import named

CACHE = ".cache"
"""The folder below the folder of all runs with what later runs take instead of making it again. No
model has such a name. It can be removed at any time."""
CACHED = "cached"
"""The key in an artifact's manifest of what was taken from the cache, each with the run that made
it: `{"proof": "20261202T081500-123456"}`."""


def sha256_of(path: Path | str) -> str:
    """Returns the sha256 of a file, in hexadecimal."""
    with named(str(path)), open(path, "rb") as file:
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


ANOTHER_RUN = "start another run"
"""The way out where the folder of a run is damaged or lacks what was asked for."""


def run_again(step: str) -> str:
    """Returns the way out if a step's artifact is incomplete; on Vertex AI preprocess is cached."""
    cached = ", by `quatrain submit --no-cache` on Vertex AI" if step == "preprocess" else ""
    return f"run the {step} step again{cached}"
