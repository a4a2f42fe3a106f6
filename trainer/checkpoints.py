"""Checkpoints: all that a killed training needs to go on bit for bit, after and within epochs.

A file holds arrays by place (network, average, optimizer, best weights) and the progress as JSON.
It does not depend on the strategy, so 1 replica can go on where 4 were stopped.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from .settings import TrainerError

Stopped = Literal["epochs", "early_stopping", "max_steps", "max_seconds"]
"""What ended a training: a bound of the settings, or a validation loss that stopped falling."""


@dataclass(frozen=True)
class Epoch:
    """One line of the history.

    Attributes:
        epoch: Counted from 1.
        step: Steps done since the start.
        loss: Mean train loss over the epoch, weighted by example, with dropout.
        validation_loss: Mean loss of the averaged weights on the validation split.
        seconds: Training time since the start.
    """

    epoch: int
    step: int
    loss: float
    validation_loss: float
    seconds: float


@dataclass(frozen=True)
class Begun:
    """How far an epoch is that is not over; its shuffle follows from the seed and its number.

    Attributes:
        steps: Steps of it that are done.
        loss: Sum of their rows' losses, each times its weight.
        weight: Sum of the weights.
        seconds: Training time since the start; 0 where none is done.
    """

    steps: int = 0
    loss: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        history: The epochs done.
        best_epoch: The epoch with the lowest validation loss; 0 before the first.
        begun: The epoch after them.
    """

    history: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    begun: Begun = Begun()

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def steps(self) -> int:
        """Steps of the epochs done."""
        return self.history[-1].step if self.history else 0

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return self.begun.seconds or (self.history[-1].seconds if self.history else 0.0)

    @property
    def since_best(self) -> int:
        """Epochs since the best one."""
        return self.epochs - self.best_epoch

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
        folder: Local or `gs://`.
        identity: What makes it the same job: digests of the rows and settings, by name.
        is_chief: Only the chief writes; every worker reads.
    """

    folder: str
    identity: Mapping[str, Any]
    is_chief: bool = True

    def save(self, progress: Progress, arrays: Arrays) -> None:
        """Writes a file under a temporary name, renames it and deletes older ones.

        After the first epoch it is `epoch-00001.npz`; 300 steps later, which sorts after it,
        `epoch-00001_0000300.npz`.
        """
        if not self.is_chief:
            return
        header = {"identity": self.identity, "progress": asdict(progress)}
        named: dict[str, Any] = {
            f"{k}:{i:05d}": a for k, group in arrays.items() for i, a in enumerate(group)
        }
        buffer = io.BytesIO()
        np.savez(buffer, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **named)
        tf.io.gfile.makedirs(self.folder)
        within = f"_{progress.begun.steps:07d}" if progress.begun.steps else ""
        path = f"{self.folder}/epoch-{progress.epochs:05d}{within}.npz"
        with tf.io.gfile.GFile(f"{path}.partial", "wb") as file:
            file.write(buffer.getvalue())
        tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)
        for old in self._paths()[:-1]:
            tf.io.gfile.remove(old)

    def restore(self) -> tuple[Progress, Arrays] | None:
        """Reads the newest checkpoint, or returns None when there is none.

        Raises:
            TrainerError: It belongs to another job.
        """
        paths = self._paths()
        if not paths:
            return None
        with tf.io.gfile.GFile(paths[-1], "rb") as file:
            stored = np.load(io.BytesIO(file.read()), allow_pickle=False)
        header = json.loads(stored["header"].tobytes())
        self._check(paths[-1], header["identity"])
        groups: dict[str, list[np.ndarray]] = {}
        for key in sorted(k for k in stored.files if k != "header"):
            groups.setdefault(key.split(":")[0], []).append(stored[key])
        progress = header["progress"]
        history = tuple(Epoch(**e) for e in progress["history"])
        return Progress(history, progress["best_epoch"], Begun(**progress["begun"])), groups

    def _paths(self) -> list[str]:
        return sorted(tf.io.gfile.glob(f"{self.folder}/epoch-*.npz"))

    def _check(self, path: str, found: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(self.identity))
        differ = sorted(k for k in {*wanted, *found} if wanted.get(k) != found.get(k))
        if differ:
            said = "; ".join(f"{k} was {found.get(k)!r}, is {wanted.get(k)!r}" for k in differ)
            raise TrainerError(
                f"{path} belongs to another job: {said}. "
                "Use another --job-dir, or delete its checkpoints to start again"
            )
