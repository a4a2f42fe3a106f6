"""The job of one run of the trainer. Imports no TensorFlow, since arguments are parsed first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .settings import Hyperparameters, TrainerError


@dataclass(frozen=True)
class Outputs:
    """The folders that a run writes, local or `gs://`.

    Attributes:
        model: The SavedModel, with metadata.json.
        checkpoints: One file an epoch.
        logs: TensorBoard's events.
    """

    model: str
    checkpoints: str
    logs: str

    @classmethod
    def of(cls, job_dir: str | None, environment: Mapping[str, str]) -> Outputs:
        """Returns the folders of Vertex's variables, or else folders below `job_dir`.

        Raises:
            TrainerError: Neither names a folder for some output.
        """
        uris = {
            folder: environment.get(variable)
            or (f"{job_dir.rstrip('/')}/{folder}" if job_dir else "")
            for folder, variable in VARIABLES.items()
        }
        absent = [VARIABLES[folder] for folder, uri in uris.items() if not uri]
        if absent:
            raise TrainerError(f"nothing says where outputs go: give --job-dir, or set {absent}")
        return cls(**{folder: uri.rstrip("/") for folder, uri in uris.items()})


def n_replicas(environment: Mapping[str, str]) -> int:
    """Returns how many replicas train together, by TF_CONFIG; the evaluator is none of them."""
    cluster = json.loads(environment.get("TF_CONFIG") or "{}").get("cluster", {})
    return max(1, sum(len(cluster.get(role, ())) for role in ("chief", "worker")))


VARIABLES = {
    "model": "AIP_MODEL_DIR",
    "checkpoints": "AIP_CHECKPOINT_DIR",
    "logs": "AIP_TENSORBOARD_LOG_DIR",
}


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        examples: The folder that preprocessing committed, local or `gs://`.
        outputs: Where the model, the checkpoints and the logs go.
        settings: The hyperparameters.
        strategy: one_device, mirrored, multi_worker or tpu.
        gpus: Number of GPUs that this machine must have; 0: it needs none.
        tpus: Number of TPU cores that this machine must have; 0: it needs none.
        package_sha256: Digest of this package, for the record; empty: it runs from a folder.
        tier: Name of the tier, for the record.
    """

    examples: str
    outputs: Outputs
    settings: Hyperparameters
    strategy: str = "one_device"
    gpus: int = 0
    tpus: int = 0
    package_sha256: str = ""
    tier: str = ""
