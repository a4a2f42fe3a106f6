"""What every feature transform is, and the raw inputs that all of them start from."""

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
"""Columns of the examples beside the engineered ones; the prefix marks a raw input."""
QUANTITY = "\0"
"""Begins the name of what a feature lets count; no column of a table begins so."""

Raw = Mapping[str, "np.ndarray | pa.Array"]
Tensors = Mapping[str, "tf.Tensor"]


@dataclass(frozen=True)
class Input:
    """A raw input of the serving signature: a column of the table, its type, how it is tidied.

    A client of the server may leave out an input that is `optional`: it is missing then.
    """

    name: str
    type: Type
    trim: bool = False
    case: Case | None = None
    optional: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it is served as float64 (NaN is missing), not as string ('' is missing)."""
        return self.type != "string"


@dataclass(frozen=True)
class Engineered:
    """An engineered column: a float32 number, or an int32 index below `cardinality`."""

    name: str
    cardinality: int | None = None


def raw_inputs(
    batch: pa.RecordBatch | pa.Table, inputs: Sequence[Input], prefix: str = ""
) -> dict[str, Any]:
    """Returns the raw inputs of a typed batch, as the serving signature takes them.

    Args:
        batch: Typed columns, nulls where missing.
        inputs: Which columns, and their types.
        prefix: What stands before their names in the batch.

    Returns:
        By name: `[N] float64` (times as seconds since 1970 UTC, NaN where missing), or an Arrow
        string array ('' where missing).
    """
    return {i.name: _raw_column(batch.column(prefix + i.name), i.type) for i in inputs}


def _raw_column(column: pa.Array | pa.ChunkedArray, type_: Type) -> Any:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if type_ == "string":
        return pc.fill_null(column, "")
    if type_ in TIMES:
        micros = column.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64(), safe=False)
        column = pc.divide(micros, 1e6)
    values = column.cast(pa.float64(), safe=False)
    return pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False)


@dataclass(frozen=True, kw_only=True)
class Feature(ABC):
    """One entry of the spec's `features`; the fields named by `fitted` are filled by `fit`."""

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
    def counted(self) -> str:
        """Under which name the statistics of what it transforms stand."""
        return self.columns[0]

    @property
    def needs(self) -> tuple[str, ...]:
        """The statistics that `fit` needs in full; of others the number of rows is enough."""
        return (self.counted,)

    def quantities(self, raw: Raw) -> dict[str, np.ndarray | pa.Array]:
        """What `fit` needs counted beside the raw inputs of a batch of the train split, by name."""
        return {}

    @abstractmethod
    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Returns the fitted feature, from the statistics of the train split.

        Raises:
            TrainerError: The train split has nothing that it could be fitted to.
        """

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """The engineered columns that it gives."""
        return (Engineered(self.name),)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns that it may give once it is fitted."""
        return tuple(o.name for o in self.outputs)

    @abstractmethod
    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Applies the fitted feature to raw inputs of `[N]`; gives `[N] float32` or `int32`."""

    @abstractmethod
    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors `[B] float64` or `[B] string`."""

    @classmethod
    def tensors(cls, features: Sequence[Any], raw: Tensors) -> dict[str, tf.Tensor]:
        """What `tensor` of several features of this class gives, all columns by name."""
        return {name: v for f in features for name, v in f.tensor(raw).items()}

    @cached_property
    def resources(self) -> tuple[Any, ...]:
        """What `tensor` uses and an exported module must track: lookup tables."""
        return ()


@cache
def tensorflow_arithmetic() -> Any:
    """Returns TensorFlow's functions under numpy's names: one formula then serves both forms.

    Each gives numpy's float64; `log1p`, `expm1`, `sin` and their like up to the last bit.
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
    """Returns what is wrong with a count that must lie in [least, most], or None."""
    return (
        None
        if least <= count <= most
        else f"{name} is {count}; it must be between {least} and {most}"
    )
