"""The base class of the feature transforms, and the raw inputs that they take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .statistics import ColumnStatistics
from .text_format import Case

if TYPE_CHECKING:
    import tensorflow as tf

Type = Literal["int", "float", "bool", "string", "timestamp", "date"]
Task = Literal["binary", "multiclass", "regression"]
NUMBERS: frozenset[Type] = frozenset({"int", "float", "bool", "timestamp", "date"})
TIMES: frozenset[Type] = frozenset({"timestamp", "date"})
CODES: frozenset[Type] = frozenset({"string", "int", "bool"})
LABEL, WEIGHT, RAW_PREFIX = "label", "weight", "raw_"
"""Columns of the examples other than the engineered ones; the prefix marks a raw input."""
QUANTITY = "\0"
"""Prefix of a feature's own quantity among the statistics: no column of a table starts with NUL."""

Raw = Mapping[str, "np.ndarray | pa.Array"]
Tensors = Mapping[str, "tf.Tensor"]


@dataclass(frozen=True)
class Input:
    """A raw input of the serving signature: a column of the table.

    Attributes:
        name: The column.
        type: Its type in the spec.
        trim: Whether blanks around its text are cut off.
        case: Whether its ASCII letters are folded to lower or upper case; None: neither.
        optional: Whether a client of the server may leave it out; it is then missing.
    """

    name: str
    type: Type
    trim: bool = False
    case: Case | None = None
    optional: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it is served as float64 (NaN is missing) and not as string ('' is missing)."""
        return self.type != "string"


@dataclass(frozen=True)
class Engineered:
    """An engineered column: a float32 number, or an int32 index in [0, `cardinality`)."""

    name: str
    cardinality: int | None = None


def raw_inputs(
    batch: pa.RecordBatch | pa.Table, inputs: Sequence[Input], prefix: str = ""
) -> dict[str, Any]:
    """Returns the raw inputs of a typed batch, in the form that the serving signature takes.

    Args:
        batch: Typed columns, null where missing.
        inputs: The columns and their types.
        prefix: Prefix of their names in the batch.

    Returns:
        By name: `[N] float64` (NaN where missing; times in seconds since 1970 UTC), or an Arrow
        array of `[N]` strings ('' where missing).
    """
    return {i.name: _raw_column(batch.column(prefix + i.name), i.type) for i in inputs}


def _raw_column(column: pa.Array | pa.ChunkedArray, type_: Type) -> Any:
    """Returns a column as `raw_inputs` does."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if type_ == "string":
        return pc.fill_null(column, "")
    if type_ in TIMES:
        # Not safe, since float64 rounds the last microseconds of times after 2255 (2^53 us).
        micros = column.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64(), safe=False)
        column = pc.divide(micros, 1e6)
    values = column.cast(pa.float64(), safe=False)
    return pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False)


@dataclass(frozen=True, kw_only=True)
class Feature(ABC):
    """One entry of the spec's `features`: a transform of one or more columns.

    Attributes:
        accepts: Types of columns that the transform takes.
        n_columns: Fewest and most columns that it takes.
        fitted: Names of the fields that `fit` fills; a spec may not set them.
        name: Name of the feature, and of its engineered column if there is only one.
        columns: Columns of the table, in the order in which the transform uses them.
        types: Their types; empty until the spec has been read.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}
    accepts: ClassVar[frozenset[Type]]
    n_columns: ClassVar[tuple[int, int]] = (1, 1)
    fitted: ClassVar[tuple[str, ...]] = ()

    name: str
    columns: tuple[str, ...]
    types: tuple[Type, ...] = ()

    def check(self) -> str | None:
        """Returns what is wrong with the parameters, or None."""
        return None

    @property
    def statistics_name(self) -> str:
        """Name of the statistics that `fit` reads: a raw input, or one of `quantities`."""
        return self.columns[0]

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the statistics that `fit` needs in full; a sample of the values would not do."""
        return (self.statistics_name,)

    def quantities(self, raw: Raw) -> dict[str, np.ndarray | pa.Array]:
        """Returns what must be counted besides the raw inputs, by name.

        Args:
            raw: The raw inputs of a batch of the train split.
        """
        return {}

    @abstractmethod
    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Returns the feature fitted to the statistics of the train split.

        Raises:
            TrainerError: The train split has no value to fit the feature to.
        """

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """The engineered columns of the fitted feature."""
        return (Engineered(self.name),)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns that the feature may have once it is fitted."""
        return tuple(o.name for o in self.outputs)

    @abstractmethod
    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Transforms raw inputs `[N]`; returns `[N] float32` or `[N] int32` by column."""

    @abstractmethod
    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same with tensors, from `[B] float64` or `[B] string`."""

    @classmethod
    def tensors(cls, features: Sequence[Any], raw: Tensors) -> dict[str, tf.Tensor]:
        """Returns the columns of several features of this class.

        A class overrides it where one operation can serve many features.
        """
        return {name: v for f in features for name, v in f.tensor(raw).items()}

    @cached_property
    def resources(self) -> tuple[Any, ...]:
        """The lookup tables of `tensor`, which an exported module must track."""
        return ()


@cache
def tensorflow_arithmetic() -> Any:
    """Returns TensorFlow's functions under numpy's names, so that one formula serves both forms.

    On float64 they equal numpy's, except that `log1p`, `expm1`, `sin` and other transcendental
    functions may differ in the last bit.
    """
    import tensorflow as tf

    return SimpleNamespace(
        **{
            n: getattr(tf, n) for n in ("abs", "cos", "floor", "maximum", "minimum", "searchsorted")
        },
        **{n: getattr(tf, n) for n in ("sign", "sin", "sqrt", "where", "zeros_like")},
        arcsin=tf.asin,
        asarray=lambda values: tf.constant(values, tf.float64),
        clip=tf.clip_by_value,
        expm1=tf.math.expm1,
        isfinite=tf.math.is_finite,
        log1p=tf.math.log1p,
        take=tf.gather,
        unstack=tf.unstack,
    )


def in_range(name: str, count: int, least: int, most: int) -> str | None:
    """Returns what is wrong with a count outside [least, most], or None."""
    return (
        None
        if least <= count <= most
        else f"{name} is {count}; it must be between {least} and {most}"
    )
