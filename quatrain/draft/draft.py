"""A spec with its comments, and what is known of a table when it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quatrain.draft.columns import Column
from quatrain.draft.leaks import Goal, Trial
from quatrain.draft.sample import Sample
from quatrain.draft.split import Parting

GATE_ROWS = 100
"""In fewer rows of the sample a bound would be a guess."""


@dataclass(frozen=True)
class Entry:
    """A line of a draft: a column with its type, or a feature.

    Attributes:
        value: What the line holds.
        comment: What stands behind it.
        used: Whether the line is no comment itself.
    """

    value: Any
    comment: str = ""
    used: bool = True


@dataclass(frozen=True)
class Draft:
    """A spec with its comments; `writing.write` makes the YAML of it.

    Attributes:
        document: The sections of the spec, in order.
        columns: A type and a comment by column; those that are not used are comments.
        features: The features; those that are left out are comments.
        about: How it was made.
        remarks: What a reader should look at.
        comments: Behind which key of the document a comment stands, by `section.key`.
    """

    document: dict[str, Any]
    columns: dict[str, Entry]
    features: list[Entry]
    about: list[str]
    remarks: list[str]
    comments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """All that is known of a table before features are chosen."""

    sample: Sample
    columns: dict[str, Column]
    target: str
    goal: Goal
    split: Parting
    leaks: dict[str, str]

    @property
    def train_rows(self) -> int:
        """Rows of the train split, estimated from the sample."""
        share = float(np.mean(self.split.parts == 0))
        return round((self.sample.rows or self.sample.table.num_rows) * share)

    @property
    def untrained(self) -> list[int]:
        """Classes of several that have no train row, as the written split says."""
        if self.goal.task != "multiclass":
            return []
        in_train = self.goal.values[self.goal.known & (self.split.parts == 0)]
        return sorted(set(range(len(self.goal.classes))) - set(in_train.astype(int).tolist()))

    @property
    def trial(self) -> Trial:
        """One-column models, fitted and measured as the written split says."""
        known, parts = self.goal.known, self.split.parts
        test = known & (parts == 2)
        if test.sum() < GATE_ROWS:
            test = known & (parts > 0)
        return Trial(self.goal, known & (parts == 0), test)
