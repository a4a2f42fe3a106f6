"""Deals rows to folds by their content, so that the order of the rows does not matter."""

from __future__ import annotations

import numpy as np

from .examples import Split

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def fold_rows(split: Split, n_folds: int) -> np.ndarray:
    """Returns the fold of each row, `[N] int64` below `n_folds`, by its content.

    Equal rows are in one fold, whatever the order of the rows. The rows of a class are dealt to the
    folds in the order of their fingerprints, so that each fold has its share of every class.
    """
    keys = np.zeros(split.rows, np.uint64)
    for column in (*split.numbers.T, *split.indices.T, split.labels):
        bits = np.ascontiguousarray(column).view(np.uint32).astype(np.uint64)
        keys = (keys ^ bits) * _GOLDEN
        keys ^= keys >> np.uint64(32)
    is_class = np.issubdtype(split.labels.dtype, np.integer)
    classes = split.labels if is_class else np.zeros(split.rows, np.int32)
    folds = np.empty(split.rows, np.int64)
    for label in np.unique(classes):
        places = np.flatnonzero(classes == label)
        folds[places] = np.unique(keys[places], return_inverse=True)[1] % n_folds
    return folds
