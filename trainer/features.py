"""Feature transforms: each class holds its fit, its numpy form and its TensorFlow form.

The numpy form runs in preprocessing, the TensorFlow form inside the exported model. Both start from
the same raw inputs (`raw_inputs`) and give the same engineered columns. TensorFlow is imported only
by the TensorFlow forms, so preprocessing never pays for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.fingerprint import fingerprint64
from trainer.settings import TrainerError
from trainer.spelling import Case
from trainer.statistics import Categories, ColumnStatistics, Distribution

if TYPE_CHECKING:
    import tensorflow as tf

MAX_DEVIATIONS = 1e6  # bounds a scaled value, so that it stays finite as float32
MAX_BUCKETS = 1 << 24  # an index is int32, and each has a row in an embedding
Type = Literal["int", "float", "bool", "string", "timestamp", "date"]
Task = Literal["binary", "multiclass", "regression"]
NUMBERS: frozenset[Type] = frozenset({"int", "float", "bool", "timestamp", "date"})
TIMES: frozenset[Type] = frozenset({"timestamp", "date"})
CODES: frozenset[Type] = frozenset({"string", "int", "bool"})
LABEL, WEIGHT, RAW_PREFIX = "label", "weight", "raw_"
"""Columns of the examples beside the engineered ones; the prefix marks a raw input."""

Raw = Mapping[str, "np.ndarray | pa.Array"]
Tensors = Mapping[str, "tf.Tensor"]


@dataclass(frozen=True)
class Input:
    """A raw input of the serving signature: a column of the table, its type, how it is tidied."""

    name: str
    type: Type
    trim: bool = False
    case: Case | None = None

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
    """One entry of the spec's `features`; fitted fields are None until `fit`."""

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

    @abstractmethod
    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Returns the fitted feature, from the statistics of the train split."""

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """The engineered columns that it gives."""
        return (Engineered(self.name),)

    @abstractmethod
    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Applies the fitted feature to raw inputs of `[N]`; gives `[N] float32` or `int32`."""

    @abstractmethod
    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors `[B] float64` or `[B] string`."""

    @cached_property
    def resources(self) -> tuple[Any, ...]:
        """What `tensor` uses and an exported module must track: lookup tables."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Scaled(Feature):
    """Base of the numeric shapes: fill, shape, then subtract the mean and divide by the deviation.

    A missing or infinite value becomes the train split's median before the shape. A column of one
    value becomes 0 everywhere. The result is held within a million deviations.
    """

    accepts = NUMBERS
    fitted = ("fill", "mean", "scale")

    fill: float = 0.0
    mean: float = 0.0
    scale: float = 1.0

    def shape_numpy(self, x: np.ndarray) -> np.ndarray:
        """The shape on `[N] float64`."""
        return x

    def shape_tensor(self, x: tf.Tensor) -> tf.Tensor:
        """The shape on `[B] float64`."""
        return x

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the fill (median) and the moments of the shaped values."""
        x = _distribution(columns, self.columns[0])
        mean, deviation = x.moments(self.shape_numpy)
        return replace(self, fill=float(x.quantile([0.5])[0]), mean=mean, scale=deviation or 1.0)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Applies the fitted shape; `[N] float32`."""
        x = cast(np.ndarray, raw[self.columns[0]])
        x = self.shape_numpy(np.where(np.isfinite(x), x, self.fill))
        scaled = np.clip((x - self.mean) / self.scale, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        return {self.name: scaled.astype(np.float32)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        x = raw[self.columns[0]]
        x = tf.where(tf.math.is_finite(x), x, tf.constant(self.fill, tf.float64))
        scaled = (self.shape_tensor(x) - self.mean) / self.scale
        bound = tf.constant(MAX_DEVIATIONS, tf.float64)
        return {self.name: tf.cast(tf.clip_by_value(scaled, -bound, bound), tf.float32)}


@dataclass(frozen=True, kw_only=True)
class Standardize(Scaled):
    """(x - mean) / standard deviation."""

    transform: Literal["standardize"] = "standardize"


@dataclass(frozen=True, kw_only=True)
class Log(Scaled):
    """ln(1 + max(x, 0)), then standardized."""

    transform: Literal["log"] = "log"

    def shape_numpy(self, x: np.ndarray) -> np.ndarray:
        """ln(1 + max(x, 0))."""
        return np.log1p(np.maximum(x, 0.0))

    def shape_tensor(self, x: tf.Tensor) -> tf.Tensor:
        """ln(1 + max(x, 0))."""
        import tensorflow as tf

        return tf.math.log1p(tf.maximum(x, tf.constant(0.0, tf.float64)))


@dataclass(frozen=True, kw_only=True)
class Clip(Scaled):
    """min(max(x, low), high), then standardized."""

    transform: Literal["clip"] = "clip"
    min: float
    max: float

    def check(self) -> str | None:
        """The bounds must be in order."""
        return None if self.min < self.max else f"min {self.min} is not below max {self.max}"

    def shape_numpy(self, x: np.ndarray) -> np.ndarray:
        """min(max(x, low), high)."""
        return np.clip(x, self.min, self.max)

    def shape_tensor(self, x: tf.Tensor) -> tf.Tensor:
        """min(max(x, low), high)."""
        import tensorflow as tf

        low, high = (tf.constant(b, tf.float64) for b in (self.min, self.max))
        return tf.clip_by_value(x, low, high)


@dataclass(frozen=True, kw_only=True)
class Bucketize(Feature):
    """The index of the bucket of a number: 0 missing, 1 below the first edge, and so on.

    Edges are given, or are `buckets` - 1 equally spaced quantiles of the train split (equal ones
    merged). A value equal to an edge belongs to the bucket above it.
    """

    accepts = NUMBERS
    transform: Literal["bucketize"] = "bucketize"
    buckets: int | None = None
    edges: tuple[float, ...] | None = None

    def check(self) -> str | None:
        """Either edges or a number of buckets."""
        if (self.buckets is None) == (self.edges is None):
            return "give either `buckets` (quantiles of the train split) or `edges`"
        if self.buckets is not None and not 2 <= self.buckets <= 10_000:
            return f"buckets is {self.buckets}; it must be between 2 and 10000"
        if self.edges is not None and (not self.edges or list(self.edges) != sorted({*self.edges})):
            return f"edges {list(self.edges)} are not ascending"
        return None

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the edges, unless they are given."""
        if self.edges is not None:
            return self
        x = _distribution(columns, self.columns[0])
        shares = np.arange(1, cast(int, self.buckets)) / cast(int, self.buckets)
        return replace(self, edges=tuple(np.unique(x.quantile(shares)).tolist()))

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """One index; missing, and one more bucket than edges."""
        return (Engineered(self.name, len(self.edges or ()) + 2),)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """The bucket of each number; `[N] int32`."""
        x = cast(np.ndarray, raw[self.columns[0]])
        bucket = np.searchsorted(np.asarray(self.edges), x, side="right") + 1
        return {self.name: np.where(np.isnan(x), 0, bucket).astype(np.int32)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        x = raw[self.columns[0]]
        known = tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)
        bucket = tf.searchsorted(tf.constant(self.edges, tf.float64), known, side="right") + 1
        return {self.name: tf.where(tf.math.is_nan(x), tf.zeros_like(bucket), bucket)}


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Feature):
    """The rank of a value among the train split's most frequent ones.

    0 is missing, 1 to `oov_buckets` are unseen or rare values (by fingerprint when there are
    several), then the tokens, most frequent first, ties in byte order.
    """

    accepts = CODES
    fitted = ("tokens",)
    transform: Literal["vocabulary"] = "vocabulary"
    top_k: int = 10_000
    min_count: int = 1
    oov_buckets: int = 1
    tokens: tuple[str, ...] | None = None

    def check(self) -> str | None:
        """Counts must be positive."""
        for name in ("top_k", "min_count"):
            if (count := getattr(self, name)) < 1:
                return f"{name} is {count}; it must be at least 1"
        return _check_buckets("oov_buckets", self.oov_buckets, 1)

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the tokens from exact counts."""
        counts = _categories(columns, self.columns[0], self.types[0])
        return replace(self, tokens=tuple(t for t, _ in counts.top(self.top_k, self.min_count)))

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """One index: missing, out-of-vocabulary buckets, tokens."""
        return (Engineered(self.name, 1 + self.oov_buckets + len(self.tokens or ())),)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """The index of each value; `[N] int32`."""
        text = _text_numpy(raw[self.columns[0]])
        found = pc.index_in(text, pa.array(cast(Any, self.tokens), pa.string()))
        rank = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
        unseen: Any = 1
        if self.oov_buckets > 1:
            unseen = 1 + (fingerprint64(text) % np.uint64(self.oov_buckets)).astype(np.int32)
        index = np.where(rank < 0, unseen, rank + 1 + self.oov_buckets)
        return {self.name: np.where(_is_empty(text), 0, index).astype(np.int32)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        text = _text_tensor(raw[self.columns[0]])
        index = self.resources[0].lookup(text)
        unseen = 1 + tf.cast(tf.strings.to_hash_bucket_fast(text, self.oov_buckets), tf.int32)
        index = tf.where(index < 0, unseen, index)
        return {self.name: tf.where(text == "", tf.zeros_like(index), index)}

    @cached_property
    def resources(self) -> tuple[Any, ...]:
        """The lookup table from token to index."""
        import tensorflow as tf

        with tf.init_scope():
            tokens = tf.constant(self.tokens or ("",), tf.string)  # a table cannot be empty
            rank = tf.range(len(tokens), dtype=tf.int32) + 1 + self.oov_buckets
            initializer = tf.lookup.KeyValueTensorInitializer(tokens, rank)
            return (tf.lookup.StaticHashTable(initializer, -1),)


@dataclass(frozen=True, kw_only=True)
class Hash(Feature):
    """1 + fingerprint modulo `buckets`; 0 is missing."""

    accepts = CODES
    transform: Literal["hash"] = "hash"
    buckets: int

    def check(self) -> str | None:
        """At least two buckets."""
        return _check_buckets("buckets", self.buckets, 2)

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Nothing to fit."""
        return self

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """One index: missing, buckets."""
        return (Engineered(self.name, 1 + self.buckets),)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """The bucket of each value; `[N] int32`."""
        text = self._join_numpy([_text_numpy(raw[c]) for c in self.columns])
        bucket = 1 + (fingerprint64(text) % np.uint64(self.buckets)).astype(np.int32)
        return {self.name: np.where(_is_empty(text), 0, bucket).astype(np.int32)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        text = self._join_tensor([_text_tensor(raw[c]) for c in self.columns])
        bucket = 1 + tf.cast(tf.strings.to_hash_bucket_fast(text, self.buckets), tf.int32)
        return {self.name: tf.where(text == "", tf.zeros_like(bucket), bucket)}

    def _join_numpy(self, texts: list[pa.Array]) -> pa.Array:
        return texts[0]

    def _join_tensor(self, texts: list[tf.Tensor]) -> tf.Tensor:
        return texts[0]


@dataclass(frozen=True, kw_only=True)
class Cross(Hash):
    """The hash of several columns together, joined by the unit separator; never missing."""

    n_columns = (2, 8)
    transform: Literal["cross"] = "cross"  # type: ignore[assignment]

    def _join_numpy(self, texts: list[pa.Array]) -> pa.Array:
        return pc.binary_join_element_wise(*texts, "\x1f")

    def _join_tensor(self, texts: list[tf.Tensor]) -> tf.Tensor:
        import tensorflow as tf

        return tf.strings.join(texts, separator="\x1f")


Part = Literal["hour", "day_of_week", "month"]


@dataclass(frozen=True, kw_only=True)
class Cyclic(Feature):
    """Sine and cosine of a position in a cycle; (0, 0) is missing.

    Of a number: its position in `period`, counted from 0. Of a timestamp: the `part` in UTC, hour
    with minutes (0-24), day of the week (Monday is 0) or month (January is 0).
    """

    accepts = NUMBERS
    transform: Literal["cyclic"] = "cyclic"
    period: float | None = None
    part: Part | None = None

    def check(self) -> str | None:
        """A period for numbers, a part for times."""
        is_time = bool(self.types) and self.types[0] in TIMES
        if is_time and (self.part is None or self.period is not None):
            return "a time takes `part`: hour, day_of_week or month"
        if not is_time and (self.period is None or self.part is not None or self.period <= 0):
            return "a number takes `period`, the length of the cycle, above 0"
        return None

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Nothing to fit."""
        return self

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """Two numbers in [-1, 1]."""
        return (Engineered(f"{self.name}_sin"), Engineered(f"{self.name}_cos"))

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Sine and cosine; `[N] float32` each."""
        x = cast(np.ndarray, raw[self.columns[0]])
        known = np.isfinite(x)
        angle = self._turns(np.where(known, x, 0.0), np.floor) * (2 * np.pi)
        sine, cosine = (np.where(known, f(angle), 0.0) for f in (np.sin, np.cos))
        return self._named(sine.astype(np.float32), cosine.astype(np.float32))

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        x = raw[self.columns[0]]
        known, zero = tf.math.is_finite(x), tf.zeros_like(x)
        angle = self._turns(tf.where(known, x, zero), tf.floor) * (2 * np.pi)
        sine, cosine = (tf.where(known, f(angle), zero) for f in (tf.sin, tf.cos))
        return self._named(tf.cast(sine, tf.float32), tf.cast(cosine, tf.float32))

    def _named(self, sine: Any, cosine: Any) -> dict[str, Any]:
        return {f"{self.name}_sin": sine, f"{self.name}_cos": cosine}

    def _turns(self, x: Any, floor: Any) -> Any:
        """The share of the cycle in [0, 1); the same arithmetic in numpy and TensorFlow."""
        if self.part == "hour":
            x, period = x / 3600.0, 24.0
        elif self.part == "day_of_week":
            x, period = floor(x / 86_400.0) + 3.0, 7.0  # 1970-01-01 was a Thursday
        elif self.part == "month":
            x, period = _month(floor(x / 86_400.0), floor), 12.0
        else:
            period = cast(float, self.period)
        turns = x / period
        return turns - floor(turns)


def _month(day: Any, floor: Any) -> Any:
    """The month (January is 0) of a day since 1970-01-01; Hinnant's `civil_from_days`."""
    day = day + 719_468.0
    of_era = day - floor(day / 146_097.0) * 146_097.0
    leap = floor(of_era / 1_460.0) - floor(of_era / 36_524.0) + floor(of_era / 146_096.0)
    year = floor((of_era - leap) / 365.0)
    of_year = of_era - (365.0 * year + floor(year / 4.0) - floor(year / 100.0))
    from_march = floor((5.0 * of_year + 2.0) / 153.0)
    return from_march + 2.0 - 12.0 * floor((from_march + 2.0) / 12.0)


FEATURES: dict[str, type[Feature]] = {
    "standardize": Standardize,
    "log": Log,
    "clip": Clip,
    "bucketize": Bucketize,
    "vocabulary": Vocabulary,
    "hash": Hash,
    "cross": Cross,
    "cyclic": Cyclic,
}


def _check_buckets(name: str, count: int, least: int) -> str | None:
    if least <= count <= MAX_BUCKETS:
        return None
    return f"{name} is {count}; it must be between {least} and {MAX_BUCKETS}"


def _distribution(columns: Mapping[str, ColumnStatistics], name: str) -> Distribution:
    return cast(Distribution, columns[name])


def _categories(columns: Mapping[str, ColumnStatistics], name: str, type_: Type) -> Categories:
    counted = columns[name]
    if isinstance(counted, Categories):
        return counted
    if not counted.exact:
        raise TrainerError(
            f"column {name!r} has too many distinct numbers for a vocabulary; "
            f"declare it as string, not {type_}, or use transform: hash"
        )
    text = _text_numpy(counted.values)
    order = pc.sort_indices(text)
    return Categories(text.take(order), counted.counts[order.to_numpy()], counted.missing)


def _text_numpy(values: np.ndarray | pa.Array) -> pa.Array:
    """Strings as they are; whole numbers in decimal, NaN as ''."""
    if not isinstance(values, np.ndarray):
        return values
    known = np.isfinite(values)
    whole = np.where(known, values, 0.0).astype(np.int64)
    return pc.if_else(pa.array(known), pa.array(whole).cast(pa.string()), "")


def _text_tensor(values: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    if values.dtype == tf.string:
        return values
    known = tf.math.is_finite(values)
    whole = tf.cast(tf.where(known, values, tf.zeros_like(values)), tf.int64)
    return tf.where(known, tf.strings.as_string(whole), "")


def _is_empty(text: pa.Array) -> np.ndarray:
    return pc.equal(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
