"""lineage.json: what a run was made from, and which models it was compared with.

It names contents, not places: files by their versions, everything else by its sha256. So it stays
true of a copy in another bucket, and a repeated evaluation writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quatrain.components.artifacts import json_bytes
from quatrain.components.evaluate.this_run import ThisRun
from quatrain.components.specification.schema import ModelSpec

VERSION = 1
LINEAGE = "lineage.json"


def lineage_of(
    spec: ModelSpec,
    this_run: ThisRun,
    manifest: Mapping[str, Any],
    metadata: Mapping[str, Any],
    digest: str,
    rivals: Mapping[str, Mapping[str, Any] | None],
) -> bytes:
    """Returns lineage.json.

    Args:
        spec: The spec.
        this_run: What names the run, its files and its images.
        manifest: manifest.json of the examples.
        metadata: metadata.json of the model.
        digest: The sha256 of that file.
        rivals: The champion and the best earlier model, each with its `run`, the sha256 of its
            `metadata` and why it was not compared; None without one.
    """
    files = manifest.get("source") or {}  # that of an earlier version does not list them
    document = {
        "version": VERSION,
        "name": spec.name,
        "run": this_run.id,
        "created": this_run.created,
        "source": {
            "digest": this_run.digest,
            "window": manifest.get("window"),
            "files": [{"uri": uri, "version": version} for uri, version in files.items()],
        },
        "spec": spec.sha256,
        "examples": {
            "transform": metadata["examples"]["transform"],
            "statistics": manifest["files"]["statistics.json"],
            "rows": manifest["rows"],
        },
        "trainer": metadata["package_sha256"],
        "pipeline": this_run.pipeline,
        "image": {"steps": this_run.image, "training": this_run.train_image},
        "model": digest,
        **rivals,
    }
    return json_bytes(document)
