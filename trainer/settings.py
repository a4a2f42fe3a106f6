"""The settings of a training: one definition for the spec, the arguments and the metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


STRATEGIES = ("one_device", "mirrored", "multi_worker", "tpu")


class TrainerError(Exception):
    """A training that cannot go on: what was wrong, the value seen and the way out."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Everything that changes the trained model, apart from the rows.

    Each field is a key of the spec's `train` section and an option of `python -m trainer.task`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: int = field(default=20, metadata={"help": "most passes over the train split"})
    batch_size: int = field(default=1024, metadata={"help": "rows a step, over all replicas"})
    learning_rate: float = field(default=1e-3, metadata={"help": "AdamW's step size"})
    weight_decay: float = field(default=1e-4, metadata={"help": "AdamW's decay, on kernels"})
    hidden_units: tuple[int, ...] = field(
        default=(128, 64), metadata={"help": "widths of the hidden layers"}
    )
    dropout: float = field(default=0.1, metadata={"help": "share of hidden units dropped"})
    averaging: float = field(
        default=0.99, metadata={"help": "momentum of the weights' moving average; 0: none"}
    )
    patience: int = field(
        default=3, metadata={"help": "epochs without a better validation loss before stopping"}
    )
    max_steps: int = field(default=0, metadata={"help": "stop after this many steps; 0: no bound"})
    max_seconds: float = field(
        default=0.0, metadata={"help": "stop after this many seconds; 0: no bound"}
    )
    seed: int = field(default=0, metadata={"help": "seed of weights, dropout and shuffle"})
