"""Trains epoch after epoch: bounds, early stopping, checkpoints, logs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf

from ..checkpoints import Checkpoints, Epoch, PartialEpoch, Progress, Stopped
from ..cluster import Cluster
from ..job import Job
from ..rows import Rows, Window
from ..settings import Hyperparameters, TrainerError
from ..storage import write_file
from ..uris import in_bucket
from .steps import Loop

log = logging.getLogger("trainer")
STEPS_A_CALL = 100
"""Steps in one graph call: a call takes 0.3 ms besides its steps, and the clock is read between."""
GAIN = 0.0005
"""The share by which the validation loss must fall for the training to go on: a loss that falls
more slowly may do so for hundreds of epochs."""
SAVE_EVERY_S = 60.0
"""Seconds between checkpoints within an epoch, and in a bucket between any two: the most that a
preempted machine loses. There a checkpoint costs half a second, on a disk some milliseconds, so
that every epoch gets one."""


@dataclass(frozen=True)
class TrainedWeights:
    """The result of a training.

    Attributes:
        progress: The history.
        stopped: What ended the training.
        best_weights: The averaged weights after the best epoch, an array for each variable.
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
    save_every_s: float = SAVE_EVERY_S,
) -> TrainedWeights:
    """Trains until a bound is reached or the validation loss stops falling.

    Args:
        loop: The network and its steps; it resumes from the newest checkpoint.
        cluster: The workers, which must all stop at the same step.
        job: The settings, and the folder of the logs.
        checkpoints: The checkpoints of this job.
        loss_unit: Factor from the loop's losses to the label's unit.
        report: Called by the chief after each epoch.
        save_every_s: Seconds between checkpoints within an epoch; in a bucket between any two.

    Raises:
        TrainerError: The loss is not a number, the checkpoint belongs to another job, or the
            workers see different checkpoints.
    """
    progress, best = _resume(loop, cluster, checkpoints)
    clock = _Clock(cluster, progress.seconds)
    saved_at = clock.seconds()

    def save(progress: Progress) -> None:
        nonlocal saved_at
        checkpoints.save(progress, {**loop.state(), "best": best})
        saved_at = clock.seconds()

    def is_due(now: float) -> bool:
        return now - saved_at >= save_every_s

    stopped = _stopped(job.settings, progress, clock.seconds())
    with _summaries(job.outputs.logs, cluster) as (writer, publish):
        while stopped is None:
            started, first, steps_before = clock.seconds(), progress.begun.steps, progress.steps
            loss = _run_epoch(loop, job.settings, progress, clock, save, is_due)
            loss *= loss_unit
            validation_loss = loop.evaluate() * loss_unit
            step, seconds = int(loop.step.numpy()), clock.seconds()
            epoch = Epoch(progress.epochs + 1, step, loss, validation_loss, round(seconds, 3))
            progress = progress.add(epoch)
            if progress.since_best == 0:
                best = loop.average.get_weights()
            stopped = _stopped(job.settings, progress, seconds)
            # An epoch that a bound cut short is not saved: with a higher bound, the job goes on
            # from its last full epoch or from within this one.
            worth = stopped is not None or not checkpoints.is_remote or is_due(seconds)
            if worth and step - steps_before == loop.steps:
                save(progress)
            if cluster.is_chief:
                # Workers agree on seconds in float32, so a short epoch may seem to take none.
                _log(writer, epoch, (step - steps_before - first) / max(seconds - started, 1e-3))
                if worth and stopped is None:
                    publish()
                report(epoch)
    log.info("stopped by %s; the best epoch is %d", stopped, progress.best_epoch)
    return TrainedWeights(progress, stopped, best)


def run_again(loop: Loop, cluster: Cluster, rows: Rows, epochs: int, seconds: float) -> bool:
    """Trains from the start on other rows for so many epochs, without validation or checkpoints.

    A job that is killed meanwhile trains them again, and gets the same weights.

    Args:
        loop: The network and its steps; its average then holds the weights.
        cluster: The workers.
        rows: The rows to learn from.
        epochs: Number of epochs.
        seconds: The time that this may take, the same on every worker; infinite: any.

    Returns:
        Whether the time was enough.

    Raises:
        TrainerError: The loss is not a number.
    """
    if seconds <= 0:
        return False
    loop.restart(rows)
    started, is_bounded = time.monotonic(), seconds < math.inf
    for epoch in range(epochs):
        for window, first, steps in _calls(loop.windows(epoch), 0, loop.steps):
            loop.run_steps(window, first, steps)
            if is_bounded and cluster.agree(time.monotonic() - started) >= seconds:
                return False
    log.info(
        "refitted to %d rows for %d epochs, %.1f s",
        *(rows.rows, epochs, time.monotonic() - started),
    )
    return True


def _resume(
    loop: Loop, cluster: Cluster, checkpoints: Checkpoints
) -> tuple[Progress, list[np.ndarray]]:
    """Loads the newest checkpoint, if there is one; returns the progress and the best weights."""
    checkpoint = checkpoints.restore()
    progress = checkpoint[0] if checkpoint else Progress()
    position = (progress.epochs, progress.begun.steps)
    if any(cluster.agree(number) != number for number in position):
        raise TrainerError(
            f"this worker would go on after epoch {position[0]} and {position[1]} steps, another "
            f"one elsewhere; all workers must see the same checkpoints, now {checkpoints.folder}"
        )
    if checkpoint is None:
        return Progress(), loop.average.get_weights()
    arrays = checkpoint[1]
    loop.load(arrays)
    log.info("resumed after epoch %d, step %d", progress.epochs, int(loop.step.numpy()))
    return progress, list(arrays["best"])


def _run_epoch(
    loop: Loop,
    settings: Hyperparameters,
    progress: Progress,
    clock: _Clock,
    save: Callable[[Progress], None],
    is_due: Callable[[float], bool],
) -> float:
    """Runs the rest of an epoch, as far as the bounds allow; returns the mean train loss."""
    begun, allowed = progress.begun, loop.steps
    if settings.max_steps:
        allowed = min(allowed, settings.max_steps - progress.steps)
    for window, first, steps in _calls(loop.windows(progress.epochs), begun.steps, allowed):
        loss, weight = loop.run_steps(window, first, steps)
        now = clock.seconds()
        begun = PartialEpoch(begun.steps + steps, begun.loss + loss, begun.weight + weight, now)
        if _is_late(settings, now):
            break
        if begun.steps < allowed and is_due(now):
            save(replace(progress, begun=begun))
    return begun.loss / begun.weight


def _calls(
    windows: Iterator[Window], first: int, allowed: int
) -> Iterator[tuple[Window, int, int]]:
    """Yields the window, its first step and the number of steps of each graph call.

    Args:
        windows: The windows of an epoch.
        first: Steps of the epoch that are done.
        allowed: Steps of the epoch that may be done in all.
    """
    before = 0  # steps of the windows before this one
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
    """Returns what ends the training now, or None if it goes on."""
    if 0 < settings.max_steps <= progress.steps:
        return "max_steps"
    if progress.epochs and _is_late(settings, seconds):
        return "max_seconds"
    if progress.epochs and progress.since_gain(GAIN) >= settings.patience:
        return "early_stopping"
    return "epochs" if progress.epochs >= settings.epochs else None


class _Clock:
    """Training time since the start, the same on every worker.

    The time of earlier processes of the job counts too: a restart does not extend `max_seconds`.
    """

    def __init__(self, cluster: Cluster, seconds_before: float) -> None:
        self._cluster = cluster
        self._start = time.monotonic() - seconds_before

    def seconds(self) -> float:
        return self._cluster.agree(time.monotonic() - self._start)


@contextmanager
def _summaries(
    target: str, cluster: Cluster
) -> Iterator[tuple[tf.summary.SummaryWriter, Callable[[], None]]]:
    """Yields a writer for TensorBoard, and a function that makes what it wrote visible there.

    Only the chief's writer writes anything. To a bucket, TensorFlow uploads the whole file anew
    five times in four epochs, whatever `max_queue` and `flush_millis` are. So there it writes on
    this machine, and the file is uploaded at each checkpoint and at the end, however that comes.
    """
    if not cluster.is_chief:
        yield tf.summary.create_noop_writer(), lambda: None
        return
    with ExitStack() as stack:
        folder = target
        if in_bucket(target):
            folder = stack.enter_context(TemporaryDirectory(prefix="quatrain-logs-"))
        writer = tf.summary.create_file_writer(folder)

        def publish() -> None:
            writer.flush()
            for file in Path(folder).iterdir() if folder != target else ():
                write_file(target, file.name, file.read_bytes())

        stack.callback(writer.close)
        stack.callback(publish)  # before the writer is closed and the folder removed
        yield writer, publish


def _log(summaries: tf.summary.SummaryWriter, epoch: Epoch, steps_per_second: float) -> None:
    """Writes an epoch to TensorBoard's events and to the log."""
    values = {
        "loss": epoch.loss,
        "validation_loss": epoch.validation_loss,
        "steps_per_second": steps_per_second,
    }
    # This writes what `tf.summary.scalar` would, which needs the tensorboard package.
    kind = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR")
    kind.plugin_data.plugin_name = "scalars"
    with summaries.as_default(step=epoch.step):
        for name, value in values.items():
            tf.summary.write(name, tf.constant(value, tf.float32), metadata=kind)
    log.info(
        "epoch %d: loss %.5f, validation loss %.5f, step %d, %.0f steps/s, %.1f s",
        epoch.epoch,
        epoch.loss,
        epoch.validation_loss,
        epoch.step,
        steps_per_second,
        epoch.seconds,
    )
