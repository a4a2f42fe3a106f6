"""Boosted trees as arrays: bit operations say which leaf of each tree a row falls into.

A tree has up to 32 leaves, numbered from the left, and a word with a bit for each leaf. A node that
sends a row to the right clears the bits of the leaves on its left; the lowest bit that remains is
the row's leaf (QuickScorer; Lucchese et al., SIGIR 2015). Which bits the nodes of a column clear
depends only on the *level* of the column's value: between which thresholds a number lies, or which
group an index belongs to. So the words are tabulated by level and tree, and a row takes one lookup
and one AND for each table and tree, however deep the trees are. Columns with few levels share a
table, which then has a row of words for each combination of their levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

LEAVES = 32
"""Most leaves of a tree: the bits of a word."""
SHARED_WORDS = 2**17
"""Most words of a table that columns share: 512 KiB, half of a small core's second-level cache."""
_PAIRS = 256 // LEAVES
"""Pairs of trees in a block of sums: for a leaf of the second trees it has 256, LEAVES a pair."""


@dataclass(frozen=True)
class Node:
    """An inner node of a tree.

    Attributes:
        column: Place of its column among all: numbers `[F]` first, then indices `[K]`.
        cleared: The bits of the leaves on its left.
        threshold: A number goes left if it is at most the threshold; None for an index.
        missing_left: Whether a number that is NaN goes left.
        left: An index goes left if it is one of these; all others go right, new ones included.
    """

    column: int
    cleared: int
    threshold: float | None = None
    missing_left: bool = False
    left: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Trees:
    """T trees, whose sums are the outputs: tree t adds to unit t % units.

    The row of a table is the sum of a step for each of its columns.

    Attributes:
        thresholds: `[F, L] float32`: the thresholds of each number, ascending, then infinity.
        strides: `[F] int32`: rows of the table between two neighbouring levels of a number. NaN is
            the first level, a number up to the first threshold the second.
        levels: `[sum of cardinalities] int32`: the step of each value of the index columns.
        starts: `[K] int32`: where the values of an index column begin in `levels`.
        tables: `[F + K] int32`: the table of each column. A column without nodes has table 0, and
            steps of 0.
        firsts: `[tables] int32`: where a table begins in `words`.
        words: `[rows of all tables, T] int32`: the bits that remain in each tree.
        leaves: `[T, 32] float32`: the values of the leaves.
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
        shared_words: int = SHARED_WORDS,
    ) -> Trees:
        """Builds the tables.

        Args:
            trees: The nodes of each tree, and the values of its leaves from the left.
            n_numbers: Number of columns that are numbers.
            cardinalities: Cardinality of each index column.
            units: Width of the output, a divisor of the number of trees.
            shared_words: Most words of a table that columns share.
        """
        leaves = np.zeros((len(trees), LEAVES), np.float32)
        nodes: list[_ColumnNodes] = [[] for _ in range(n_numbers + len(cardinalities))]
        for t, (inner, values) in enumerate(trees):
            leaves[t, : len(values)] = values
            for node in inner:
                nodes[node.column].append((t, node))
        numbers = [_number_table(column, len(trees)) for column in nodes[:n_numbers]]
        indices = [
            _index_table(column, size, len(trees))
            for column, size in zip(nodes[n_numbers:], cardinalities, strict=True)
        ]
        single = [({c: 1}, words) for c, (_, words) in enumerate(numbers + indices) if nodes[c]]
        no_nodes: _Table = ({}, np.full((1, len(trees)), 2**LEAVES - 1, np.uint32))
        shared = _shared(single or [no_nodes], shared_words)
        strides, tables = np.zeros((2, len(nodes)), np.int32)
        for number, (columns, _) in enumerate(shared):
            tables[list(columns)] = number
            strides[list(columns)] = list(columns.values())
        most = max([1, *(len(own) for own, _ in numbers)])
        thresholds = np.full((n_numbers, most), np.inf, np.float32)
        for row, (own, _) in zip(thresholds, numbers, strict=True):
            row[: len(own)] = own
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
        """Number of trees of each unit."""
        return len(self.leaves) // self.units

    def renumbered(self, levels: Sequence[np.ndarray]) -> Trees:
        """Returns the same trees for other indices.

        Args:
            levels: The index here of each index there, `[cardinality]` for each index column.
        """
        ends = [*self.starts[1:], len(self.levels)]
        steps = [
            self.levels[start:end][own]
            for start, end, own in zip(self.starts, ends, levels, strict=True)
        ]
        starts = np.cumsum([0, *map(len, steps)])[:-1].astype(np.int32)
        return replace(self, levels=np.concatenate([np.zeros(0, np.int32), *steps]), starts=starts)

    def numpy(self, numbers: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Returns the sums of the leaves, `[N, units] float32`, added up in float64.

        Args:
            numbers: `[N, F] float32`.
            indices: `[N, K] int32`, each below its column's cardinality.
        """
        interval = [
            np.searchsorted(own, x) for own, x in zip(self.thresholds, numbers.T, strict=True)
        ]
        steps = [
            stride * np.where(np.isnan(x), 0, 1 + i)
            for stride, x, i in zip(self.strides, numbers.T, interval, strict=True)
        ]
        steps += list(self.levels[indices + self.starts].T)
        places = np.repeat(self.firsts[:, None], len(numbers), axis=1)
        for table, step in zip(self.tables, steps, strict=True):
            places[table] += step
        words = self.words[places[0]]
        for place in places[1:]:
            words &= self.words[place]
        lowest = (words & -words).view(np.uint32)  # x & -x keeps the lowest bit of x
        leaf = np.log2(lowest, dtype=np.float64).astype(np.int64)  # exact for a power of two
        values = self.leaves[np.arange(len(self.leaves)), leaf]
        by_unit = values.reshape(len(numbers), -1, self.units)
        return by_unit.sum(axis=1, dtype=np.float64).astype(np.float32)

    def variables(self) -> list[tf.Variable]:
        """Returns the arrays of `tensor` as variables, so that graphs share them.

        They are levels, words and sums. Two trees of one unit form a pair: their words are one
        int64, and all sums of a leaf of the first and one of the second are tabulated. That saves
        half of the ANDs and lookups. An odd tree is paired with one whose only leaf is 0.
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
        """Does the same as `numpy` with tensors, adding in float32; returns `[B, units] float32`.

        Args:
            numbers: `[B, F] float32`.
            indices: `[B, K] int32`, each below its column's cardinality.
            variables: What `variables` returned.
        """
        import tensorflow as tf

        levels, words, sums = (tf.convert_to_tensor(variable) for variable in variables)
        first, *others = tf.unstack(self._places(numbers, indices, levels), len(self.firsts))
        word = tf.gather(words, first)
        for place in others:
            word = tf.bitwise.bitwise_and(word, tf.gather(words, place))
        # x ^ (x - 1) has the lowest bit of x and all below it, so its population count is 1 more
        # than the leaf. Each half has a bit set, so subtracting 1 from both borrows nothing.
        up_to_lowest = tf.bitwise.bitwise_xor(word, word - tf.constant(2**32 + 1, tf.int64))
        bits = tf.raw_ops.PopulationCount(x=tf.bitcast(up_to_lowest, tf.int32))
        # Two counts of one byte each, read as one number: first tree + 256 * second tree.
        leaf = tf.cast(tf.bitcast(bits, tf.uint16), tf.int32)
        pair = np.arange(words.shape[1])
        starts = pair // _PAIRS * (LEAVES * 256) + pair % _PAIRS * LEAVES - (256 + 1)
        # For single numbers, gather_nd takes three quarters of the time of gather.
        values = tf.gather_nd(sums, (leaf + starts.astype(np.int32))[:, :, None])
        rounds = words.shape[1] // self.units
        return tf.reduce_sum(tf.reshape(values, [-1, rounds, self.units]), axis=1)

    def _places(self, numbers: tf.Tensor, indices: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
        """Returns the place in `words` for each table and row, `[tables, B] int32`."""
        import tensorflow as tf

        x = tf.transpose(numbers)
        interval = tf.searchsorted(tf.constant(self.thresholds), x, out_type=tf.int32)
        level = tf.where(tf.math.is_nan(x), 0, 1 + interval) * self.strides[:, None]
        index = tf.gather(levels, indices + self.starts)
        steps = tf.concat([level, tf.transpose(index)], axis=0)
        places = tf.math.unsorted_segment_sum(steps, self.tables, len(self.firsts))
        return places + self.firsts[:, None]


_ColumnNodes = list[tuple[int, Node]]
"""The nodes of a column, each with the number of its tree."""
_Table = tuple[dict[int, int], np.ndarray]
"""The strides of the columns that share a table, and its words `[rows, T] uint32`."""


def _shared(tables: list[_Table], most_words: int) -> list[_Table]:
    """Combines the two smallest tables for as long as the result has at most `most_words`."""
    tables = sorted(tables, key=lambda table: len(table[1]))
    while len(tables) > 1:
        (one, few), (other, more), *rest = tables
        if few.size * len(more) > most_words:
            break
        columns = {column: stride * len(more) for column, stride in one.items()} | other
        words = (few[:, None] & more).reshape(-1, few.shape[1])
        tables = sorted([(columns, words), *rest], key=lambda table: len(table[1]))
    return tables


def _number_table(nodes: _ColumnNodes, n_trees: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the thresholds `[L] float32` and the words `[2 + L, T] uint32`, NaN's first."""
    # The numbers are float32, so the greatest float32 that is at most the float64 threshold
    # separates them in the same way.
    exact = np.array([node.threshold for _, node in nodes], np.float64)
    near = exact.astype(np.float32)
    below = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
    thresholds = np.unique(below)
    words = np.full((2 + len(thresholds), n_trees), 2**LEAVES - 1, np.uint32)
    for (tree, node), place in zip(nodes, np.searchsorted(thresholds, below), strict=True):
        remaining = np.uint32(2**LEAVES - 1 - node.cleared)
        words[place + 2 :, tree] &= remaining
        if not node.missing_left:
            words[0, tree] &= remaining
    return thresholds, words


def _index_table(
    nodes: _ColumnNodes, cardinality: int, n_trees: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the group of each index `[cardinality] int32` and the words `[groups, T] uint32`.

    All indices that no node sends left form group 0; each other index is a group of its own.
    """
    named = sorted({index for _, node in nodes for index in node.left})
    groups = np.zeros(cardinality, np.int32)
    groups[named] = np.arange(1, len(named) + 1)
    words = np.full((1 + len(named), n_trees), 2**LEAVES - 1, np.uint32)
    for tree, node in nodes:
        right = np.ones(len(words), bool)
        right[groups[list(node.left)]] = False
        words[right, tree] &= np.uint32(2**LEAVES - 1 - node.cleared)
    return groups, words
