"""The replicas of a training: a distribution strategy by name, and which process is the chief."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass

import tensorflow as tf

from .settings import STRATEGIES, TrainerError


@dataclass(frozen=True, eq=False)
class Cluster:
    """A distribution strategy, and the role of this process in it.

    Attributes:
        strategy: TensorFlow's strategy.
        is_chief: Whether this process writes checkpoints, logs and the model.
        has_workers: Whether there are other processes.
        compiles: Whether XLA compiles the step of a replica, as for a TPU.
    """

    strategy: tf.distribute.Strategy
    is_chief: bool
    has_workers: bool = False
    compiles: bool = False

    def agree(self, value: float) -> float:
        """Returns the mean of a number over all workers, so that all take the same decisions.

        The mean is rounded to float32, unless there is only one worker.
        """
        if not self.has_workers:
            return value
        # float32 holds whole numbers up to 2^24, more than an epoch has steps.
        values = self.strategy.run(lambda: tf.constant(value, tf.float32))
        return float(self.strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None))


def check_gpus(expected: int) -> None:
    """Checks that TensorFlow sees the GPUs of the tier; without them it would train on the CPU.

    Args:
        expected: Number of GPUs that the tier gives this machine; 0: no check.

    Raises:
        TrainerError: TensorFlow sees fewer.
    """
    if not expected:
        return
    visible = len(tf.config.list_physical_devices("GPU"))
    if visible < expected:
        raise TrainerError(
            f"the tier has {expected} GPUs a machine, and TensorFlow {tf.__version__} sees "
            f"{visible}; build the image with --build-arg EXTRA=cuda, which adds CUDA, or take a "
            "tier of CPUs"
        )


def check_tpus(expected: int) -> None:
    """Checks that TensorFlow sees the TPU cores of the tier: those that are paid for.

    Args:
        expected: Number of TPU cores that the tier gives this machine; 0: no check.

    Raises:
        TrainerError: TensorFlow sees no TPU, or another number of cores.
    """
    if not expected:
        return
    _tpu_system()
    visible = len(tf.config.list_logical_devices("TPU"))
    if visible != expected:
        raise TrainerError(
            f"the tier has {expected} TPU cores a machine, and TensorFlow {tf.__version__} sees "
            f"{visible}; run the job again, and if that does not help, take another tier"
        )


def join_cluster(strategy: str) -> Cluster:
    """Creates the strategy of the tier; TF_CONFIG names the other workers.

    Args:
        strategy: one_device, mirrored, multi_worker or tpu.

    Raises:
        TrainerError: The strategy is unknown, or TF_CONFIG names workers that it would not use,
            or there is no TPU for tpu.
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
        together = tf.distribute.MultiWorkerMirroredStrategy()
        return Cluster(together, _is_chief(task), has_workers=workers > 1)
    if strategy == "tpu":
        return Cluster(tf.distribute.TPUStrategy(_tpu_system()), True, compiles=True)
    return Cluster(tf.distribute.get_strategy(), True)


def _task() -> tuple[dict[str, object], int]:
    """Returns the task of this process in TF_CONFIG, and the number of workers."""
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    workers = sum(len(v) for k, v in config.get("cluster", {}).items() if k in ("chief", "worker"))
    task = config.get("task", {})
    has_chief = "chief" in config.get("cluster", {})
    return {**task, "has_chief": has_chief}, workers


def _is_chief(task: dict[str, object]) -> bool:
    """Returns whether a task is the chief; in a cluster without one, worker 0 takes its place."""
    if task["has_chief"]:
        return task.get("type") == "chief"
    return int(str(task.get("index", 0))) == 0


@functools.cache  # a second start would take the first one's variables away
def _tpu_system() -> tf.distribute.cluster_resolver.TPUClusterResolver:
    """Starts the TPU of this machine.

    Raises:
        TrainerError: TensorFlow finds none.
    """
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
    tf.config.experimental_connect_to_cluster(resolver)
    try:
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except tf.errors.NotFoundError as error:
        raise TrainerError(
            f"TensorFlow {tf.__version__} finds no TPU on this machine; take a TPU machine and the "
            "image that --build-arg EXTRA=tpu builds, which has TensorFlow for TPUs, or a tier "
            "without TPUs"
        ) from error
    return resolver
