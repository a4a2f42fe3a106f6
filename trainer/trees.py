"""Boosted trees as arrays: the leaf of every tree that a row falls into, found with bits.

A tree has up to 32 leaves, numbered from the left, and a word with a bit for each. A node that
sends a row to the right clears the bits of the leaves on its left; the lowest bit that no node
cleared is the row's leaf (QuickScorer; Lucchese et al., SIGIR 2015). What the nodes of a column
clear depends on the column's value alone, by its *level*: the interval between two thresholds of a
number, the group of an index. So there is a table of words by level and tree, and a row costs one
lookup and one AND for each column and tree, however deep the trees are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

LEAVES = 32
"""The bits of a word, so the most leaves of a tree."""
_CHUNK_WORDS = 2**16
"""Words of one column that are looked up at once: with their sum they stay in a core's cache."""


@dataclass(frozen=True)
class Node:
    """An inner node of a tree.

    Attributes:
        column: Its place: of the numbers `[F]` first, then of the indices `[K]`.
        threshold: A number goes left when it is at most this; None for an index.
        left: An index goes left when it is one of these; any other, seen or not, goes right.
        missing_left: Whether a number that is NaN goes left.
        cleared: The bits of the leaves on the left.
    """

    column: int
    cleared: int
    threshold: float | None = None
    missing_left: bool = False
    left: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of trees for each unit of the output; T trees, of which tree t adds to t % units.

    Attributes:
        thresholds: Of each number, `[F, L] float32`, ascending, filled up with infinity.
        first: `[F] int32`: the level of a number that is NaN; the next is below all thresholds.
        levels: `[sum of cardinalities] int32`: the level of every value of every index column.
        starts: `[K] int32`: where an index column begins in `levels`.
        asked: Places of the columns that some node asks, as in `Node.column`.
        words: `[levels, T] int32`: the bits that a level leaves in each tree.
        leaves: `[T, 32] float32`.
        units: Width of the output.
    """

    thresholds: np.ndarray
    first: np.ndarray
    levels: np.ndarray
    starts: np.ndarray
    asked: tuple[int, ...]
    words: np.ndarray
    leaves: np.ndarray
    units: int

    @classmethod
    def of(
        cls,
        trees: Sequence[tuple[Sequence[Node], Sequence[float]]],
        n_numbers: int,
        cardinalities: Sequence[int],
        units: int,
    ) -> Trees:
        """Builds the tables.

        Args:
            trees: The nodes of each tree, and the values of its leaves from the left.
            n_numbers: How many columns are numbers.
            cardinalities: Of each index column.
            units: Width of the output; divides the number of trees.
        """
        leaves = np.zeros((len(trees), LEAVES), np.float32)
        nodes: list[_Asked] = [[] for _ in range(n_numbers + len(cardinalities))]
        for t, (inner, values) in enumerate(trees):
            leaves[t, : len(values)] = values
            for node in inner:
                nodes[node.column].append((t, node))
        numbers = [_number_table(asked, len(trees)) for asked in nodes[:n_numbers]]
        indices = [
            _index_table(asked, size, len(trees))
            for asked, size in zip(nodes[n_numbers:], cardinalities, strict=True)
        ]
        words = [table for _, table in (*numbers, *indices)]
        first = np.cumsum([0, *map(len, words)])[:-1].astype(np.int32)
        thresholds = np.full(
            (n_numbers, max([1, *(len(found) for found, _ in numbers)])), np.inf, np.float32
        )
        for row, (found, _) in zip(thresholds, numbers, strict=True):
            row[: len(found)] = found
        levels = [f + group for f, (group, _) in zip(first[n_numbers:], indices, strict=True)]
        return cls(
            thresholds,
            first[:n_numbers],
            np.concatenate([np.zeros(0, np.int32), *levels]),
            np.cumsum([0, *cardinalities])[:-1].astype(np.int32),
            tuple(place for place, asked in enumerate(nodes) if asked),
            np.concatenate(words).view(np.int32),
            leaves,
            units,
        )

    @property
    def rounds(self) -> int:
        """Trees of each unit."""
        return len(self.leaves) // self.units

    def numpy(self, numbers: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Returns the sums of the leaves, `[N, units] float32`, added up in float64.

        Args:
            numbers: `[N, F] float32`.
            indices: `[N, K] int32`, each below its column's cardinality.
        """
        interval = [
            np.searchsorted(known, x) for known, x in zip(self.thresholds, numbers.T, strict=True)
        ]
        levels = [
            f + np.where(np.isnan(x), 0, 1 + i)
            for f, x, i in zip(self.first, numbers.T, interval, strict=True)
        ]
        levels += list(self.levels[indices + self.starts].T)
        words = np.full((len(numbers), len(self.leaves)), -1, np.int32)
        for place in self.asked:
            words &= self.words[levels[place]]
        lowest = (words & -words).view(np.uint32)
        leaf = np.log2(lowest, dtype=np.float64).astype(np.int64)  # exact: a power of two
        values = self.leaves[np.arange(len(self.leaves)), leaf]
        by_unit = values.reshape(len(numbers), -1, self.units)
        return by_unit.sum(axis=1, dtype=np.float64).astype(np.float32)

    def variables(self) -> list[tf.Variable]:
        """Returns what `tensor` reads: levels, words and leaves, so that graphs can share them.

        Two trees' words are one int64: an AND of them takes half the time.
        """
        import tensorflow as tf

        odd = len(self.leaves) % 2
        pairs = np.pad(self.words, [(0, 0), (0, odd)], constant_values=-1).view(np.int64)
        tables = (self.levels, pairs, self.leaves.reshape(-1))
        return [tf.Variable(table, trainable=False) for table in tables]

    def tensor(
        self, numbers: tf.Tensor, indices: tf.Tensor, variables: Sequence[tf.Tensor]
    ) -> tf.Tensor:
        """The same on tensors, added up in float32: `[B, units]`."""
        import tensorflow as tf

        groups, words, leaves = (tf.convert_to_tensor(variable) for variable in variables)
        levels = self._levels(numbers, indices, groups)
        rows, n_trees = tf.shape(levels)[1], len(self.leaves)
        size = tf.clip_by_value(rows, 1, max(1, _CHUNK_WORDS // n_trees))
        chunks = tf.maximum(1, -(-rows // size))  # no rows are one chunk of filling
        padded = tf.pad(levels, [[0, 0], [0, chunks * size - rows]])
        chunked = tf.transpose(tf.reshape(padded, [len(self.asked), chunks, size]), [1, 0, 2])
        places = LEAVES * tf.range(n_trees) - 1
        pairs = -(-n_trees // 2)

        def add(chunk: tf.Tensor) -> tf.Tensor:
            left = tf.fill([size, pairs], tf.constant(-1, tf.int64))
            for column in range(len(self.asked)):
                left = tf.bitwise.bitwise_and(left, tf.gather(words, chunk[column]))
            bits = tf.reshape(tf.bitcast(left, tf.int32), [size, 2 * pairs])[:, :n_trees]
            up_to_lowest = tf.bitwise.bitwise_xor(bits, bits - 1)
            leaf = tf.cast(tf.raw_ops.PopulationCount(x=up_to_lowest), tf.int32)
            values = tf.gather(leaves, leaf + places)
            return tf.reduce_sum(tf.reshape(values, [size, -1, self.units]), axis=1)

        spec = tf.TensorSpec([None, self.units], tf.float32)
        sums = tf.map_fn(add, chunked, parallel_iterations=1, fn_output_signature=spec)
        return tf.reshape(sums, [-1, self.units])[:rows]

    def _levels(self, numbers: tf.Tensor, indices: tf.Tensor, groups: tf.Tensor) -> tf.Tensor:
        """Returns the level of each asked column, `[asked, B] int32`."""
        import tensorflow as tf

        x = tf.transpose(numbers)
        interval = tf.searchsorted(tf.constant(self.thresholds), x, out_type=tf.int32)
        level = tf.where(tf.math.is_nan(x), 0, 1 + interval) + self.first[:, None]
        group = tf.gather(groups, indices + self.starts)
        levels = tf.concat([level, tf.transpose(group)], axis=0)
        return tf.gather(levels, tf.constant(self.asked, tf.int32))


_Asked = list[tuple[int, Node]]
"""The nodes that ask a column, each with its tree."""


def _number_table(asked: _Asked, n_trees: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the thresholds `[L] float32` and the words `[2 + L, T] uint32`; NaN's come first."""
    # The greatest float32 that is not above: it parts the float32 numbers as the float64 does.
    exact = np.array([node.threshold for _, node in asked], np.float64)
    near = exact.astype(np.float32)
    below = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
    thresholds = np.unique(below)
    words = np.full((2 + len(thresholds), n_trees), 2**LEAVES - 1, np.uint32)
    for (tree, node), place in zip(asked, np.searchsorted(thresholds, below), strict=True):
        kept = np.uint32(2**LEAVES - 1 - node.cleared)
        words[place + 2 :, tree] &= kept
        if not node.missing_left:
            words[0, tree] &= kept
    return thresholds, words


def _index_table(asked: _Asked, cardinality: int, n_trees: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the group of each index `[cardinality] int32` and the words `[groups, T] uint32`.

    Indices that no node sends left are group 0, each other one is a group of its own.
    """
    named = sorted({index for _, node in asked for index in node.left})
    groups = np.zeros(cardinality, np.int32)
    groups[named] = np.arange(1, len(named) + 1)
    words = np.full((1 + len(named), n_trees), 2**LEAVES - 1, np.uint32)
    for tree, node in asked:
        right = np.ones(len(words), bool)
        right[groups[list(node.left)]] = False
        words[right, tree] &= np.uint32(2**LEAVES - 1 - node.cleared)
    return groups, words
