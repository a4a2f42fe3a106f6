"""Grows chosen trees again on more rows: the same form, rounds, rates and seeds."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..examples import Split
from .boosting import ROUNDS_AN_EPOCH, Boosted, grow_rounds, train_rows
from .folding import joined_small

if TYPE_CHECKING:
    from ..predictor import Head

log = logging.getLogger("trainer")


def refit_trees(
    boosted: Boosted,
    rows: Split,
    cardinalities: Sequence[int],
    head: Head,
    seconds: float = math.inf,
) -> Boosted | None:
    """Returns all fits of the chosen trees, each grown again on the same rows.

    They differ in their seeds alone, as nothing is held out. What is `judged` and all losses stay
    those of the first fit.

    Args:
        boosted: The chosen trees.
        rows: The rows to learn from.
        cardinalities: Cardinality of each index column.
        head: The task.
        seconds: The time that this may take; infinite: any.

    Returns:
        The trees; None if the time was too short.
    """
    deadline = time.monotonic() + seconds
    if seconds <= 0:
        return None
    data = train_rows(rows, boosted.leader.data, head)
    members = []
    for member in boosted.members:
        booster = data.booster(member.form, member.data.parameters)
        while booster.current_iteration() < member.rounds:
            more = min(ROUNDS_AN_EPOCH, member.rounds - booster.current_iteration())
            if grow_rounds(booster, more):
                break
            if time.monotonic() >= deadline:
                return None
        members.append(replace(member, data=data, booster=booster))
    trees, used = joined_small(members, rows.numbers.shape[1], cardinalities, head.units)
    log.info("trees refitted: %d fits of %d rows", len(used), rows.rows)
    candidates = tuple(
        replace(c, members=len(used)) if c.name == boosted.leader.form.name else c
        for c in boosted.candidates
    )
    return replace(boosted, trees=trees, members=tuple(used), candidates=candidates)
