"""Histograms of two runs that can be compared exactly, though each has bins of its own.

A bin is cut in two at a point that depends on nothing but itself, and only while it holds more than
a share of the rows. So of two runs' bins at one place one lies in the other, and the edges that
both have cut both tables: no count has to be shared out between bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quatrain.trainer.features.statistics import Distribution, ordered

PARTS = 32
"""A bin with more than 1/32 of the rows is cut, unless it holds one value."""
_BITS = 63


def histogram(column: Distribution, *, whole: bool) -> tuple[list[float], list[int]]:
    """Returns the inner edges of a column's bins, ascending, `[K]`, and their rows, `[K + 1]`.

    A bin holds its lower edge and not its upper one.

    Args:
        column: The numbers.
        whole: Whether they are integers; the edges then are, too.
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
    """Yields the first key of each bin and its rows, in order."""
    least = int(cumulative[-1]) // PARTS
    size, zero = 1 << (_BITS - shift), int(np.searchsorted(keys, 0))
    pending = [(0, size, zero, len(keys)), (-size, size, 0, zero)]
    while pending:
        start, size, low, high = pending.pop()
        rows = int(cumulative[high] - cumulative[low])
        if rows <= least:
            yield start, rows
        elif high - low == 1:
            yield from _alone(start, size, int(keys[low]), rows)
        else:
            half = size >> 1
            middle = low + int(np.searchsorted(keys[low:high], start + half))
            pending += [(start + half, half, middle, high), (start, half, low, middle)]


def _alone(start: int, size: int, key: int, rows: int) -> Iterator[tuple[int, int]]:
    """Cuts one value out of its bin: what lies beside it is empty, so it needs no finer cuts."""
    if key > start:
        yield start, 0
    yield key, rows
    if key + 1 < start + size:
        yield key + 1, 0


def common(
    a: tuple[Sequence[float], Sequence[int]], b: tuple[Sequence[float], Sequence[int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the edges that two histograms share, `[K]`, and the rows of both, `[K + 1]` each."""
    edges = np.intersect1d(a[0], b[0])
    return edges, _merged(*a, edges), _merged(*b, edges)


def _merged(edges: Sequence[float], counts: Sequence[int], kept: np.ndarray) -> np.ndarray:
    starts = np.searchsorted(np.asarray(edges, float), kept) + 1
    return np.add.reduceat(np.asarray(counts, np.int64), np.concatenate([[0], starts]).astype(int))
