"""The rows of a split as windows in memory: a single one if they fit, else one after another."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from .examples import Examples, Labels, Split, joined, weightless
from .levels import count_levels

SAMPLE = 1_000_000
"""Most rows from which knots and the intercept are fitted: an even sample of a larger split."""

SplitTensors = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
"""Numbers, indices, labels and weights."""


@dataclass(frozen=True, eq=False)
class Window:
    """Rows in memory, and the order in which training steps take them.

    Attributes:
        tensors: Numbers `[N + 1, F]`, indices `[N + 1, K]`, labels and weights `[N + 1]`. The last
            row is a filler with weight 0, which fills up the last batch.
        order: Places of the rows, batch by batch, `[steps * batch_size] int32`; N is the filler.
        steps: Number of batches.
    """

    tensors: SplitTensors
    order: tf.Tensor
    steps: int


class Rows(Protocol):
    """A split through which training or evaluation goes once an epoch.

    Attributes:
        rows: Number of rows with a weight.
        weight: Sum of their weights.
        names: Names of the float columns.
    """

    rows: int
    weight: float
    names: tuple[str, ...]

    def windows(self, batch_size: int, shuffle: tuple[int, int] | None) -> Iterator[Window]:
        """Yields the windows of an epoch.

        Args:
            batch_size: Rows of a batch.
            shuffle: Seed and epoch, from which the order follows; None: the order of the source.
        """


class Resident:
    """A split in memory: an epoch is one window, shuffled as a whole."""

    def __init__(self, split: Split) -> None:
        """Copies the arrays to tensors."""
        self._tensors = _padded(split)
        self.rows, self.names = split.rows, split.names
        self.weight = float(split.weights.sum(dtype=np.float64))

    def windows(self, batch_size: int, shuffle: tuple[int, int] | None) -> Iterator[Window]:
        """Yields a single window of all rows."""
        order = np.arange(self.rows) if shuffle is None else _permutation(shuffle, self.rows)
        yield _window(self._tensors, order, batch_size)


class Streamed:
    """A split that is read again in every epoch, from Parquet row groups in a random order.

    Consecutive groups form a window, which is shuffled as a whole; rows that do not fill a batch
    move to the next window. The next window is read while the current one is trained on.

    Attributes:
        labels: Statistics of the labels.
        sample: Numbers of evenly spaced rows, `[S, F] float32`, at most `SAMPLE` of them.
        levels: Rows of each level of each index, `[cardinality] int64`.
    """

    def __init__(self, examples: Examples, name: str, window_bytes: int) -> None:
        """Reads the split once, for the statistics and the sample.

        Args:
            examples: The folder of examples.
            name: train, validation or test.
            window_bytes: Bytes from which a window is complete; it holds at least one row group.

        Raises:
            TrainerError: The split has no rows or no weight, or a shard differs from the manifest.
        """
        self._examples, self._window_bytes = examples, window_bytes
        self._groups = list(examples.groups(name))
        self.rows, self.names = 0, examples.transform.numbers
        stride, samples = -(-sum(g.rows for g in self._groups) // SAMPLE), []
        cardinalities = examples.transform.cardinalities
        self.labels = Labels()
        self.levels = [np.zeros(n, np.int64) for n in cardinalities]
        for group in self._groups:
            part = examples.read_group(group)
            self.labels += Labels.of(part.labels, examples.transform, part.weights)
            # The offset continues the stride of the rows before this group.
            samples.append(part.numbers[-self.rows % stride :: stride])
            for rows, more in zip(
                self.levels, count_levels(part.indices, cardinalities), strict=True
            ):
                rows += more
            self.rows += part.rows
        self.weight, self.sample = self.labels.weight, np.concatenate(samples)
        if not self.rows:
            raise weightless(name)

    def windows(self, batch_size: int, shuffle: tuple[int, int] | None) -> Iterator[Window]:
        """Yields windows of about `window_bytes`."""
        with ThreadPoolExecutor(1) as reader:
            windows = self._read(batch_size, shuffle)
            future = reader.submit(next, windows, None)
            while (window := future.result()) is not None:
                future = reader.submit(next, windows, None)
                yield window

    def _read(self, batch_size: int, shuffle: tuple[int, int] | None) -> Iterator[Window]:
        """Yields the windows of an epoch; a window holds whole batches, except for the last."""
        count = len(self._groups)
        order = np.arange(count) if shuffle is None else _permutation(shuffle, count)
        rest: list[Split] = []  # rows that are not in a window yet
        for number, place in enumerate(order):
            rest.append(self._examples.read_group(self._groups[place]))
            is_last = number == count - 1
            if not is_last and sum(part.size_bytes for part in rest) < self._window_bytes:
                continue
            split = joined(rest)
            n_window = split.rows if is_last else split.rows // batch_size * batch_size
            rows = np.arange(split.rows)
            if shuffle is not None:
                rows = _permutation((*shuffle, number), split.rows)
            rest = [split.take(rows[n_window:])]
            if n_window:
                yield _window(_padded(split), rows[:n_window], batch_size)


def read_rows(examples: Examples, name: str, resident_mb: int) -> Split | Streamed:
    """Reads a split, or prepares to stream it if it takes more than `resident_mb`.

    That counts its columns, and the sets of n-grams of its texts, which are read with it.

    Args:
        examples: The folder of examples.
        name: train, validation or test.
        resident_mb: Megabytes (10^6 bytes) of a split that may be in memory.

    Raises:
        TrainerError: The split has no rows or no weight, or a shard differs from the manifest.
    """
    row_bytes = 4 * (len(examples.transform.engineered) + 2)  # the label and the weight
    needed = examples.manifest["rows"][name] * row_bytes + examples.set_bytes(name)
    if needed <= resident_mb * 10**6:
        return examples.split(name)
    # A quarter, since a window is copied to tensors while the next one is read.
    return Streamed(examples, name, resident_mb * 10**6 // 4)


def _padded(split: Split) -> SplitTensors:
    """Returns the arrays as tensors, with the filler: a last row of zeros."""
    arrays = (split.numbers, split.indices, split.labels, split.weights)
    padded = [np.pad(a, [(0, 1)] + [(0, 0)] * (a.ndim - 1)) for a in arrays]
    return tuple(map(tf.constant, padded))


def _window(tensors: SplitTensors, order: np.ndarray, batch_size: int) -> Window:
    steps = -(-len(order) // batch_size)
    places = np.full(steps * batch_size, tensors[2].shape[0] - 1, np.int32)
    places[: len(order)] = order
    return Window(tensors, tf.constant(places), steps)


def _permutation(key: tuple[int, ...], count: int) -> np.ndarray:
    """Returns the permutation of `[count]` that PCG64 draws with the key as its seed."""
    return np.random.Generator(np.random.PCG64(key)).permutation(count)
