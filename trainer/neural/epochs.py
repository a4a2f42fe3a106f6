"""Epoch after epoch: bounds, early stopping, checkpoints, logs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from ..checkpoints import Begun, Checkpoints, Epoch, Progress, Stopped
from ..cluster import Cluster
from ..job import Job
from ..rows import Window
from ..settings import Hyperparameters, TrainerError
from .steps import Loop

log = logging.getLogger("trainer")
STEPS_A_CALL = 100  # a call costs 0.3 ms beside its steps; the clock is read between calls
SAVE_EVERY_S = 60.0  # within an epoch: what a machine that is taken away costs at most


@dataclass(frozen=True)
class Run:
    """A training that ended.

    Attributes:
        progress: The history.
        stopped: What ended it.
        best_weights: The averaged weights of the best epoch.
    """

    progress: Progress
    stopped: Stopped
    best_weights: list[np.ndarray]


def run_epochs(
    loop: Loop,
    cluster: Cluster,
    job: Job,
    checkpoints: Checkpoints,
    loss_unit: float,
    report: Callable[[Epoch], None],
) -> Run:
    """Trains until a bound is met or the validation loss stops falling.

    Args:
        loop: The network and its steps; it goes on from the newest checkpoint.
        cluster: Decides alike on every worker.
        job: The settings and the folder of the logs.
        checkpoints: Of this job.
        loss_unit: Turns the loop's losses into the label's units.
        report: Called by the chief after each epoch.

    Raises:
        TrainerError: The loss is not a number, the checkpoint is another job's, or the workers
            do not see the same one.
    """
    progress, best = _resume(loop, cluster, checkpoints)
    clock = _Clock(cluster, progress.seconds)

    def save(progress: Progress) -> None:
        checkpoints.save(progress, {**loop.state(), "best": best})

    stopped = _stopped(job.settings, progress, clock.seconds())
    with _summaries(job.outputs.logs, cluster) as summaries:
        while stopped is None:
            started, first, steps_before = clock.seconds(), progress.begun.steps, progress.steps
            loss = _run_epoch(loop, job.settings, progress, clock, save) * loss_unit
            validation_loss = loop.evaluate() * loss_unit
            step, seconds = int(loop.step.numpy()), clock.seconds()
            epoch = Epoch(progress.epochs + 1, step, loss, validation_loss, round(seconds, 3))
            progress = progress.add(epoch)
            if progress.since_best == 0:
                best = loop.average.get_weights()
            stopped = _stopped(job.settings, progress, seconds)
            if step - steps_before == loop.steps:
                save(progress)
            if cluster.is_chief:
                # Workers agree on seconds in float32, by which a short epoch may take none.
                _log(summaries, epoch, (step - steps_before - first) / max(seconds - started, 1e-3))
                report(epoch)
    log.info("stopped by %s; the best epoch is %d", stopped, progress.best_epoch)
    return Run(progress, stopped, best)


def _resume(
    loop: Loop, cluster: Cluster, checkpoints: Checkpoints
) -> tuple[Progress, list[np.ndarray]]:
    found = checkpoints.restore()
    progress = found[0] if found else Progress()
    at = (progress.epochs, progress.begun.steps)
    if any(cluster.agree(number) != number for number in at):
        raise TrainerError(
            f"this worker would go on after epoch {at[0]} and {at[1]} steps, another one "
            f"elsewhere; all workers must see the same checkpoints, now {checkpoints.folder}"
        )
    if found is None:
        return Progress(), loop.average.get_weights()
    arrays = found[1]
    loop.load(arrays)
    log.info("resumed after epoch %d, step %d", progress.epochs, int(loop.step.numpy()))
    return progress, list(arrays["best"])


def _run_epoch(
    loop: Loop,
    settings: Hyperparameters,
    progress: Progress,
    clock: _Clock,
    save: Callable[[Progress], None],
) -> float:
    """Runs an epoch, or what is left of it and the bounds allow; returns the mean train loss."""
    begun, saved, allowed = progress.begun, clock.seconds(), loop.steps
    now = saved
    if settings.max_steps:
        allowed = min(allowed, settings.max_steps - progress.steps)
    for window, first, steps in _calls(loop.windows(progress.epochs), begun.steps, allowed):
        loss, weight = loop.run_steps(window, first, steps)
        now = clock.seconds()
        begun = Begun(begun.steps + steps, begun.loss + loss, begun.weight + weight, now)
        if _is_late(settings, now):
            break
        if begun.steps < allowed and now - saved >= SAVE_EVERY_S:
            save(replace(progress, begun=begun))
            saved = now
    return begun.loss / begun.weight


def _calls(
    windows: Iterator[Window], first: int, allowed: int
) -> Iterator[tuple[Window, int, int]]:
    """Yields window, first step in it and number of steps of each call.

    Args:
        windows: Of an epoch.
        first: How many steps of the epoch are done.
        allowed: How many may be done in all.
    """
    before = 0  # steps of the windows before
    for window in windows:
        end = min(window.steps, allowed - before)
        for start in range(max(first - before, 0), end, STEPS_A_CALL):
            yield window, start, min(STEPS_A_CALL, end - start)
        before += window.steps
        if before >= allowed:
            return


def _is_late(settings: Hyperparameters, seconds: float) -> bool:
    return 0 < settings.max_seconds <= seconds


def _stopped(settings: Hyperparameters, progress: Progress, seconds: float) -> Stopped | None:
    if 0 < settings.max_steps <= progress.steps:
        return "max_steps"
    if progress.epochs and _is_late(settings, seconds):
        return "max_seconds"
    if progress.epochs and progress.since_best >= settings.patience:
        return "early_stopping"
    return "epochs" if progress.epochs >= settings.epochs else None


class _Clock:
    """Training time since the start, earlier processes included; the same on every worker."""

    def __init__(self, cluster: Cluster, seconds_before: float) -> None:
        self._cluster = cluster
        self._start = time.monotonic() - seconds_before

    def seconds(self) -> float:
        return self._cluster.agree(time.monotonic() - self._start)


@contextmanager
def _summaries(folder: str, cluster: Cluster) -> Iterator[tf.summary.SummaryWriter]:
    """Yields TensorBoard's writer; a worker that is not the chief writes nowhere."""
    if not cluster.is_chief:
        yield tf.summary.create_noop_writer()
        return
    writer = tf.summary.create_file_writer(folder)
    try:
        yield writer
    finally:
        writer.close()


def _log(summaries: tf.summary.SummaryWriter, epoch: Epoch, steps_per_second: float) -> None:
    values = {
        "loss": epoch.loss,
        "validation_loss": epoch.validation_loss,
        "steps_per_second": steps_per_second,
    }
    # `tf.summary.scalar` needs the tensorboard package; what it would write does not.
    kind = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR")
    kind.plugin_data.plugin_name = "scalars"
    with summaries.as_default(step=epoch.step):
        for name, value in values.items():
            tf.summary.write(name, tf.constant(value, tf.float32), metadata=kind)
    summaries.flush()
    log.info(
        "epoch %d: loss %.5f, validation loss %.5f, step %d, %.0f steps/s, %.1f s",
        epoch.epoch,
        epoch.loss,
        epoch.validation_loss,
        epoch.step,
        steps_per_second,
        epoch.seconds,
    )
