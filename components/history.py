"""What later runs of a model know of its earlier ones: statistics at `<root>/<name>/statistics/`.

A run that passed its gate leaves them there, a copy, so that they outlive its artifacts, and where
its model is. The place follows from the pipeline's parameters, which a schedule never changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quatrain.components.artifacts import read_manifest, write_json
from quatrain.components.errors import ArtifactError

VERSION = 1
ROLES = {
    "previous": "the last successful run",
    "champion": "the champion's training data",
}
"""Whose statistics are kept, by the name of the file. A passed gate is both, so far."""


def keep(
    root: str,
    name: str,
    run: str,
    made: str,
    examples: Path | str,
    model: str = "",
    split: Mapping[str, Any] | None = None,
    metadata: str = "",
) -> None:
    """Keeps the statistics of a run that passed its gate, each file whole or as it was.

    Args:
        root: The folder of all runs, local or gs://; if empty, nothing is kept.
        name: The model's name.
        run: The run.
        made: When it was made.
        examples: The artifact of its preprocess step.
        model: That of its train step, by its path or uri.
        split: What decided the split of its rows.
        metadata: The sha256 of its model's metadata.json, which has those of the other files.
    """
    if not root:
        return
    statistics = read_statistics(examples)
    record = {
        "version": VERSION,
        "run": run,
        "made": made,
        "model": model,
        "metadata": metadata,
        "split": dict(split or {}),
        "statistics": {key: statistics[key] for key in ("version", "kept")},
    }
    folder = folder_of(root, name)
    folder.mkdir(parents=True, exist_ok=True)
    for role in ROLES:
        write_json(folder / f"{role}.json", record)


def read_statistics(examples: Path | str) -> dict[str, Any]:
    """Reads the statistics of complete examples.

    Raises:
        ArtifactError: The examples are not complete.
    """
    read_manifest(examples, "manifest.json", "preprocess")
    return read_manifest(examples, "statistics.json", "preprocess")


def recall(root: str, name: str) -> dict[str, dict[str, Any]]:
    """Returns what was kept, by role; nothing before the first run has passed its gate.

    Raises:
        ArtifactError: A file is there and cannot be read.
    """
    found = {}
    for role in ROLES if root else ():
        path = folder_of(root, name) / f"{role}.json"
        try:
            found[role] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{path}, the statistics of {ROLES[role]}, cannot be read ({error}); remove it to "
                f"compare with nothing"
            ) from error
    return found


def folder_of(root: str, name: str) -> Path:
    """Returns where a model's statistics are kept; `gs://` is reached through its mount."""
    return Path(root.replace("gs://", "/gcs/", 1), name, "statistics")
