"""Transforms of categories: ranks, hashes, frequencies, and bags of several values."""

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

MAX_BUCKETS = 1 << 24
"""Most buckets of a hash: each has a row in an embedding, 512 MiB of float32 at a width of 8."""
MAX_COLUMNS = 1024
"""Most columns of a feature: each holds a float32 of every row."""
ROWS = 4096  # rows whose pieces are counted at a time, so that their arrays stay small


def rare(column: ColumnStatistics) -> int:
    """Returns the fewest rows of the train split that give a category its own index.

    They are 3; below 300 train rows they are n / 100 of n. A rarer category has too few rows to
    learn from. Merged with all that are unseen, it trains what new categories will use. A model
    decides for itself how far it trusts those of few rows (`trainer.levels`).
    """
    return max(1, min(_rows_of(column) // 100, 3))


def least_rows(rows: int) -> int:
    """Returns the rows from which a category is trusted to stand for itself.

    They are n / 640 of n train rows, but at least 3 and at most 100; below 300 train rows they are
    n / 100. Without it, a network on flights with what is known before departure had its best
    validation loss after two epochs.
    """
    return max(1, min(rows // 100, min(max(rows // 640, 3), 100)))


def _rows_of(column: ColumnStatistics) -> int:
    return column.count + column.missing


@dataclass(frozen=True, kw_only=True)
class Tokens(Feature):
    """Base of the transforms that know the train split's most frequent texts, the tokens.

    Attributes:
        tokens: Most frequent first, ties in byte order; None before the fit.
    """

    accepts = CODES
    fitted: ClassVar[tuple[str, ...]] = ("tokens",)

    tokens: tuple[str, ...] | None = None

    def text_numpy(self, raw: Raw) -> pa.Array:
        """Returns the text of each row, '' where missing; `[N]` strings."""
        return text_numpy(raw[self.columns[0]])

    def text_tensor(self, raw: Tensors) -> tf.Tensor:
        """Does the same with tensors."""
        return text_tensor(raw[self.columns[0]])

    def counts(self, columns: Mapping[str, ColumnStatistics]) -> Categories:
        """Returns the texts of the train split, with the rows of each."""
        return _categories(columns, self.statistics_name, self.types[0])

    def rank_numpy(self, text: pa.Array) -> np.ndarray:
        """Returns the rank of each text among the tokens, -1 if it is not one; `[N] int32`."""
        rank = pc.index_in(text, pa.array(cast(Any, self.tokens), pa.string()))
        return pc.fill_null(rank, -1).to_numpy(zero_copy_only=False)

    def rank_tensor(self, text: tf.Tensor) -> tf.Tensor:
        """Does the same with tensors, except that the rank of a missing text is -2.

        One lookup then serves for both, which saves a comparison of strings a row.
        """
        return self.resources[0].lookup(text)

    @cached_property
    def resources(self) -> tuple[Any, ...]:
        """The lookup table from token to rank."""
        import tensorflow as tf

        with tf.init_scope():  # the table belongs to the exported module, not to one of its graphs
            tokens = tf.constant(("", *(self.tokens or ())), tf.string)
            rank = tf.concat([[-2], tf.range(len(tokens) - 1)], axis=0)
            initializer = tf.lookup.KeyValueTensorInitializer(tokens, rank)
            return (tf.lookup.StaticHashTable(initializer, -1),)


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Tokens):
    """An index by rank among the most frequent values of the train split.

    Index 0 is a missing value; 1 to `oov_buckets` are unseen or rare values, by fingerprint if
    there are several buckets; then come up to `top_k` tokens, most frequent first, ties in byte
    order. A value is rare below `min_count` rows, or those that `rare` returns.
    """

    transform: Literal["vocabulary"] = "vocabulary"
    top_k: int = 10_000
    min_count: int | None = None
    oov_buckets: int = 1

    def check(self) -> str | None:
        """Checks that all counts are positive."""
        return _check_tokens(self.top_k, self.min_count) or in_range(
            "oov_buckets", self.oov_buckets, 1, MAX_BUCKETS
        )

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the tokens, and `min_count` unless the spec sets it."""
        counts = self.counts(columns)
        least = rare(counts) if self.min_count is None else self.min_count
        tokens = tuple(t for t, _ in counts.top(self.top_k, least))
        return replace(self, min_count=least, tokens=tokens)

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """One index, over missing, the out-of-vocabulary buckets and the tokens."""
        return (Engineered(self.name, 1 + self.oov_buckets + len(self.tokens or ())),)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Returns the index of each value, `[N] int32`."""
        text = self.text_numpy(raw)
        rank = self.rank_numpy(text)
        unseen: Any = 1
        if self.oov_buckets > 1:
            unseen = 1 + (fingerprint64(text) % np.uint64(self.oov_buckets)).astype(np.int32)
        index = np.where(rank < 0, unseen, rank + 1 + self.oov_buckets)
        return {self.name: np.where(is_empty(text), 0, index).astype(np.int32)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same with tensors."""
        import tensorflow as tf

        text = self.text_tensor(raw)
        rank = self.rank_tensor(text)
        if self.oov_buckets == 1:  # the rank of missing is -2, of unseen -1
            return {self.name: rank + 2}
        unseen = 1 + tf.cast(tf.strings.to_hash_bucket_fast(text, self.oov_buckets), tf.int32)
        index = tf.where(rank < 0, unseen, rank + 1 + self.oov_buckets)
        return {self.name: tf.where(text == "", tf.zeros_like(index), index)}


@dataclass(frozen=True, kw_only=True)
class Frequency(Tokens):
    """How frequent a value is in the train split: ln(1 + its rows), without using the label.

    Each of the `top_k` most frequent values has its own number of rows. Any other value has the
    mean number of rows of the values beyond `top_k`, or 0 if there are none. Missing counts as a
    value. The logarithm is standardized, then smoothly clipped to (-3, 3) as in `robust`: where all
    values are equally frequent, an unseen value would otherwise lie many deviations away.
    """

    transform: Literal["frequency"] = "frequency"
    fitted = (*Tokens.fitted, "levels")
    top_k: int = 10_000
    levels: tuple[float, ...] = ()
    """The number for missing, for other values, then for each token."""

    def check(self) -> str | None:
        """Checks that there is at least one token."""
        return _check_tokens(self.top_k, 1)

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the tokens and the number of each."""
        counts = self.counts(columns)
        top = counts.top(self.top_k)
        n_other = counts.count - sum(n for _, n in top)
        mean_other = n_other / max(len(counts.values) - len(top), 1)
        rows = np.array([counts.missing, mean_other, *(n for _, n in top)], np.float64)
        weights = np.array([counts.missing, n_other, *(n for _, n in top)]) / (
            counts.count + counts.missing
        )
        levels = np.log1p(rows)
        mean = float(np.sum(levels * weights))
        deviation = float(np.sqrt(np.sum((levels - mean) ** 2 * weights)))
        z = (levels - mean) / (deviation or 1.0)
        clipped = z / np.sqrt(1.0 + (z / 3.0) ** 2)
        return replace(self, tokens=tuple(t for t, _ in top), levels=tuple(clipped.tolist()))

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Returns the number of each value, `[N] float32`."""
        text = self.text_numpy(raw)
        index = np.where(is_empty(text), 0, self.rank_numpy(text) + 2)
        return {self.name: np.asarray(self.levels, np.float32)[index]}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same with tensors."""
        import tensorflow as tf

        text = self.text_tensor(raw)
        index = tf.where(text == "", 0, self.rank_tensor(text) + 2)
        return {self.name: tf.gather(tf.constant(self.levels, tf.float32), index)}


@dataclass(frozen=True, kw_only=True)
class Hash(Feature):
    """An index by hash: 1 + fingerprint modulo `buckets`, or 0 where missing."""

    accepts = CODES
    transform: Literal["hash"] = "hash"
    buckets: int

    def check(self) -> str | None:
        """Checks for at least two buckets."""
        return in_range("buckets", self.buckets, 2, MAX_BUCKETS)

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Returns the feature as it is: nothing is fitted."""
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """No statistics."""
        return ()

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """One index, over missing and the buckets."""
        return (Engineered(self.name, 1 + self.buckets),)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Returns the bucket of each value, `[N] int32`."""
        rows, columns = distinct_rows([pa.array(raw[c]) for c in self.columns])
        text = self._join_numpy([text_numpy(_as_raw(c)) for c in columns])
        bucket = 1 + (fingerprint64(text) % np.uint64(self.buckets)).astype(np.int32)
        return {self.name: np.where(is_empty(text), 0, bucket).astype(np.int32)[rows]}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same with tensors."""
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
    """The hash of several columns, joined by ASCII's unit separator; never missing.

    A missing column enters as ''; the separator keeps ('a', '') apart from ('', 'a').
    """

    n_columns = (2, 8)
    transform: Literal["cross"] = "cross"  # type: ignore[assignment]

    def _join_numpy(self, texts: list[pa.Array]) -> pa.Array:
        return pc.binary_join_element_wise(*texts, "\x1f")

    def _join_tensor(self, texts: list[tf.Tensor]) -> tf.Tensor:
        import tensorflow as tf

        return tf.strings.join(texts, separator="\x1f")


@dataclass(frozen=True, kw_only=True)
class PieceCounts(Feature):
    """Base of the transforms that count pieces of a text: ln(1 + n) of each bucket, as columns."""

    accepts = frozenset({"string"})

    @property
    @abstractmethod
    def n_buckets(self) -> int:
        """The number of buckets; before the fit, the most that there may be."""

    @abstractmethod
    def buckets_numpy(self, text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Returns the row and the bucket of each piece, `[P] int64` each."""

    @abstractmethod
    def buckets_tensor(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Does the same with tensors."""

    def level(self, counts: Any, xp: Any) -> Any:
        """Returns the number for each count of pieces, `float64`."""
        return xp.log1p(counts)

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """`<name>_0` and so on, a number a bucket."""
        return tuple(Engineered(f"{self.name}_{i}") for i in range(self.n_buckets))

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Returns the number of each bucket, `[N] float32` each."""
        text = raw[self.columns[0]]
        levels = np.empty((self.n_buckets, len(text)), np.float32)
        for first in range(0, len(text), ROWS):
            part = text[first : first + ROWS]
            row, bucket = self.buckets_numpy(part)
            cells = (self.n_buckets, len(part))
            counts = np.bincount(bucket * len(part) + row, minlength=cells[0] * cells[1])
            level = self.level(counts.astype(np.float64), np)
            levels[:, first : first + ROWS] = level.reshape(cells)
        return {o.name: levels[i] for i, o in enumerate(self.outputs)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same with tensors."""
        import tensorflow as tf

        text = raw[self.columns[0]]
        (row, bucket), n_rows = self.buckets_tensor(text), tf.size(text, tf.int64)
        cell, n_cells = bucket * n_rows + row, self.n_buckets * n_rows
        counts = tf.math.unsorted_segment_sum(tf.ones_like(cell, tf.float64), cell, n_cells)
        levels = self.level(tf.reshape(counts, [self.n_buckets, n_rows]), tensorflow_arithmetic())
        columns = tf.unstack(tf.cast(levels, tf.float32), self.n_buckets)
        return {o.name: column for o, column in zip(self.outputs, columns, strict=True)}


@dataclass(frozen=True, kw_only=True)
class Bag(PieceCounts, Tokens):
    """Several values in one text, such as 'drama|comedy': 1 in the column of each value, else 0.

    The text is cut at `separator`, and blanks around a value are cut off. The columns are the
    `top_k` most frequent values of the train split, most frequent first, then one column for unseen
    and rare values; `min_count` means the same as in a vocabulary. With `buckets` nothing is
    fitted: each column holds ln(1 + n) of the values whose fingerprint modulo `buckets` is its
    number. All columns are 0 where the text is missing or holds no value.
    """

    accepts = PieceCounts.accepts
    transform: Literal["bag"] = "bag"
    separator: str = "|"
    top_k: int = 32
    min_count: int | None = None
    buckets: int | None = None

    def check(self) -> str | None:
        """Checks the separator and the number of columns."""
        if not self.separator:
            return "separator is empty; give the text that stands between two values, as '|'"
        if self.buckets is not None:
            return in_range("buckets", self.buckets, 2, MAX_COLUMNS)
        return in_range("top_k", self.top_k, 1, MAX_COLUMNS) or _check_tokens(1, self.min_count)

    @property
    def statistics_name(self) -> str:
        """Name of the statistics of the values; a row may hold several values."""
        return QUANTITY + self.name

    def quantities(self, raw: Raw) -> dict[str, Any]:
        """Returns the values of all rows, to be counted, unless they are hashed."""
        if self.buckets is not None:
            return {}
        return {self.statistics_name: self._pieces(raw[self.columns[0]])[1]}

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the tokens, unless the values are hashed."""
        if self.buckets is not None:
            return self
        least = self.min_count
        if least is None:  # each is a column, so few are worth it
            least = least_rows(_rows_of(columns[self.columns[0]]))
        tokens = tuple(t for t, _ in self.counts(columns).top(self.top_k, least))
        return replace(self, min_count=least, tokens=tokens)

    @property
    def n_buckets(self) -> int:
        """A bucket a token and one for all other values, or `buckets`."""
        n_tokens = self.top_k if self.tokens is None else len(self.tokens)
        return self.buckets if self.buckets is not None else n_tokens + 1

    def level(self, counts: Any, xp: Any) -> Any:
        """Returns 1 for one or more of the same value; ln(1 + n) where values share a bucket."""
        return super().level(counts, xp) if self.buckets is not None else xp.minimum(counts, 1.0)

    def buckets_numpy(self, text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Returns the row and the bucket of each value, `[P] int64` each."""
        row, pieces = self._pieces(text)
        if self.buckets is not None:
            return row, (fingerprint64(pieces) % np.uint64(self.buckets)).astype(np.int64)
        rank = self.rank_numpy(pieces)
        return row, np.where(rank < 0, self.n_buckets - 1, rank).astype(np.int64)

    def buckets_tensor(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Does the same with tensors."""
        import tensorflow as tf

        values = tf.strings.split(text, self.separator)
        pieces, row = tf.strings.strip(values.flat_values), values.value_rowids()
        row, pieces = (tf.boolean_mask(part, pieces != "") for part in (row, pieces))
        if self.buckets is not None:
            return row, tf.strings.to_hash_bucket_fast(pieces, self.buckets)
        rank = self.rank_tensor(pieces)
        return row, tf.cast(tf.where(rank < 0, self.n_buckets - 1, rank), tf.int64)

    def _pieces(self, text: Any) -> tuple[np.ndarray, pa.Array]:
        """Returns the row and the text of each value that is not empty, `[P]` each."""
        values = pc.split_pattern(text, self.separator)
        pieces, row = pc.ascii_trim_whitespace(values.flatten()), pc.list_parent_indices(values)
        is_value = ~is_empty(pieces)
        return row.to_numpy()[is_value], pieces.filter(pa.array(is_value))


def _check_tokens(top_k: int, min_count: int | None) -> str | None:
    for name, count in (("top_k", top_k), ("min_count", min_count)):
        if count is not None and count < 1:
            return f"{name} is {count}; it must be at least 1"
    return None


def _categories(columns: Mapping[str, ColumnStatistics], name: str, type_: Type) -> Categories:
    """Returns the categories of a column; whole numbers become decimal texts.

    Raises:
        TrainerError: The column has more distinct numbers than are counted one by one.
    """
    statistics = columns[name]
    if isinstance(statistics, Categories):
        return statistics
    if not statistics.exact:
        raise TrainerError(
            f"column {name!r} has too many distinct numbers for a vocabulary; "
            f"declare it as string, not {type_}, or use transform: hash"
        )
    text = text_numpy(statistics.values)
    order = pc.sort_indices(text)
    return Categories(text.take(order), statistics.counts[order.to_numpy()], statistics.missing)


def _as_raw(values: pa.Array) -> np.ndarray | pa.Array:
    """Returns a column in the form of `raw_inputs`: numbers as numpy, texts as Arrow."""
    return values.to_numpy(zero_copy_only=False) if pa.types.is_floating(values.type) else values


def text_numpy(values: np.ndarray | pa.Array) -> pa.Array:
    """Returns values as text, `[N]` strings: whole numbers in decimal, NaN as ''.

    Args:
        values: `[N]` strings, which stay as they are, or `[N] float64`.
    """
    if not isinstance(values, np.ndarray):
        return values
    known = np.isfinite(values)
    whole = np.where(known, values, 0.0).astype(np.int64)
    return pc.if_else(pa.array(known), pa.array(whole).cast(pa.string()), "")


def text_tensor(values: tf.Tensor) -> tf.Tensor:
    """Does the same with tensors."""
    import tensorflow as tf

    if values.dtype == tf.string:
        return values
    known = tf.math.is_finite(values)
    whole = tf.cast(tf.where(known, values, tf.zeros_like(values)), tf.int64)
    return tf.where(known, tf.strings.as_string(whole), "")


def is_empty(text: pa.Array) -> np.ndarray:
    """Returns whether each text is '', `[N] bool`."""
    return pc.equal(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
