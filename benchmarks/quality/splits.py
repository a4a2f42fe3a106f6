"""Which rows train, validate and test: random, by group, or the newest."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SHARES = (0.64, 0.80)
"""Rows up to the first share are train, up to the second validation, the others test."""
NAMES = np.array(["train", "validation", "test"])


def split_rows(rows: pa.Table, split: str, by: str, seed: int) -> np.ndarray:
    """Returns the name of each row's split, `[N]`.

    Rows of the same time, and rows of the same group, fall into the same split.

    Args:
        rows: The rows.
        split: `random`, `time` or `group`.
        by: The column of the time or the group; any, if the split is random.
        seed: The seed of a split that is not by time.
    """
    if split == "random":
        units, of_row = rows.num_rows, np.arange(rows.num_rows)
    else:
        of_row = pc.rank(rows[by], tiebreaker="dense").to_numpy() - 1
        units = int(of_row.max()) + 1
    if split == "time":  # the share of rows that are older, so that a busy day counts as such
        ordered = np.sort(of_row)
        place = np.searchsorted(ordered, of_row) / rows.num_rows
    else:
        place = np.random.default_rng(seed).permutation(units)[of_row] / units
    return NAMES[np.searchsorted(np.array(SHARES), place, side="right")]


def units_of_test(rows: pa.Table, places: np.ndarray, split: str, by: str) -> np.ndarray:
    """Returns the unit of each test row, `[T] int`, counted from 0: what a bootstrap draws whole.

    Rows of one group are alike, and so are rows of one day, so that drawing single rows would
    give intervals that are too narrow. A row of a random split is a unit of its own.

    Args:
        rows: The rows.
        places: The name of each row's split, `[N]`.
        split: `random`, `time` or `group`.
        by: The column of the time or the group; any, if the split is random.
    """
    if split == "random":
        return np.arange(np.count_nonzero(places == "test"))
    units = rows[by].filter(pa.array(places == "test"))
    if split == "time":  # the date of 2016-08-13T18:39:26Z, and of 2016/08/13 18:39:26
        units = pc.utf8_slice_codeunits(pc.cast(units, pa.string()), 0, 10)
    return np.asarray(pc.rank(units, tiebreaker="dense").to_numpy()) - 1
