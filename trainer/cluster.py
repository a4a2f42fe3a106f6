"""Where the replicas run: a strategy by name, and who writes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import tensorflow as tf

from .settings import STRATEGIES, TrainerError


@dataclass(frozen=True, eq=False)
class Cluster:
    """A distribution strategy and this process's part in it.

    Attributes:
        strategy: Where the replicas run.
        is_chief: Whether this process writes checkpoints, logs and the model.
    """

    strategy: tf.distribute.Strategy
    is_chief: bool

    def agree(self, value: float) -> float:
        """Returns the mean of a number over the replicas, so that all decide alike."""
        if self.strategy.num_replicas_in_sync == 1:
            return value
        each = self.strategy.run(lambda: tf.constant(value, tf.float32))
        return float(self.strategy.reduce(tf.distribute.ReduceOp.MEAN, each, axis=None))


def check_gpus(wanted: int) -> None:
    """Checks that TensorFlow sees the GPUs that the tier pays for; it would train without a word.

    Raises:
        TrainerError: It sees fewer.
    """
    if not wanted:
        return
    found = len(tf.config.list_physical_devices("GPU"))
    if found < wanted:
        raise TrainerError(
            f"the tier has {wanted} GPUs a machine, and TensorFlow {tf.__version__} sees {found}; "
            f"build the image with --build-arg EXTRA=cuda, which adds CUDA, or take a tier of CPUs"
        )


def join_cluster(strategy: str) -> Cluster:
    """Makes the strategy of the tier; TF_CONFIG says who the other workers are.

    Args:
        strategy: one_device, mirrored, multi_worker or tpu.

    Raises:
        TrainerError: The strategy is unknown, or TF_CONFIG names workers it would not use.
    """
    if strategy not in STRATEGIES:
        raise TrainerError(f"unknown strategy {strategy!r}; choose one of {sorted(STRATEGIES)}")
    task, workers = _task()
    if workers > 1 and strategy != "multi_worker":
        raise TrainerError(
            f"TF_CONFIG names {workers} workers, but --strategy={strategy} would train "
            f"{workers} models; use --strategy=multi_worker"
        )
    if strategy == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return Cluster(tf.distribute.MirroredStrategy([d.name for d in devices]), True)
    if strategy == "multi_worker":
        return Cluster(tf.distribute.MultiWorkerMirroredStrategy(), _is_chief(task))
    if strategy == "tpu":
        return Cluster(_tpu(), True)
    return Cluster(tf.distribute.get_strategy(), True)


def _task() -> tuple[dict[str, object], int]:
    """Returns this process's task in TF_CONFIG, and how many workers there are."""
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    workers = sum(len(v) for k, v in config.get("cluster", {}).items() if k in ("chief", "worker"))
    task = config.get("task", {})
    has_chief = "chief" in config.get("cluster", {})
    return {**task, "has_chief": has_chief}, workers


def _is_chief(task: dict[str, object]) -> bool:
    if task["has_chief"]:
        return task.get("type") == "chief"
    return int(str(task.get("index", 0))) == 0


def _tpu() -> tf.distribute.Strategy:
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
