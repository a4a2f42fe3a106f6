"""Knots of a piecewise-linear embedding: quantiles that respect point masses."""

from __future__ import annotations

import numpy as np


def knots_of(values: np.ndarray, pieces: int) -> np.ndarray:
    """Returns where the pieces of a number's embedding begin and end.

    A value that holds more rows than a piece should (0 of an amount that is mostly absent) would
    take several quantiles and leave none to the rest. It gets a knot of its own, and one at each
    neighbour, so that the embedding can jump there; quantiles of the other rows share what is left.

    Args:
        values: `[N] float32`, of the train split.
        pieces: The most pieces.

    Returns:
        Up to `pieces` + 1 distinct values, ascending, `[P] float32`: the least and the largest
        among them; one where all are equal.
    """
    distinct, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(distinct) <= pieces + 1:
        return distinct
    chosen = np.zeros(len(distinct), bool)
    chosen[[0, -1]] = True
    heavy = np.flatnonzero(counts * pieces > len(values))
    # The heaviest first, each with its neighbours, while at least half of the knots stay quantiles.
    for place in heavy[np.argsort(-counts[heavy], kind="stable")]:
        near = np.clip([place - 1, place, place + 1], 0, len(distinct) - 1)
        if chosen.sum() + (~chosen[np.unique(near)]).sum() > (pieces + 1) // 2:
            break
        chosen[near] = True
    light = np.where(chosen, 0, counts)
    left = pieces + 1 - int(chosen.sum())
    cumulative = np.cumsum(light)
    ranks = np.ceil(np.arange(1, left + 1) / (left + 1) * cumulative[-1])
    chosen[np.searchsorted(cumulative, ranks)] = True
    return distinct[chosen]
