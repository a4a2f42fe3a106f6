"""The settings of a training: one definition for the spec, the options and the metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, get_type_hints

BOUNDS = ("epochs", "max_steps", "max_seconds")
"""The settings that say when to stop, and do not change what a step does."""
MODELS = ("auto", "tabm", "trees", "blend", "linear")
QUALITIES = ("standard", "high")
REFITS = ("auto", "never")
BALANCED = "balanced"
"""The class weights that give each class the same total weight."""
ClassWeights = Any
"""None, `balanced`, or a mapping from classes to numbers above 0, which `_RANGES` checks: pydantic
would report a wrong value once for each type of a union."""
UNTUNED = (*BOUNDS, "quality", "refit", "seed", "class_weights")
"""The settings that no tuning may try: a loss under other class weights is another loss."""
STRATEGIES = ("one_device", "mirrored", "multi_worker", "tpu")


SEEDS = 2_147_483
"""Seeds of layers have values up to 1000 * SEEDS, which must stay below 2^31."""


class TrainerError(Exception):
    """A training cannot go on; the message has the fault, the value and the way out."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """The values of a setting that tuning tries: an interval, or some choices.

    Attributes:
        min: The least value of an interval.
        max: The greatest value of an interval.
        scale: linear or log.
        choices: The values, in place of an interval.
        models: The kinds of model for which `train.tune: auto` tunes the setting.
    """

    min: float = 0.0
    max: float = 0.0
    scale: str = "linear"
    choices: tuple[Any, ...] = ()
    models: tuple[str, ...] = ("tabm",)


LARGE_TABLE = 100_000
"""Train rows from which tuning uses `search_large`, and a network has `LARGE_MEMBERS`."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Everything that changes the trained model, apart from the rows.

    Each field is a key of the spec's `train` section and an option of `python -m trainer.task`.
    `train.tune: auto` tunes the fields with a `search`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    model: str = field(
        default="auto", metadata={"help": "auto, tabm, trees, blend (of tabm and trees) or linear"}
    )
    epochs: int = field(
        default=0,
        metadata={"help": "largest number of passes over the train split; 0: automatic"},
    )
    batch_size: int = field(
        default=0, metadata={"help": "rows per step, over all replicas; 0: automatic"}
    )
    learning_rate: float = field(
        default=4e-3,
        metadata={
            "help": "AdamW's step size",
            "search": Search(min=1e-3, max=1e-2, scale="log", models=("tabm", "linear")),
        },
    )
    weight_decay: float = field(
        default=3e-4,
        metadata={
            "help": "AdamW's decay, on kernels",
            "search": Search(min=1e-5, max=1e-1, scale="log", models=("tabm", "linear")),
        },
    )
    members: int = field(
        default=0,
        metadata={"help": "networks that tabm trains as one; 0: automatic"},
    )
    hidden_units: tuple[int, ...] = field(
        default=(128, 128),
        metadata={
            "help": "widths of the hidden layers of tabm",
            "search": Search(choices=((64, 64), (128, 128), (128, 128, 128), (256, 256))),
            "search_large": Search(choices=((128, 128), (128, 128, 128), (256, 256), (384, 384))),
        },
    )
    rounds: int = field(
        default=1000, metadata={"help": "largest number of boosting rounds of the trees"}
    )
    shrinkage: float = field(
        default=0.05,
        metadata={
            "help": "step size of a boosting round",
            "search": Search(min=0.01, max=0.2, scale="log", models=("trees",)),
        },
    )
    bins: int = field(
        default=32,
        metadata={
            "help": "most pieces of a number's piecewise-linear embedding",
            "search": Search(choices=(16, 32, 64)),
        },
    )
    embedding_size: int = field(
        default=8,
        metadata={
            "help": "most width of the embedding of a number or an index",
            "search": Search(choices=(4, 8, 16)),
        },
    )
    dropout: float = field(
        default=0.1,
        metadata={"help": "share of hidden units that dropout drops", "search": Search(max=0.5)},
    )
    averaging: float = field(
        default=0.995, metadata={"help": "momentum of the weights' moving average; 0: none"}
    )
    patience: int = field(
        default=0,
        metadata={
            "help": "epochs without a gain in the validation loss before stopping; 0: automatic"
        },
    )
    max_steps: int = field(default=0, metadata={"help": "stop after this many steps; 0: no bound"})
    max_seconds: float = field(
        default=0.0, metadata={"help": "stop after this many seconds; 0: no bound"}
    )
    quality: str = field(
        default="standard",
        metadata={"help": "standard, or high: bags of models of folds, at six times the cost"},
    )
    refit: str = field(
        default="auto",
        metadata={
            "help": "auto, or never: whether a small table's model is fitted again to the train "
            "and validation rows"
        },
    )
    class_weights: ClassWeights = field(
        default=None,
        metadata={"help": "balanced, or a number above 0 for each class"},
    )
    resident_mb: int = field(
        default=4096,
        metadata={"help": "largest split, in MB, that is held in memory; a larger one is streamed"},
    )
    seed: int = field(
        default=0, metadata={"help": "seed of the weights, the dropout and the shuffle"}
    )

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: Values are out of range; the message lists all of them.
        """
        wrong = [
            f"{name} is {getattr(self, name)!r}; it must be {allowed}"
            for name, (allowed, is_right) in _RANGES.items()
            if not is_right(getattr(self, name))
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    def as_json(self) -> str:
        """Returns the settings as one JSON object, which `read_settings` reads."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(values, separators=(",", ":"))

    def settled(self, rows: int) -> Hyperparameters:
        """Returns the settings with a value in place of each 0 that means automatic.

        The values do not depend on the number of replicas, which share one global batch.

        Args:
            rows: Rows of the train split.
        """
        batch = self.batch_size or _batch_size(rows)
        steps = -(-rows // batch)
        patience = max(min(-(-PATIENT_STEPS // steps), PATIENT_EPOCHS), -(-LEAST_STEPS // steps))
        return replace(
            self,
            batch_size=batch,
            members=self.members or (LARGE_MEMBERS if rows >= LARGE_TABLE else SMALL_MEMBERS),
            epochs=self.epochs or max(LEAST_EPOCHS, -(-MOST_STEPS // steps)),
            patience=self.patience or max(LEAST_PATIENCE, patience),
        )


def read_settings(text: str) -> dict[str, Any]:
    """Reads values of `Hyperparameters` from a JSON object, not necessarily all of them.

    Raises:
        ValueError: The text is not a JSON object, a key is not a setting, or a value has the wrong
            type.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it must be JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"it must be a JSON object of settings, not {type(values).__name__}")
    hints = get_type_hints(Hyperparameters)
    types = {f.name: hints[f.name] for f in fields(Hyperparameters)}
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"{name} is no setting; choose from {', '.join(types)}")
        kind, is_right = _TYPES[types[name]]
        if not is_right(value):
            raise ValueError(f"{name} is {value!r}; it must be {kind}")
    return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}


def _is_whole(value: Any) -> bool:
    return type(value) is int  # a bool is an int too


_TYPES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    int: ("a whole number", _is_whole),
    float: ("a number", lambda x: type(x) in (int, float)),
    str: ("text", lambda x: isinstance(x, str)),
    tuple[int, ...]: (
        "a list of whole numbers",
        lambda x: isinstance(x, list) and all(map(_is_whole, x)),
    ),
    ClassWeights: (
        "text or an object of numbers",
        lambda x: x is None or isinstance(x, str | dict),
    ),
}


# The default bounds: a small table gets many epochs, a large one few.
MOST_STEPS, LEAST_EPOCHS = 12_000, 12
# The patience is 500 steps but no more than 40 epochs, and no less than 100 steps and 2 epochs: a
# table of 160 rows has 2 steps an epoch, and so 50 epochs.
PATIENT_STEPS, PATIENT_EPOCHS, LEAST_STEPS, LEAST_PATIENCE = 500, 40, 100, 2
MOST_TREES = 2_000  # over all classes: a tree takes about 20 ns a row
# With many rows, four more members bring nothing: on flights the validation log-loss is .2756 with
# 4 and with 8.
SMALL_MEMBERS, LARGE_MEMBERS = 8, 4
_BATCH_SIZES = ((4_000, 128), (50_000, 256), (200_000, 512))


def _batch_size(rows: int) -> int:
    """Returns 128 below 4 000 rows, 256 below 50 000, 512 below 200 000, else 1024."""
    return next((size for bound, size in _BATCH_SIZES if rows < bound), 1024)


def search_space(rows: int, model: str) -> dict[str, Search]:
    """Returns the settings that `train.tune: auto` tunes, with the values to try.

    Args:
        rows: Rows of the train split.
        model: The kind of model; auto and blend are both tabm and trees.
    """
    kinds = {"tabm", "trees"} if model in ("auto", "blend") else {model}
    size = "search_large" if rows >= LARGE_TABLE else "search"
    searches = {
        f.name: f.metadata.get(size) or f.metadata.get("search") for f in fields(Hyperparameters)
    }
    return {name: s for name, s in searches.items() if s and kinds & set(s.models)}


def _are_class_weights(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return value is None or value == BALANCED
    numbers = [type(weight) in (int, float) and 0 < weight < math.inf for weight in value.values()]
    return bool(numbers) and all(numbers)


_Range = tuple[str, Callable[[Any], bool]]
_AT_LEAST_1: _Range = ("at least 1", lambda x: x >= 1)
_SHARE: _Range = ("at least 0 and below 1", lambda x: 0 <= x < 1)
_NOT_NEGATIVE: _Range = ("a number of at least 0", lambda x: 0 <= x < math.inf)
_RANGES: dict[str, _Range] = {
    "model": (f"one of {', '.join(MODELS)}", lambda x: x in MODELS),
    "refit": (f"one of {', '.join(REFITS)}", lambda x: x in REFITS),
    "quality": (f"one of {', '.join(QUALITIES)}", lambda x: x in QUALITIES),
    "epochs": _NOT_NEGATIVE,
    "batch_size": _NOT_NEGATIVE,
    "learning_rate": ("a number above 0", lambda x: 0 < x < math.inf),
    "weight_decay": _NOT_NEGATIVE,
    "members": _NOT_NEGATIVE,
    "rounds": _AT_LEAST_1,
    "shrinkage": ("above 0 and at most 1", lambda x: 0 < x <= 1),
    "bins": _AT_LEAST_1,
    "embedding_size": _AT_LEAST_1,
    "hidden_units": ("one or more widths of at least 1", lambda x: min(x, default=0) >= 1),
    "dropout": _SHARE,
    "averaging": _SHARE,
    "patience": _NOT_NEGATIVE,
    "max_steps": _NOT_NEGATIVE,
    "max_seconds": _NOT_NEGATIVE,
    "class_weights": (
        "balanced, or a number above 0 for each class, as {yes: 5}",
        _are_class_weights,
    ),
    "resident_mb": _NOT_NEGATIVE,
    # Layers have seeds up to 1000 * (seed + 1), which must stay below 2^31.
    "seed": ("between 0 and 2147482", lambda x: 0 <= x <= 2_147_482),
}
