"""The record of a model's earlier runs, for its later ones: `<root>/<name>/statistics/`.

A run that passed its gate leaves the place of its model there, and a copy of its statistics, so
that they outlive its artifacts. The folder follows from the pipeline's parameters, which a schedule
never changes. In a bucket it is read and written through the API: a mount shows what another run
has replaced for a minute more, or fails to open it (ESTALE).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quatrain.components.artifacts import json_bytes
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import read_manifest
from quatrain.components.storage import read_file, write_file

VERSION = 1
ROLES = {
    "previous": "the last successful run",
    "champion": "the champion's training data",
}
"""The roles of an earlier run, each the name of its file. A run that passes its gate takes both."""


def record_run(
    root: str,
    name: str,
    run: str,
    created: str,
    examples: Path | str,
    model: str = "",
    split: Mapping[str, Any] | None = None,
    metadata: str = "",
) -> None:
    """Records a run that passed its gate; each file is replaced as a whole.

    Args:
        root: The folder of all runs, local or gs://; if empty, nothing is recorded.
        name: The name of the model.
        run: The name of the run.
        created: When the run was created.
        examples: The artifact of its preprocess step.
        model: The artifact of its train step, by its path or uri.
        split: The settings that decided the split of its rows.
        metadata: The sha256 of its model's metadata.json, which lists those of the other files.
    """
    if not root:
        return
    statistics = read_statistics(examples)
    record = {
        "version": VERSION,
        "run": run,
        "made": created,
        "model": model,
        "metadata": metadata,
        "split": dict(split or {}),
        "statistics": {key: statistics[key] for key in ("version", "kept")},
    }
    for role in ROLES:
        write_file(f"{folder_of(root, name)}/{role}.json", json_bytes(record))


def read_statistics(examples: Path | str) -> dict[str, Any]:
    """Reads the statistics of complete examples.

    Raises:
        ArtifactError: The examples are not complete.
    """
    read_manifest(examples, "manifest.json", "preprocess")
    return read_manifest(examples, "statistics.json", "preprocess")


def earlier_runs(root: str, name: str) -> dict[str, dict[str, Any]]:
    """Returns the recorded runs by role; empty before the first run has passed its gate.

    Raises:
        ArtifactError: A record exists but cannot be read.
    """
    runs = {}
    for role in ROLES if root else ():
        uri = f"{folder_of(root, name)}/{role}.json"
        try:
            runs[role] = json.loads(read_file(uri))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{uri}, the statistics of {ROLES[role]}, cannot be read ({error}); remove it to "
                f"compare with nothing"
            ) from error
    return runs


def folder_of(root: str, name: str) -> str:
    """Returns the folder of a model's records."""
    return f"{root.rstrip('/')}/{name}/statistics"
