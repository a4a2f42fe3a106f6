"""The settings of a training: one definition for the spec, the arguments and the metadata."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

BOUNDS = ("epochs", "max_steps", "max_seconds")  # say when to stop, not what a step does
STRATEGIES = ("one_device", "mirrored", "multi_worker", "tpu")


class TrainerError(Exception):
    """A training that cannot go on: what was wrong, the value seen and the way out."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where tuning looks for a setting: between `min` and `max`, or among choices.

    Attributes:
        min: The least value.
        max: The largest.
        scale: linear or log.
        choices: Instead of them.
    """

    min: float = 0.0
    max: float = 0.0
    scale: str = "linear"
    choices: tuple[Any, ...] = ()


LARGE_TABLE = 100_000
"""Train rows from which `search_large` takes the place of `search`."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Everything that changes the trained model, apart from the rows.

    Each field is a key of the spec's `train` section and an option of `python -m trainer.task`. A
    field with a `search` is tuned there by `train.tune: auto`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: int = field(default=20, metadata={"help": "most passes over the train split"})
    batch_size: int = field(default=1024, metadata={"help": "rows a step, over all replicas"})
    learning_rate: float = field(
        default=1e-3,
        metadata={"help": "AdamW's step size", "search": Search(min=3e-4, max=1e-2, scale="log")},
    )
    weight_decay: float = field(
        default=1e-4,
        metadata={
            "help": "AdamW's decay, on kernels",
            "search": Search(min=1e-5, max=1e-2, scale="log"),
        },
    )
    hidden_units: tuple[int, ...] = field(
        default=(128, 64),
        metadata={
            "help": "widths of the hidden layers",
            "search": Search(choices=((64, 32), (128, 64), (256, 128))),
            "search_large": Search(choices=((128, 64), (256, 128), (512, 256))),
        },
    )
    dropout: float = field(
        default=0.1,
        metadata={"help": "share of hidden units dropped", "search": Search(max=0.5)},
    )
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

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: A value is out of its range; the message names all of them.
        """
        wrong = [
            f"{name} is {getattr(self, name)!r}; it must be {allowed}"
            for name, (allowed, is_right) in _RANGES.items()
            if not is_right(getattr(self, name))
        ]
        if wrong:
            raise ValueError("; ".join(wrong))


def search_space(rows: int) -> dict[str, Search]:
    """Returns what `train.tune: auto` tunes on a train split of so many rows, and where."""
    size = "search_large" if rows >= LARGE_TABLE else "search"
    found = {
        f.name: f.metadata.get(size) or f.metadata.get("search") for f in fields(Hyperparameters)
    }
    return {name: search for name, search in found.items() if search}


_Range = tuple[str, Callable[[Any], bool]]
_AT_LEAST_1: _Range = ("at least 1", lambda x: x >= 1)
_SHARE: _Range = ("at least 0 and below 1", lambda x: 0 <= x < 1)
_NOT_NEGATIVE: _Range = ("a number of at least 0", lambda x: 0 <= x < math.inf)
_RANGES: dict[str, _Range] = {
    "epochs": _AT_LEAST_1,
    "batch_size": _AT_LEAST_1,
    "learning_rate": ("a number above 0", lambda x: 0 < x < math.inf),
    "weight_decay": _NOT_NEGATIVE,
    "hidden_units": ("widths of at least 1", lambda x: all(width >= 1 for width in x)),
    "dropout": _SHARE,
    "averaging": _SHARE,
    "patience": _AT_LEAST_1,
    "max_steps": _NOT_NEGATIVE,
    "max_seconds": _NOT_NEGATIVE,
    "seed": ("between 0 and 2147482", lambda x: 0 <= x <= 2_147_482),
}
