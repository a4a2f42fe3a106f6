"""The fitted transform: what lies between raw inputs and engineered columns, as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..settings import TrainerError
from . import FEATURES, Engineered, Feature, Input, Raw, Task, Tensors
from .statistics import ColumnStatistics
from .text_format import Spelling, tidy_numpy, tidy_tensor

if TYPE_CHECKING:
    import tensorflow as tf

VERSION = 1


@dataclass(frozen=True)
class Label:
    """The label's column and, for classification, its classes in the order of their indices."""

    name: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextFormat:
    """How the table was written as text; predictions read new rows the same way."""

    nulls: tuple[str, ...] = ("", "NA")
    delimiter: str = ","
    quoted_newlines: bool = False
    optional_keys: bool = False
    columns: Mapping[str, Spelling] = field(default_factory=dict)

    @classmethod
    def of(cls, read: Mapping[str, Any]) -> TextFormat:
        """Reads what `asdict` gave."""
        columns = {name: Spelling(**_tuples(entry)) for name, entry in read["columns"].items()}
        return cls(**{**_tuples(read), "columns": columns})


@dataclass(frozen=True)
class Transform:
    """The fitted transform: everything between raw inputs and engineered columns, as JSON.

    Attributes:
        task: binary, multiclass or regression.
        label: The label; `classes[1]` is the positive class of a binary task.
        weight: The column of example weights, or None.
        inputs: Raw inputs that the features need, in the order of the spec's columns.
        features: Fitted features, in the order of the spec.
        text: How the source was written, when it is text.
    """

    task: Task
    label: Label
    weight: str | None
    inputs: tuple[Input, ...]
    features: tuple[Feature, ...]
    text: TextFormat = TextFormat()

    @property
    def engineered(self) -> tuple[Engineered, ...]:
        """The engineered columns, in order."""
        return tuple(o for f in self.features for o in f.outputs)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the float32 columns, in order."""
        return tuple(c.name for c in self.engineered if c.cardinality is None)

    @property
    def indices(self) -> tuple[str, ...]:
        """The names of the int32 columns, in order."""
        return tuple(c.name for c in self.engineered if c.cardinality is not None)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Applies every feature to raw inputs; `[N] float32` or `[N] int32` by engineered name."""
        tidy = self._tidied(raw, tidy_numpy)
        return {name: v for f in self.features for name, v in f.numpy(tidy).items()}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors, for the serving graph, which must track `resources`."""
        tidy = self._tidied(raw, tidy_tensor)
        kinds: dict[type[Feature], list[Feature]] = {}
        for feature in self.features:
            kinds.setdefault(type(feature), []).append(feature)
        given = [kind.tensors(features, tidy) for kind, features in kinds.items()]
        return {name: values for columns in given for name, values in columns.items()}

    def _tidied(self, raw: Mapping[str, Any], tidy: Callable[..., Any]) -> dict[str, Any]:
        """Trims and folds what the spec says; rows that were cleaned so already do not change."""
        texts = [i for i in self.inputs if i.trim or i.case]
        return {**raw, **{i.name: tidy(raw[i.name], i.trim, i.case) for i in texts}}

    @property
    def resources(self) -> list[Any]:
        """The lookup tables of every feature."""
        return [r for f in self.features for r in f.resources]

    def to_json(self) -> str:
        """The text of transform.json."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Transform:
        """Reads the text of transform.json.

        Raises:
            TrainerError: The version is unknown.
        """
        read = json.loads(text)
        if read.get("version") != VERSION:
            raise TrainerError(
                f"transform.json has version {read.get('version')!r}; this trainer reads {VERSION}"
            )
        return cls(
            task=read["task"],
            label=Label(read["label"]["name"], tuple(read["label"]["classes"])),
            weight=read["weight"],
            inputs=tuple(Input(**i) for i in read["inputs"]),
            features=tuple(_feature_from(entry) for entry in read["features"]),
            text=TextFormat.of(read["text"]),
        )


def fit_features(
    features: Sequence[Feature], columns: Mapping[str, ColumnStatistics]
) -> tuple[Feature, ...]:
    """Fits every feature to the statistics of the train split.

    Raises:
        TrainerError: A feature has nothing to be fitted to, or two give a column of one name.
    """
    fitted = tuple(f.fit(columns) for f in features)
    given: dict[str, str] = {}
    for feature in fitted:
        for column in feature.outputs:
            if column.name in given:
                raise TrainerError(
                    f"features {given[column.name]!r} and {feature.name!r} both give a column "
                    f"{column.name!r}; rename one of them"
                )
            given[column.name] = feature.name
    return fitted


def _feature_from(entry: dict[str, Any]) -> Feature:
    cls = FEATURES[entry["transform"]]
    known = {f.name for f in fields(cls)}
    return cls(**_tuples({k: v for k, v in entry.items() if k in known}))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
