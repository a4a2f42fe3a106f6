"""Transforms of categories: ranks, fingerprints, frequencies and bags of several values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..settings import TrainerError
from .base import (
    CODES,
    QUANTITY,
    Engineered,
    Feature,
    Raw,
    Tensors,
    Type,
    in_range,
    tensorflow_arithmetic,
)
from .fingerprint import distinct_rows, fingerprint64
from .statistics import Categories, ColumnStatistics

if TYPE_CHECKING:
    import tensorflow as tf

MAX_BUCKETS = 1 << 24  # an index is int32, and each has a row in an embedding
MAX_COLUMNS = 1024  # of one feature; each is a float32 of every row
_ROWS = 4096  # counted at once: what pieces of a text take lasts for so many rows alone


def rare(column: ColumnStatistics) -> int:
    """Returns how many rows of the train split a category needs to be one of its own.

    Train rows / 640, at least 3 and at most 100; of fewer than 300 rows, a hundredth of them. A
    rarer one has too few rows to learn from: merged into the unseen one it trains what new
    categories will meet. (Measured: docs/spec.md, rare categories.)
    """
    rows = column.count + column.missing
    return max(1, min(rows // 100, min(max(rows // 640, 3), 100)))


@dataclass(frozen=True, kw_only=True)
class Tokens(Feature):
    """Base of what knows the train split's most frequent texts, its tokens."""

    accepts = CODES
    fitted: ClassVar[tuple[str, ...]] = ("tokens",)

    tokens: tuple[str, ...] | None = None

    def text_numpy(self, raw: Raw) -> pa.Array:
        """The text of each row, '' where missing; `[N]` strings."""
        return text_numpy(raw[self.columns[0]])

    def text_tensor(self, raw: Tensors) -> tf.Tensor:
        """The same on tensors."""
        return text_tensor(raw[self.columns[0]])

    def counts(self, columns: Mapping[str, ColumnStatistics]) -> Categories:
        """The train split's texts with their rows."""
        return _categories(columns, self.counted, self.types[0])

    def rank_numpy(self, text: pa.Array) -> np.ndarray:
        """The rank of each text among the tokens, -1 where it is none; `[N] int32`."""
        found = pc.index_in(text, pa.array(cast(Any, self.tokens), pa.string()))
        return pc.fill_null(found, -1).to_numpy(zero_copy_only=False)

    def rank_tensor(self, text: tf.Tensor) -> tf.Tensor:
        """The same on tensors, but -2 where the text is missing."""
        return self.resources[0].lookup(text)

    @cached_property
    def resources(self) -> tuple[Any, ...]:
        """The lookup table from token to rank."""
        import tensorflow as tf

        with tf.init_scope():
            tokens = tf.constant(("", *(self.tokens or ())), tf.string)
            rank = tf.concat([[-2], tf.range(len(tokens) - 1)], axis=0)
            initializer = tf.lookup.KeyValueTensorInitializer(tokens, rank)
            return (tf.lookup.StaticHashTable(initializer, -1),)


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Tokens):
    """The rank of a value among the train split's most frequent ones.

    0 is missing, 1 to `oov_buckets` are unseen or rare values (by fingerprint when there are
    several), then the tokens, most frequent first, ties in byte order. Without `min_count`, a
    value is rare as `rare` says.
    """

    transform: Literal["vocabulary"] = "vocabulary"
    top_k: int = 10_000
    min_count: int | None = None
    oov_buckets: int = 1

    def check(self) -> str | None:
        """Counts must be positive."""
        return _check_tokens(self.top_k, self.min_count) or in_range(
            "oov_buckets", self.oov_buckets, 1, MAX_BUCKETS
        )

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the tokens from exact counts, and `min_count` unless it is given."""
        counts = self.counts(columns)
        least = rare(counts) if self.min_count is None else self.min_count
        tokens = tuple(t for t, _ in counts.top(self.top_k, least))
        return replace(self, min_count=least, tokens=tokens)

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """One index: missing, out-of-vocabulary buckets, tokens."""
        return (Engineered(self.name, 1 + self.oov_buckets + len(self.tokens or ())),)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """The index of each value; `[N] int32`."""
        text = self.text_numpy(raw)
        rank = self.rank_numpy(text)
        unseen: Any = 1
        if self.oov_buckets > 1:
            unseen = 1 + (fingerprint64(text) % np.uint64(self.oov_buckets)).astype(np.int32)
        index = np.where(rank < 0, unseen, rank + 1 + self.oov_buckets)
        return {self.name: np.where(is_empty(text), 0, index).astype(np.int32)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        text = self.text_tensor(raw)
        rank = self.rank_tensor(text)
        if self.oov_buckets == 1:  # missing is -2, unseen -1
            return {self.name: rank + 2}
        unseen = 1 + tf.cast(tf.strings.to_hash_bucket_fast(text, self.oov_buckets), tf.int32)
        index = tf.where(rank < 0, unseen, rank + 1 + self.oov_buckets)
        return {self.name: tf.where(text == "", tf.zeros_like(index), index)}


@dataclass(frozen=True, kw_only=True)
class Frequency(Tokens):
    """How frequent a value is in the train split: ln(1 + its rows), without a look at the label.

    Of the `top_k` most frequent values each has its own rows. Any other one has the mean rows of
    those left out, or 0 where none is. Missing is a value of its own, with the rows that it has.
    Standardized, then smoothly clipped to (-3, 3) as `robust` does: where all values are equally
    frequent, an unseen one would lie beyond all reach.
    """

    transform: Literal["frequency"] = "frequency"
    fitted = (*Tokens.fitted, "levels")
    top_k: int = 10_000
    levels: tuple[float, ...] = ()
    """Of missing, of other values, then of the tokens."""

    def check(self) -> str | None:
        """At least one token."""
        return _check_tokens(self.top_k, 1)

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the tokens and the number of each."""
        counts = self.counts(columns)
        top = counts.top(self.top_k)
        n_left = counts.count - sum(n for _, n in top)
        left = n_left / max(len(counts.values) - len(top), 1)
        each = np.array([counts.missing, left, *(n for _, n in top)], np.float64)
        weights = np.array([counts.missing, n_left, *(n for _, n in top)]) / (
            counts.count + counts.missing
        )
        levels = np.log1p(each)
        mean = float(np.sum(levels * weights))
        deviation = float(np.sqrt(np.sum((levels - mean) ** 2 * weights)))
        z = (levels - mean) / (deviation or 1.0)
        held = z / np.sqrt(1.0 + (z / 3.0) ** 2)
        return replace(self, tokens=tuple(t for t, _ in top), levels=tuple(held.tolist()))

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """The number of each value; `[N] float32`."""
        text = self.text_numpy(raw)
        index = np.where(is_empty(text), 0, self.rank_numpy(text) + 2)
        return {self.name: np.asarray(self.levels, np.float32)[index]}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        text = self.text_tensor(raw)
        index = tf.where(text == "", 0, self.rank_tensor(text) + 2)
        return {self.name: tf.gather(tf.constant(self.levels, tf.float32), index)}


@dataclass(frozen=True, kw_only=True)
class Hash(Feature):
    """1 + fingerprint modulo `buckets`; 0 is missing."""

    accepts = CODES
    transform: Literal["hash"] = "hash"
    buckets: int

    def check(self) -> str | None:
        """At least two buckets."""
        return in_range("buckets", self.buckets, 2, MAX_BUCKETS)

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Nothing to fit."""
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """One index: missing, buckets."""
        return (Engineered(self.name, 1 + self.buckets),)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """The bucket of each value; `[N] int32`."""
        rows, columns = distinct_rows([pa.array(raw[c]) for c in self.columns])
        text = self._join_numpy([text_numpy(_as_raw(c)) for c in columns])
        bucket = 1 + (fingerprint64(text) % np.uint64(self.buckets)).astype(np.int32)
        return {self.name: np.where(is_empty(text), 0, bucket).astype(np.int32)[rows]}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        text = self._join_tensor([text_tensor(raw[c]) for c in self.columns])
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


@dataclass(frozen=True, kw_only=True)
class Counted(Feature):
    """Base of what counts the pieces of a text by bucket: ln(1 + pieces), a column a bucket."""

    accepts = frozenset({"string"})

    @property
    @abstractmethod
    def n_buckets(self) -> int:
        """The number of buckets; before the fit, as many as there may be."""

    @abstractmethod
    def buckets_numpy(self, text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """The row and the bucket of each piece, `[P] int64` each."""

    @abstractmethod
    def buckets_tensor(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same on tensors."""

    def level(self, counts: Any, xp: Any) -> Any:
        """What stands for a number of pieces, `float64`."""
        return xp.log1p(counts)

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """`<name>_0` and so on, a number a bucket."""
        return tuple(Engineered(f"{self.name}_{i}") for i in range(self.n_buckets))

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """What stands for the pieces in each bucket; `[N] float32` each."""
        text = raw[self.columns[0]]
        levels = np.empty((self.n_buckets, len(text)), np.float32)
        for first in range(0, len(text), _ROWS):
            part = text[first : first + _ROWS]
            row, bucket = self.buckets_numpy(part)
            cells = (self.n_buckets, len(part))
            counts = np.bincount(bucket * len(part) + row, minlength=cells[0] * cells[1])
            level = self.level(counts.astype(np.float64), np)
            levels[:, first : first + _ROWS] = level.reshape(cells)
        return {o.name: levels[i] for i, o in enumerate(self.outputs)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        text = raw[self.columns[0]]
        (row, bucket), n_rows = self.buckets_tensor(text), tf.size(text, tf.int64)
        cell, n_cells = bucket * n_rows + row, self.n_buckets * n_rows
        counts = tf.math.unsorted_segment_sum(tf.ones_like(cell, tf.float64), cell, n_cells)
        levels = self.level(tf.reshape(counts, [self.n_buckets, n_rows]), tensorflow_arithmetic())
        columns = tf.unstack(tf.cast(levels, tf.float32), self.n_buckets)
        return {o.name: column for o, column in zip(self.outputs, columns, strict=True)}


@dataclass(frozen=True, kw_only=True)
class Bag(Counted, Tokens):
    """Several values in one text, cut at `separator`: 1 in the column of each that it holds.

    The columns are the train split's `top_k` most frequent values by frequency, then one for
    unseen and rare ones; `min_count` is that of a vocabulary. With `buckets` nothing is fitted: the
    columns hold ln(1 + values of that fingerprint modulo `buckets`). White space around a value is
    cut off. A missing or empty bag is 0 everywhere.
    """

    accepts = Counted.accepts
    transform: Literal["bag"] = "bag"
    separator: str = "|"
    top_k: int = 32
    min_count: int | None = None
    buckets: int | None = None

    def check(self) -> str | None:
        """A separator, and a bounded number of columns."""
        if not self.separator:
            return "separator is empty; give the text that stands between two values, as '|'"
        if self.buckets is not None:
            return in_range("buckets", self.buckets, 2, MAX_COLUMNS)
        return in_range("top_k", self.top_k, 1, MAX_COLUMNS) or _check_tokens(1, self.min_count)

    @property
    def counted(self) -> str:
        """A name of its own: a row may hold several values."""
        return QUANTITY + self.name

    def quantities(self, raw: Raw) -> dict[str, Any]:
        """The values of all rows, unless they are hashed."""
        if self.buckets is not None:
            return {}
        return {self.counted: self._pieces(raw[self.columns[0]])[1]}

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the tokens, unless values are hashed."""
        if self.buckets is not None:
            return self
        rows = columns[self.columns[0]]
        least = rare(rows) if self.min_count is None else self.min_count
        tokens = tuple(t for t, _ in self.counts(columns).top(self.top_k, least))
        return replace(self, min_count=least, tokens=tokens)

    @property
    def n_buckets(self) -> int:
        """A bucket a token, and one for all other values; or the given ones."""
        n_tokens = self.top_k if self.tokens is None else len(self.tokens)
        return self.buckets if self.buckets is not None else n_tokens + 1

    def level(self, counts: Any, xp: Any) -> Any:
        """1 for any number of the same value; the logarithm where values share a bucket."""
        return super().level(counts, xp) if self.buckets is not None else xp.minimum(counts, 1.0)

    def buckets_numpy(self, text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """The row and the bucket of each value."""
        row, pieces = self._pieces(text)
        if self.buckets is not None:
            return row, (fingerprint64(pieces) % np.uint64(self.buckets)).astype(np.int64)
        rank = self.rank_numpy(pieces)
        return row, np.where(rank < 0, self.n_buckets - 1, rank).astype(np.int64)

    def buckets_tensor(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        cut = tf.strings.split(text, self.separator)
        pieces, row = tf.strings.strip(cut.flat_values), cut.value_rowids()
        row, pieces = (tf.boolean_mask(part, pieces != "") for part in (row, pieces))
        if self.buckets is not None:
            return row, tf.strings.to_hash_bucket_fast(pieces, self.buckets)
        rank = self.rank_tensor(pieces)
        return row, tf.cast(tf.where(rank < 0, self.n_buckets - 1, rank), tf.int64)

    def _pieces(self, text: Any) -> tuple[np.ndarray, pa.Array]:
        """The row and the text of each value, `[P]` each."""
        cut = pc.split_pattern(text, self.separator)
        pieces, row = pc.ascii_trim_whitespace(cut.flatten()), pc.list_parent_indices(cut)
        held = ~is_empty(pieces)
        return row.to_numpy()[held], pieces.filter(pa.array(held))


def _check_tokens(top_k: int, min_count: int | None) -> str | None:
    for name, count in (("top_k", top_k), ("min_count", min_count)):
        if count is not None and count < 1:
            return f"{name} is {count}; it must be at least 1"
    return None


def _categories(columns: Mapping[str, ColumnStatistics], name: str, type_: Type) -> Categories:
    counted = columns[name]
    if isinstance(counted, Categories):
        return counted
    if not counted.exact:
        raise TrainerError(
            f"column {name!r} has too many distinct numbers for a vocabulary; "
            f"declare it as string, not {type_}, or use transform: hash"
        )
    text = text_numpy(counted.values)
    order = pc.sort_indices(text)
    return Categories(text.take(order), counted.counts[order.to_numpy()], counted.missing)


def _as_raw(values: pa.Array) -> np.ndarray | pa.Array:
    """Numbers as `raw_inputs` gives them; texts as they are."""
    return values.to_numpy(zero_copy_only=False) if pa.types.is_floating(values.type) else values


def text_numpy(values: np.ndarray | pa.Array) -> pa.Array:
    """Strings as they are; whole numbers in decimal, NaN as ''."""
    if not isinstance(values, np.ndarray):
        return values
    known = np.isfinite(values)
    whole = np.where(known, values, 0.0).astype(np.int64)
    return pc.if_else(pa.array(known), pa.array(whole).cast(pa.string()), "")


def text_tensor(values: tf.Tensor) -> tf.Tensor:
    """The same on tensors."""
    import tensorflow as tf

    if values.dtype == tf.string:
        return values
    known = tf.math.is_finite(values)
    whole = tf.cast(tf.where(known, values, tf.zeros_like(values)), tf.int64)
    return tf.where(known, tf.strings.as_string(whole), "")


def is_empty(text: pa.Array) -> np.ndarray:
    """Whether each text is missing, `[N] bool`."""
    return pc.equal(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
