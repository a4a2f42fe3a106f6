"""The rows of a split as windows in memory: one where they fit, else one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from .examples import Examples, Labels, Split, joined
from .settings import TrainerError

SAMPLE = 1_000_000  # rows from which the knots of a streamed split are found


Tensors = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


@dataclass(frozen=True, eq=False)
class Window:
    """Rows in memory, and the order in which steps take them.

    Attributes:
        tensors: Numbers `[N + 1, F]`, indices `[N + 1, K]`, labels and weights `[N + 1]`; the last
            row has weight 0 and fills the last batch.
        order: The row at each place, `[steps * batch_size] int32`; N is the filler.
        steps: How many batches.
    """

    tensors: Tensors
    order: tf.Tensor
    steps: int


class Rows(Protocol):
    """A split that training or evaluation goes through, epoch after epoch.

    Attributes:
        rows: How many.
        weight: Their sum of weights.
        names: Of the float columns.
    """

    rows: int
    weight: float
    names: tuple[str, ...]

    def windows(self, batch_size: int, shuffle: tuple[int, int] | None) -> Iterator[Window]:
        """Yields the windows of an epoch: the order follows from the shuffle's (seed, epoch)."""


class Resident:
    """A split in memory: an epoch is one window, shuffled as a whole."""

    def __init__(self, split: Split) -> None:
        """Keeps the arrays as tensors."""
        self._tensors = _padded(split)
        self.rows, self.names = split.rows, split.names
        self.weight = float(split.weights.sum(dtype=np.float64))

    def windows(self, batch_size: int, shuffle: tuple[int, int] | None) -> Iterator[Window]:
        """Yields all rows."""
        order = np.arange(self.rows) if shuffle is None else _drawn(shuffle, self.rows)
        yield _window(self._tensors, order, batch_size)


class Streamed:
    """A split that is read anew in each epoch, from Parquet row groups in a drawn order.

    Consecutive groups of that order make a window, shuffled as a whole; rows that fill no batch go
    into the next one. The next window is read while the current one trains.

    Attributes:
        labels: What the labels are.
        sample: Numbers of evenly spaced rows, `[S, F] float32`, at most `SAMPLE` of them.
    """

    def __init__(self, examples: Examples, name: str, window_bytes: int) -> None:
        """Goes through the split once.

        Args:
            examples: Where it stands.
            name: Of the split.
            window_bytes: What a window holds; one row group at least.

        Raises:
            TrainerError: The split has no rows, or a shard is not what the manifest says.
        """
        self._examples, self._window_bytes = examples, window_bytes
        self._groups = list(examples.groups(name))
        self.rows, self.names = sum(g.rows for g in self._groups), examples.transform.numbers
        stride, first, samples, weights = -(-self.rows // SAMPLE), 0, [], []
        self.labels = Labels()
        for group in self._groups:
            part = examples.read_group(group)
            self.labels += Labels.of(part.labels, examples.transform)
            weights.append(part.weights.sum(dtype=np.float64))
            samples.append(part.numbers[-first % stride :: stride])
            first += part.rows
        self.weight, self.sample = float(sum(weights)), np.concatenate(samples)
        if not self.weight > 0:
            raise TrainerError(f"the weights of the {name} split are all 0")

    def windows(self, batch_size: int, shuffle: tuple[int, int] | None) -> Iterator[Window]:
        """Yields windows of about `window_bytes`."""
        with ThreadPoolExecutor(1) as reader:
            windows = self._read(batch_size, shuffle)
            ahead = reader.submit(next, windows, None)
            while (window := ahead.result()) is not None:
                ahead = reader.submit(next, windows, None)
                yield window

    def _read(self, batch_size: int, shuffle: tuple[int, int] | None) -> Iterator[Window]:
        count = len(self._groups)
        order = np.arange(count) if shuffle is None else _drawn(shuffle, count)
        rest: list[Split] = []
        for number, place in enumerate(order):
            rest.append(self._examples.read_group(self._groups[place]))
            is_last = number == count - 1
            if not is_last and sum(part.size_bytes for part in rest) < self._window_bytes:
                continue
            split = joined(rest)
            kept = split.rows if is_last else split.rows // batch_size * batch_size
            rows = np.arange(split.rows)
            if shuffle is not None:
                rows = _drawn((*shuffle, number), split.rows)
            rest = [split.take(rows[kept:])]
            if kept:
                yield _window(_padded(split), rows[:kept], batch_size)


def read_rows(examples: Examples, name: str, resident_mb: int) -> Split | Streamed:
    """Reads a split, or prepares to stream it where its columns take more than `resident_mb`.

    Raises:
        TrainerError: The split has no rows, or a shard is not what the manifest says.
    """
    row_bytes = 4 * (len(examples.transform.engineered) + 2)
    if examples.manifest["rows"][name] * row_bytes <= resident_mb * 10**6:
        return examples.split(name)
    return Streamed(examples, name, resident_mb * 10**6 // 4)


def _padded(split: Split) -> Tensors:
    """Returns the arrays with a row of zeros, which fills the last batch."""
    arrays = (split.numbers, split.indices, split.labels, split.weights)
    padded = [np.pad(a, [(0, 1)] + [(0, 0)] * (a.ndim - 1)) for a in arrays]
    return tuple(map(tf.constant, padded))


def _window(tensors: Tensors, order: np.ndarray, batch_size: int) -> Window:
    steps = -(-len(order) // batch_size)
    places = np.full(steps * batch_size, tensors[2].shape[0] - 1, np.int32)
    places[: len(order)] = order
    return Window(tensors, tf.constant(places), steps)


def _drawn(key: tuple[int, ...], count: int) -> np.ndarray:
    """Returns a permutation, drawn by PCG64 from the key."""
    return np.random.Generator(np.random.PCG64(key)).permutation(count)
