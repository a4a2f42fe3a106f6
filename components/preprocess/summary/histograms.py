"""Histograms that can be compared exactly between runs, though each run has bins of its own.

A bin is halved, at a point that follows from the bin alone, while it holds more than a share of the
rows. So where bins of two runs overlap, one lies within the other, and the edges that both runs
share cut both tables. No count has to be divided between bins, as it would with quantiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quatrain.trainer.features.statistics import Distribution, ordered

PARTS = 32
"""A bin with more than 1/32 of the rows is halved, unless it holds only one value."""
_BITS = 63


def histogram(column: Distribution, *, whole: bool) -> tuple[list[float], list[int]]:
    """Returns the inner edges of a column's bins, ascending, `[K]`, and their rows, `[K + 1]`.

    A bin contains its lower edge, not its upper one.

    Args:
        column: The numbers.
        whole: Whether they are integers; then the edges are integers, too.
    """
    cells = list(_cells(column.keys, np.concatenate([[0], np.cumsum(column.counts)]), column.shift))
    edges: list[float] = []
    counts = [cells[0][1] if cells else 0]
    for start, rows in cells[1:]:
        edge = float(ordered(np.array([start << column.shift])).view(np.float64)[0])
        edge = float(np.ceil(edge)) + 0.0 if whole and np.isfinite(edge) else edge
        if not np.isfinite(edge) or edge in edges[-1:]:
            counts[-1] += rows
        else:
            edges.append(edge)
            counts.append(rows)
    return edges, counts


def _cells(keys: np.ndarray, cumulative: np.ndarray, shift: int) -> Iterator[tuple[int, int]]:
    """Yields the first key of each bin and its number of rows, in order.

    A key is a number's bits, mapped to an integer that is ordered as the numbers are.
    """
    least = int(cumulative[-1]) // PARTS
    size, zero = 1 << (_BITS - shift), int(np.searchsorted(keys, 0))
    # A stack: the part with the smallest keys is on top. No bin holds numbers of both signs.
    pending = [(0, size, zero, len(keys)), (-size, size, 0, zero)]
    while pending:
        start, size, low, high = pending.pop()
        rows = int(cumulative[high] - cumulative[low])
        if rows <= least:
            yield start, rows
        elif high - low == 1:
            yield from _cut_out(start, size, int(keys[low]), rows)
        else:
            half = size >> 1
            middle = low + int(np.searchsorted(keys[low:high], start + half))
            pending += [(start + half, half, middle, high), (start, half, low, middle)]


def _cut_out(start: int, size: int, key: int, rows: int) -> Iterator[tuple[int, int]]:
    """Cuts the only value of a bin out of it at once; halving would take up to 63 steps."""
    if key > start:
        yield start, 0
    yield key, rows
    if key + 1 < start + size:
        yield key + 1, 0


def common(
    a: tuple[Sequence[float], Sequence[int]], b: tuple[Sequence[float], Sequence[int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the common edges of two histograms, `[K]`, and the rows of each, `[K + 1]`."""
    edges = np.intersect1d(a[0], b[0])
    return edges, _merged(*a, edges), _merged(*b, edges)


def _merged(edges: Sequence[float], counts: Sequence[int], shared: np.ndarray) -> np.ndarray:
    starts = np.searchsorted(np.asarray(edges, float), shared) + 1
    return np.add.reduceat(np.asarray(counts, np.int64), np.concatenate([[0], starts]).astype(int))
