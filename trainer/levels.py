"""The levels of index columns: the train rows of each, and which have few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def count_levels(indices: np.ndarray, cardinalities: Sequence[int]) -> list[np.ndarray]:
    """Returns the rows of each level, `[cardinality] int64` for each column.

    Args:
        indices: The index columns, `[N, K] int32`.
        cardinalities: Cardinality of each, `[K]`.
    """
    return [
        np.bincount(column, minlength=cardinality)
        for column, cardinality in zip(indices.T, cardinalities, strict=True)
    ]


def merge_few(counts: Sequence[np.ndarray], least: int) -> list[np.ndarray] | None:
    """Returns a shorter numbering of each column's levels, in which those with few rows share one.

    Args:
        counts: Rows of each level, `[cardinality]` for each column.
        least: Rows from which a level keeps a number of its own.

    Returns:
        The number of each level, `[cardinality] int32` for each column, the shared one last; None
        if no level has few rows. A level without rows has few, so a new value gets the answer of
        the rare ones.
    """
    if not any(((rows > 0) & (rows < least)).any() for rows in counts):
        return None
    merged = []
    for rows in counts:
        numbers = np.arange(len(rows), dtype=np.int32)
        few = rows < least
        if (rows[few] > 0).any():
            numbers[~few] = np.arange((~few).sum())
            numbers[few] = (~few).sum()
        merged.append(numbers)
    return merged
