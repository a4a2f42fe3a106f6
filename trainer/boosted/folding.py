"""Fits the trees again with other rows held out, and averages all fits: for small tables.

With few rows, the trees depend on which rows they learn from and which stop them, and validation
rows teach them nothing. So the form that validation chose is fitted four more times, each time to
the validation rows and all train rows but a fold, which stops it. docs/decisions/0024 says what it
brings.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..candidates import Candidate
from ..examples import Split, joined
from ..folds import fold_rows
from ..settings import SEEDS, Hyperparameters
from .boosting import (
    ROUNDS_AN_EPOCH,
    Boosted,
    Grown,
    asking,
    bin_rows,
    grow_together,
    is_wide,
    join_trees,
    predict_rows,
)
from .trees import Trees

if TYPE_CHECKING:
    from ..predictor import Head

log = logging.getLogger("trainer")
FOLDS = 4
"""Parts of the train rows; by default each is as large as the validation split."""
MOST_ROWS = 80_000
"""Most rows of all fits together: a table of 16 000 train rows has five fits, one of 40 000 two."""
MOST_TREES = 4_000
"""Most trees of all fits together, which bounds the cost of serving a row."""
FASTER = 4.0
"""How many times larger than the first fit's the shrinkage may be, to stay below `MOST_TREES`."""
MOST_BYTES = 16 << 20
"""Most bytes of the words of all fits together, which are nearly the whole size of the trees."""
UNLIKE = 2.0
"""Standard errors by which the loss of validation rows may lie above that of the folds. Beyond it
the rows are no random sample of the same: they are newer, or of other groups. Then rows of the
folds say little about new rows, and the first fit stays alone."""


def boost_folds(
    boosted: Boosted,
    train: Split,
    validation: Split,
    cardinalities: Sequence[int],
    head: Head,
    settings: Hyperparameters,
    monotone: Sequence[int] = (),
    is_unwanted: Callable[[], bool] = lambda: False,
) -> Boosted:
    """Returns the mean of the fitted trees and of fits that hold out a fold of the train rows.

    What is `judged`, and all losses, stay those of the first fit, which alone has not seen the
    validation rows. That fit is returned where a fold tells that validation rows are of another
    kind, where rows, columns or trees would be too many, or where time is over before a fit is
    done.

    Args:
        boosted: The first fit.
        train: The rows of the folds.
        validation: The rows that stopped the first fit.
        cardinalities: Cardinality of each index column.
        head: The task.
        settings: The settings of the first fit; `max_seconds` is what is left, 0: no bound.
        monotone: As of `boost`.
        is_unwanted: As of `boost`.

    Raises:
        TrainerError: A loss is not a number.
        CancelledError: The trees are unwanted.
    """
    deadline = time.monotonic() + settings.max_seconds if settings.max_seconds else math.inf
    leader, others = boosted.leader, min(FOLDS, MOST_ROWS // train.rows - 1)
    if is_wide(train):
        return boosted
    if others < 1 or settings.max_steps or leader.stopped == "max_seconds":
        return boosted
    rounds = (MOST_TREES - leader.rounds * head.units) // (others * head.units)
    if rounds < max(ROUNDS_AN_EPOCH, leader.rounds / FASTER):
        return boosted
    rate = min(1.0, settings.shrinkage * max(1.0, leader.rounds / rounds))
    own = replace(settings, rounds=min(rounds, settings.rounds), shrinkage=rate)
    folds = fold_rows(train, FOLDS)
    held = [train.take(np.flatnonzero(folds == fold)) for fold in range(others)]
    if not all(rows.rows for rows in held):
        return boosted
    data = []
    for fold, rows in enumerate(held):
        rest = joined([train.take(np.flatnonzero(folds != fold)), validation])
        seeded = replace(own, seed=(own.seed + 1 + fold) % SEEDS)
        data.append(bin_rows(rest, rows, leader.data.merged, head, seeded, 1, monotone))
    report = asking(is_unwanted, lambda epoch: None)
    members = grow_together(data, leader.form, head, own, deadline, None, report)
    if members[0].stopped == "max_seconds":
        return boosted
    of_folds = [_RowLosses.of(*pair, head) for pair in zip(members, held, strict=True)]
    if _RowLosses.of(leader, validation, head).above(_RowLosses.joined(of_folds)) > UNLIKE:
        log.info("the validation rows are unlike the train rows: one fit of the trees")
        return boosted
    return _averaged(boosted, members, train, cardinalities, head)


def _averaged(
    boosted: Boosted,
    members: Sequence[Grown],
    train: Split,
    cardinalities: Sequence[int],
    head: Head,
) -> Boosted:
    """Returns the mean of the first fit and of as many others as keep the trees small."""
    leader, progress = boosted.leader, members[0].progress
    n_numbers = train.numbers.shape[1]
    trees, used = joined_small([leader, *members], n_numbers, cardinalities, head.units)
    if len(used) == 1:
        return boosted

    def with_members(candidate: Candidate) -> Candidate:
        if candidate.name != leader.form.name:
            return candidate
        seconds = round(candidate.seconds + progress.seconds, 3)
        return replace(candidate, seconds=seconds, members=len(used))

    candidates = tuple(map(with_members, boosted.candidates))
    return replace(boosted, trees=trees, members=tuple(used), candidates=candidates)


def joined_small(
    members: Sequence[Grown], n_numbers: int, cardinalities: Sequence[int], units: int
) -> tuple[Trees, Sequence[Grown]]:
    """Returns the mean of as many fits as keep the trees small, at least the first, and these."""
    while True:
        trees = join_trees(members, n_numbers, cardinalities, units)
        if trees.words.nbytes <= MOST_BYTES or len(members) == 1:
            return trees, members
        members = members[:-1]


@dataclass(frozen=True, eq=False)
class _RowLosses:
    """The losses of rows that a fit has not seen, `[N] float64`, and the weights of the rows."""

    losses: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, member: Grown, split: Split, head: Head) -> _RowLosses:
        """Returns the losses of the rows that stopped a fit."""
        return cls(
            head.row_losses(predict_rows(member, split, head), split.labels),
            split.weights.astype(np.float64),
        )

    @classmethod
    def joined(cls, parts: Sequence[_RowLosses]) -> _RowLosses:
        """Returns the losses of all parts."""
        return cls(
            np.concatenate([p.losses for p in parts]), np.concatenate([p.weights for p in parts])
        )

    def above(self, other: _RowLosses) -> float:
        """Returns how many standard errors of the difference its mean lies above the other's."""
        (mean, variance), (other_mean, other_variance) = self._moments(), other._moments()
        return float((mean - other_mean) / max(math.sqrt(variance + other_variance), 1e-300))

    def _moments(self) -> tuple[float, float]:
        """Returns the weighted mean, and the square of its standard error."""
        share = self.weights / self.weights.sum()
        mean = float(share @ self.losses)
        return mean, float(np.sum((share * (self.losses - mean)) ** 2))
