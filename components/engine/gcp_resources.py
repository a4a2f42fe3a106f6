"""The file by which a step links to its job, in the form of google-cloud-pipeline-components."""

from __future__ import annotations

import json
from pathlib import Path


def write_resources(path: str, job: str = "") -> None:
    """Writes the `gcp_resources` of a step; nothing if the path is empty.

    Args:
        path: The file.
        job: The name of a job of Dataflow; empty without one.
    """
    if not path:
        return
    uri = f"https://dataflow.googleapis.com/v1b3/{job}"
    resources = [{"resourceType": "DataflowJob", "resourceUri": uri}] if job else []
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps({"resources": resources}), encoding="utf-8")
