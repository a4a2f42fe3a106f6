"""A small table in a bucket, and the job that `quatrain submit` would send for it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from quatrain.vertex.submission import JobRequest, prepare
from tests.vertex.machine import BUCKET, Machine

ROWS = 3000
ROOT = f"gs://{BUCKET}/root"
SOURCE = f"gs://{BUCKET}/tables/toys.csv"
IMAGE = "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32
CLOUD = {
    "project": "my-project",
    "location": "europe-west1",
    "root": ROOT,
    "image": IMAGE,
    "service_account": "trainer@my-project.iam.gserviceaccount.com",
}
SPEC: dict[str, Any] = {
    "name": "toys",
    "source": {"uri": SOURCE},
    "columns": {"id": "string", "size": "float", "colour": "string", "noise": "float"},
    "clean": {"derive": {"big": "size + length(colour) + noise > 8"}},
    "label": "big",
    "task": "binary",
    "split": {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2},
    "features": [
        {"name": "size", "from": "size", "transform": "standardize"},
        {"name": "colour", "from": "colour", "transform": "vocabulary"},
    ],
    "train": {"epochs": 4, "batch_size": 128, "learning_rate": 0.01},
    "evaluate": {"slices": ["colour"], "gate": {"auc": {"min": 0.8}}},
}


def rows(count: int = ROWS, seed: int = 7) -> bytes:
    """Returns a CSV whose last row is torn."""
    draw = random.Random(seed)  # noqa: S311 - test data
    lines = ["id,size,colour,noise"]
    for i in range(count):
        size, colour = draw.uniform(0, 10), draw.choice(["red", "green", "blue"])
        lines.append(f"t{i},{size:.3f},{colour},{draw.random():.3f}")
    return "\n".join([*lines, f"t{count},3.5\n"]).encode()


def submitted(
    machine: Machine, folder: Path, changes: Mapping[str, Any] | None = None, **request: Any
) -> Mapping[str, Any]:
    """Returns the job of the table as `quatrain submit` sends it; writes the table if need be."""
    if "tables/toys.csv" not in machine.storage.buckets[BUCKET].objects:
        machine.storage.put(SOURCE, rows())
    spec, cloud = folder / "toys.yaml", folder / "cloud.yaml"
    spec.write_text(yaml.safe_dump({**SPEC, **(changes or {})}, sort_keys=False))
    cloud.write_text(yaml.safe_dump(CLOUD, sort_keys=False))
    return prepare(JobRequest(spec, cloud, **request), folder).job
