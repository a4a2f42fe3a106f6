"""Checkpoints: a killed training resumes from one and gets the same weights, bit for bit.

A file holds the arrays by name (network, average, optimizer, best weights) and the progress as
JSON. It does not depend on the strategy: 1 replica can resume where 4 were stopped.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from . import storage
from .settings import TrainerError
from .uris import in_bucket, named

log = logging.getLogger("trainer")
Stopped = Literal["epochs", "early_stopping", "max_steps", "max_seconds"]
"""What ended a training: a bound of the settings, or a validation loss that stopped falling."""


@dataclass(frozen=True)
class Epoch:
    """One line of the history.

    Attributes:
        epoch: Number of the epoch, from 1 up.
        step: Steps since the start, at the end of the epoch.
        loss: Weighted mean train loss over the epoch, with dropout.
        validation_loss: Weighted mean loss of the averaged weights on the validation split.
        seconds: Training time since the start.
    """

    epoch: int
    step: int
    loss: float
    validation_loss: float
    seconds: float


@dataclass(frozen=True)
class PartialEpoch:
    """The completed steps of an unfinished epoch.

    The order of the rows follows from the seed and the number of the epoch, so it needs no record.

    Attributes:
        steps: Number of completed steps.
        loss: Weighted sum of the losses of their rows.
        weight: Sum of the weights of their rows.
        seconds: Training time since the start; 0 before the first step.
    """

    steps: int = 0
    loss: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """The progress of a training.

    Attributes:
        history: The finished epochs.
        best_epoch: The epoch with the lowest validation loss; 0 before the first.
        begun: The epoch that is under way, with 0 steps before it starts.
    """

    history: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    begun: PartialEpoch = PartialEpoch()

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    @property
    def steps(self) -> int:
        """Steps of the finished epochs."""
        return self.history[-1].step if self.history else 0

    @property
    def seconds(self) -> float:
        """Training time so far, the unfinished epoch included."""
        return self.begun.seconds or (self.history[-1].seconds if self.history else 0.0)

    @property
    def since_best(self) -> int:
        """Epochs since the best one."""
        return self.epochs - self.best_epoch

    def since_gain(self, share: float) -> int:
        """Returns the epochs since the loss last fell by a share, in one epoch or over several."""
        reached, last = np.inf, 0
        for epoch in self.history:
            if epoch.validation_loss < (1.0 - share) * reached:
                reached, last = epoch.validation_loss, epoch.epoch
        return self.epochs - last

    @property
    def best_loss(self) -> float:
        """The lowest validation loss; infinite before the first epoch."""
        return self.history[self.best_epoch - 1].validation_loss if self.best_epoch else np.inf

    def add(self, epoch: Epoch) -> Progress:
        """Returns the progress with one more epoch."""
        better = epoch.validation_loss < self.best_loss
        best = epoch.epoch if better else self.best_epoch
        return Progress((*self.history, epoch), best)


Arrays = Mapping[str, Sequence[np.ndarray]]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one job in one folder.

    Attributes:
        folder: The folder, local or `gs://`.
        identity: Digests of the rows, and the settings, by name. A checkpoint of a job that differs
            in one of them is refused.
        is_chief: Whether this process writes them; every worker reads them.
    """

    folder: str
    identity: Mapping[str, Any]
    is_chief: bool = True

    def save(self, progress: Progress, arrays: Arrays) -> None:
        """Writes a file, and deletes all older ones but the last, in case this one gets damaged.

        The file after the first epoch is `epoch-00001.npz`; the one 300 steps later,
        `epoch-00001_0000300.npz`, sorts after it.
        """
        if not self.is_chief:
            return
        header = {"identity": self.identity, "progress": asdict(progress)}
        entries: dict[str, Any] = {
            # Padded, so that the sorted names of a group are in its order.
            f"{k}:{i:05d}": a
            for k, group in arrays.items()
            for i, a in enumerate(group)
        }
        buffer = io.BytesIO()
        np.savez(buffer, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **entries)
        within = f"_{progress.begun.steps:07d}" if progress.begun.steps else ""
        name = f"epoch-{progress.epochs:05d}{within}.npz"
        storage.write_file(self.folder, name, buffer.getvalue())
        files, folder = storage.open_folder(self.folder)
        with named(self.folder):
            for old in [n for n in self._names() if n != name][1:]:
                files.delete_file(f"{folder}/{old}")

    def restore(self) -> tuple[Progress, Arrays] | None:
        """Reads the newest checkpoint that is whole; returns None if there is none.

        A damaged one is left out with a warning, as the training can go on without it.

        Raises:
            TrainerError: The checkpoint belongs to another job.
            OSError: A checkpoint cannot be read.
        """
        for name in self._names():
            path = f"{self.folder}/{name}"
            data = storage.read_file(self.folder, name)
            try:
                header, groups = _parsed(data)
            except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError) as error:
                log.warning("%s is cut short or altered (%s); it is left out", path, error)
                continue
            self._check(path, header["identity"])
            progress = header["progress"]
            history = tuple(Epoch(**e) for e in progress["history"])
            begun = PartialEpoch(**progress["begun"])
            return Progress(history, progress["best_epoch"], begun), groups
        return None

    @property
    def is_remote(self) -> bool:
        """Whether a checkpoint costs several calls to a bucket."""
        return in_bucket(self.folder)

    def _names(self) -> list[str]:
        """The names of the files, the newest first."""
        return storage.newest_first(self.folder, "epoch-")

    def _check(self, path: str, stored: Mapping[str, Any]) -> None:
        """Refuses a checkpoint whose identity differs from this job's."""
        own = json.loads(json.dumps(self.identity))  # tuples become lists, as in the file
        differ = sorted(k for k in {*own, *stored} if own.get(k) != stored.get(k))
        if differ:
            changes = "; ".join(f"{k} was {stored.get(k)!r}, is {own.get(k)!r}" for k in differ)
            raise TrainerError(
                f"{path} belongs to another job: {changes}. "
                "Use another --job-dir, or delete its checkpoints to start again"
            )


def _parsed(data: bytes) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """Returns the header of a file, and its arrays by group."""
    stored = np.load(io.BytesIO(data), allow_pickle=False)
    groups: dict[str, list[np.ndarray]] = {}
    for key in sorted(k for k in stored.files if k != "header"):
        groups.setdefault(key.split(":")[0], []).append(stored[key])
    return json.loads(stored["header"].tobytes()), groups
