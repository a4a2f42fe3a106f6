"""The fitted transform, from raw inputs to engineered columns, and its JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..settings import TrainerError
from . import FEATURES, Engineered, Feature, Input, Ordered, Raw, Task, Tensors, Text
from .statistics import ColumnStatistics
from .text_format import Spelling, tidy_numpy, tidy_tensor

if TYPE_CHECKING:
    import tensorflow as tf

VERSION = 1


@dataclass(frozen=True)
class Label:
    """The label's column.

    Attributes:
        name: The column.
        classes: The classes in the order of their indices; empty for a regression.
    """

    name: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextFormat:
    """How the table was written as text, so that predictions read new rows the same way.

    Attributes:
        nulls: Texts that mean a missing value.
        delimiter: What separates two values of a CSV line.
        quoted_newlines: Whether a quoted value may hold a newline.
        encoding: The encoding of its characters.
        skip_rows: The lines above the header of a CSV.
        skip_rows_after_header: The lines between the header and the rows.
        optional_keys: Whether a line of JSON may lack a column, which is then missing.
        columns: The spelling of each column that is not written in the default way.
    """

    nulls: tuple[str, ...] = ("", "NA")
    delimiter: str = ","
    quoted_newlines: bool = False
    encoding: str = "utf-8"
    skip_rows: int = 0
    skip_rows_after_header: int = 0
    optional_keys: bool = False
    columns: Mapping[str, Spelling] = field(default_factory=dict)

    @classmethod
    def of(cls, read: Mapping[str, Any]) -> TextFormat:
        """Reads what `dataclasses.asdict` wrote."""
        columns = {name: Spelling(**_tuples(entry)) for name, entry in read["columns"].items()}
        return cls(**{**_tuples(read), "columns": columns})


@dataclass(frozen=True)
class Transform:
    """Everything between raw inputs and engineered columns.

    Attributes:
        task: binary, multiclass or regression.
        label: The label; `classes[1]` is the positive class of a binary task.
        weight: The column of example weights, or None.
        inputs: The raw inputs of all features, in the order of the spec's columns.
        features: The fitted features, in the order of the spec.
        text: How the source is written, if it is text.
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
        """Names of the float32 columns, in order."""
        return tuple(c.name for c in self.engineered if c.cardinality is None)

    @property
    def indices(self) -> tuple[str, ...]:
        """Names of the int32 columns, in order."""
        return tuple(c.name for c in self.engineered if c.cardinality is not None)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of levels of each int32 column, in order."""
        return tuple(c.cardinality for c in self.engineered if c.cardinality is not None)

    @property
    def texts(self) -> tuple[Text, ...]:
        """The features whose sets of n-grams are columns of the examples."""
        return tuple(f for f in self.features if isinstance(f, Text) and f.set_buckets)

    @property
    def monotone(self) -> tuple[Ordered, ...]:
        """The features whose order a model must keep."""
        return tuple(f for f in self.features if isinstance(f, Ordered) and f.monotone)

    @property
    def signs(self) -> tuple[int, ...]:
        """For each float32 column, 1 if an answer must not fall with it, -1 if not rise, else 0."""
        signs = {
            name: 1 if f.monotone == "increasing" else -1
            for f in self.monotone
            for name in f.shaped_names
        }
        return tuple(signs.get(name, 0) for name in self.numbers)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Applies every feature; returns `[N] float32` or `[N] int32` by engineered column."""
        tidy = self._tidied(raw, tidy_numpy)
        return {name: v for f in self.features for name, v in f.numpy(tidy).items()}

    def sets_numpy(self, raw: Raw) -> dict[str, pa.Array]:
        """Returns the sets of n-grams of `texts`, `[N]` strings by column."""
        tidy = self._tidied(raw, tidy_numpy)
        return {f.set_name: f.sets_numpy(tidy) for f in self.texts}

    def sets_tensor(self, raw: Tensors) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
        """Returns the row and the bucket of each n-gram of the sets, `[Q] int64`, by column."""
        tidy = self._tidied(raw, tidy_tensor)
        return {f.set_name: f.sets_tensor(tidy) for f in self.texts}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same with tensors, in a serving graph, which must track `resources`."""
        tidy = self._tidied(raw, tidy_tensor)
        by_class: dict[type[Feature], list[Feature]] = {}
        for feature in self.features:
            by_class.setdefault(type(feature), []).append(feature)
        columns = [cls.tensors(features, tidy) for cls, features in by_class.items()]
        return {name: values for part in columns for name, values in part.items()}

    def _tidied(self, raw: Mapping[str, Any], tidy: Callable[..., Any]) -> dict[str, Any]:
        """Trims and folds texts as the spec says; text that is tidy already does not change."""
        texts = [i for i in self.inputs if i.trim or i.case]
        return {**raw, **{i.name: tidy(raw[i.name], i.trim, i.case) for i in texts}}

    @property
    def resources(self) -> list[Any]:
        """The lookup tables of every feature."""
        return [r for f in self.features for r in f.resources]

    def to_json(self) -> str:
        """Returns the text of transform.json."""
        document = {"version": VERSION, **asdict(self)}
        for feature in document["features"]:
            if feature.get("monotone", "") is None:  # so that the file is as it was without the key
                del feature["monotone"]
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Transform:
        """Reads the text of transform.json.

        Raises:
            TrainerError: Its version is not the one that this trainer reads.
        """
        document = json.loads(text)
        if document.get("version") != VERSION:
            raise TrainerError(
                f"transform.json has version {document.get('version')!r}, and this trainer reads "
                f"{VERSION}; run the preprocessing again"
            )
        return cls(
            task=document["task"],
            label=Label(document["label"]["name"], tuple(document["label"]["classes"])),
            weight=document["weight"],
            inputs=tuple(Input(**i) for i in document["inputs"]),
            features=tuple(_feature_from(entry) for entry in document["features"]),
            text=TextFormat.of(document["text"]),
        )


def fit_features(
    features: Sequence[Feature], columns: Mapping[str, ColumnStatistics]
) -> tuple[Feature, ...]:
    """Fits every feature to the statistics of the train split.

    Raises:
        TrainerError: A feature has no value to be fitted to, or two features have a column of the
            same name.
    """
    fitted = tuple(f.fit(columns) for f in features)
    owners: dict[str, str] = {}
    for feature in fitted:
        names = [column.name for column in feature.outputs]
        for name in [*names, feature.set_name] if isinstance(feature, Text) else names:
            if name in owners:
                raise TrainerError(
                    f"features {owners[name]!r} and {feature.name!r} both give a column "
                    f"{name!r}; rename one of them"
                )
            owners[name] = feature.name
    return fitted


def _feature_from(entry: dict[str, Any]) -> Feature:
    cls = FEATURES[entry["transform"]]
    names = {f.name for f in fields(cls)}
    return cls(**_tuples({k: v for k, v in entry.items() if k in names}))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns the lists of JSON back into the tuples of frozen dataclasses."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
