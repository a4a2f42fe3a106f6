"""Boosted trees as arrays: the leaf of every tree that a row falls into, found with bits.

A tree has up to 32 leaves, numbered from the left, and a word with a bit for each. A node that
sends a row to the right clears the bits of the leaves on its left; the lowest bit that no node
cleared is the row's leaf (QuickScorer; Lucchese et al., SIGIR 2015). What the nodes of a column
clear depends on the column's value alone, by its *level*: the interval between two thresholds of a
number, the group of an index. So there is a table of words by level and tree, and a row costs one
lookup and one AND for each table and tree, however deep the trees are. Columns of few levels share
a table, which has a row of words for each combination of their levels.
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
_SHARED_WORDS = 2**17
"""The most words of a table that columns share: half of a small core's cache."""
_PAIRS = 256 // LEAVES
"""Pairs of trees whose sums stand side by side, 256 for each leaf of the second of a pair."""


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
        strides: `[F] int32`: how far apart in a table the next two levels of a number stand; the
            first level is NaN's, the second is below all thresholds.
        levels: `[sum of cardinalities] int32`: how far every value of an index column leads.
        starts: `[K] int32`: where an index column begins in `levels`.
        tables: `[F + K] int32`: the table of each column; one that no node asks leads nowhere.
        firsts: `[tables] int32`: where a table begins in `words`.
        words: `[rows of all tables, T] int32`: the bits that are left in each tree.
        leaves: `[T, 32] float32`.
        units: Width of the output.
    """

    thresholds: np.ndarray
    strides: np.ndarray
    levels: np.ndarray
    starts: np.ndarray
    tables: np.ndarray
    firsts: np.ndarray
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
        alone = [({c: 1}, words) for c, (_, words) in enumerate(numbers + indices) if nodes[c]]
        shared = _shared(alone or [({}, np.full((1, len(trees)), 2**LEAVES - 1, np.uint32))])
        strides, tables = np.zeros((2, len(nodes)), np.int32)
        for number, (columns, _) in enumerate(shared):
            tables[list(columns)] = number
            strides[list(columns)] = list(columns.values())
        thresholds = np.full(
            (n_numbers, max([1, *(len(found) for found, _ in numbers)])), np.inf, np.float32
        )
        for row, (found, _) in zip(thresholds, numbers, strict=True):
            row[: len(found)] = found
        groups = [s * g for s, (g, _) in zip(strides[n_numbers:], indices, strict=True)]
        words = [table for _, table in shared]
        return cls(
            thresholds,
            strides[:n_numbers],
            np.concatenate([np.zeros(0, np.int32), *groups]),
            np.cumsum([0, *cardinalities])[:-1].astype(np.int32),
            tables,
            np.cumsum([0, *map(len, words)])[:-1].astype(np.int32),
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
        ways = [
            stride * np.where(np.isnan(x), 0, 1 + i)
            for stride, x, i in zip(self.strides, numbers.T, interval, strict=True)
        ]
        ways += list(self.levels[indices + self.starts].T)
        places = np.repeat(self.firsts[:, None], len(numbers), axis=1)
        for table, way in zip(self.tables, ways, strict=True):
            places[table] += way
        words = self.words[places[0]]
        for place in places[1:]:
            words &= self.words[place]
        lowest = (words & -words).view(np.uint32)
        leaf = np.log2(lowest, dtype=np.float64).astype(np.int64)  # exact: a power of two
        values = self.leaves[np.arange(len(self.leaves)), leaf]
        by_unit = values.reshape(len(numbers), -1, self.units)
        return by_unit.sum(axis=1, dtype=np.float64).astype(np.float32)

    def variables(self) -> list[tf.Variable]:
        """Returns what `tensor` reads, so that graphs can share it: levels, words and sums.

        The words of two trees of one unit are one int64, and their leaves' sums stand together: an
        AND and a lookup less. A last tree without another gets one of a single leaf, 0.
        """
        import tensorflow as tf

        odd = self.rounds % 2 * self.units
        words = np.pad(self.words, [(0, 0), (0, odd)], constant_values=-1)
        words = words.reshape(len(words), -1, 2, self.units).swapaxes(2, 3)
        leaves = np.pad(self.leaves.astype(np.float64), [(0, odd), (0, 0)])
        first, second = leaves.reshape(-1, 2, self.units, LEAVES).swapaxes(0, 1)
        sums = (first[:, :, None, :] + second[:, :, :, None]).reshape(-1, LEAVES, LEAVES)
        filled = np.pad(sums, [(0, -len(sums) % _PAIRS), (0, 0), (0, 0)])
        blocks = filled.reshape(-1, _PAIRS, LEAVES, LEAVES).swapaxes(1, 2)
        pairs = np.ascontiguousarray(words).view(np.int64).reshape(len(words), -1)
        tables = (self.levels, pairs, blocks.astype(np.float32).ravel())
        return [tf.Variable(table, trainable=False) for table in tables]

    def tensor(
        self, numbers: tf.Tensor, indices: tf.Tensor, variables: Sequence[tf.Tensor]
    ) -> tf.Tensor:
        """The same on tensors, added up in float32: `[B, units]`."""
        import tensorflow as tf

        levels, words, sums = (tf.convert_to_tensor(variable) for variable in variables)
        first, *others = tf.unstack(self._places(numbers, indices, levels), len(self.firsts))
        left = tf.gather(words, first)
        for place in others:
            left = tf.bitwise.bitwise_and(left, tf.gather(words, place))
        # Some bit of both halves is left, so taking 1 from each borrows nothing between them.
        up_to_lowest = tf.bitwise.bitwise_xor(left, left - tf.constant(2**32 + 1, tf.int64))
        bits = tf.raw_ops.PopulationCount(x=tf.bitcast(up_to_lowest, tf.int32))
        leaf = tf.cast(tf.bitcast(bits, tf.uint16), tf.int32)  # the first's + 256 * the second's
        pair = np.arange(words.shape[1])
        starts = pair // _PAIRS * (LEAVES * 256) + pair % _PAIRS * LEAVES - (256 + 1)
        # Of single numbers gather_nd takes three quarters of the time of gather.
        values = tf.gather_nd(sums, (leaf + starts.astype(np.int32))[:, :, None])
        rounds = words.shape[1] // self.units
        return tf.reduce_sum(tf.reshape(values, [-1, rounds, self.units]), axis=1)

    def _places(self, numbers: tf.Tensor, indices: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
        """Returns the row of words in each table, `[tables, B] int32`."""
        import tensorflow as tf

        x = tf.transpose(numbers)
        interval = tf.searchsorted(tf.constant(self.thresholds), x, out_type=tf.int32)
        level = tf.where(tf.math.is_nan(x), 0, 1 + interval) * self.strides[:, None]
        index = tf.gather(levels, indices + self.starts)
        ways = tf.concat([level, tf.transpose(index)], axis=0)
        places = tf.math.unsorted_segment_sum(ways, self.tables, len(self.firsts))
        return places + self.firsts[:, None]


_Asked = list[tuple[int, Node]]
"""The nodes that ask a column, each with its tree."""
_Table = tuple[dict[int, int], np.ndarray]
"""The strides of the columns that share a table, and its words `[rows, T] uint32`."""


def _shared(tables: list[_Table]) -> list[_Table]:
    """Makes one of the two smallest tables, again and again up to `_SHARED_WORDS`."""
    tables = sorted(tables, key=lambda table: len(table[1]))
    while len(tables) > 1:
        (one, few), (other, more), *rest = tables
        if few.size * len(more) > _SHARED_WORDS:
            break
        columns = {column: stride * len(more) for column, stride in one.items()} | other
        words = (few[:, None] & more).reshape(-1, few.shape[1])
        tables = sorted([(columns, words), *rest], key=lambda table: len(table[1]))
    return tables


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
