"""The draft of a spec with its comments, and the profile of the table that it is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quatrain.draft.leaks import ColumnModels, Goal
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.sample.sample import Sample
from quatrain.draft.split import DraftSplit

GATE_ROWS = 100
"""The fewest rows from which a bound of the gate is computed: from fewer it would be a guess."""


@dataclass(frozen=True)
class Entry:
    """A line of a draft: a column with its type, or a feature.

    Attributes:
        value: The column's declaration, or the feature.
        comment: The comment on the line; empty if there is none.
        is_active: Whether the line is part of the spec; otherwise it is commented out.
    """

    value: Any
    comment: str = ""
    is_active: bool = True


@dataclass(frozen=True)
class Question:
    """What only a reader of the spec can answer; the spec as written is the safe choice.

    Attributes:
        text: The question, and in which case to change the spec.
        lines: The lines to paste then.
    """

    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    """A spec with its comments; `write.write` returns its YAML.

    Attributes:
        document: The sections of the spec, in order.
        columns: The entry of each column of the header, by name.
        features: The entry of each feature.
        about: Sentences on where the draft comes from.
        questions: What a reader should answer, three at most.
        remarks: What a reader may want to know besides.
        comments: The comment of a section or key of the document, by `section` or `section.key`.
    """

    document: dict[str, Any]
    columns: dict[str, Entry]
    features: list[Entry]
    about: list[str]
    questions: list[Question]
    remarks: list[str]
    comments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableProfile:
    """All that is known about a table before features are chosen.

    Attributes:
        sample: The sampled rows.
        columns: The profile of each column, by name.
        target: The column to predict.
        goal: The label that is made of the target.
        split: The split, with the part of each sampled row.
        leaks: The columns that may give the label away, with how that shows.
        suspects: Other columns that predict the label very well alone, with how that shows.
    """

    sample: Sample
    columns: dict[str, ColumnProfile]
    target: str
    goal: Goal
    split: DraftSplit
    leaks: dict[str, str]
    suspects: dict[str, str] = field(default_factory=dict)

    @property
    def train_rows(self) -> int:
        """The rows of the train split, estimated from the sample."""
        share = float(np.mean(self.split.parts == 0))
        return round((self.sample.rows or self.sample.table.num_rows) * share)

    @property
    def untrained(self) -> list[int]:
        """The classes of a multiclass label that have no row in the train split."""
        if self.goal.task != "multiclass":
            return []
        in_train = self.goal.values[self.goal.known & (self.split.parts == 0)]
        return sorted(set(range(len(self.goal.classes))) - set(in_train.astype(int).tolist()))

    @property
    def column_models(self) -> ColumnModels:
        """One-column models, fitted to the rows of the train split and measured on the test split.

        A test split of under a hundred rows is measured together with the validation split.
        """
        known, parts = self.goal.known, self.split.parts
        test = known & (parts == 2)
        if test.sum() < GATE_ROWS:
            test = known & (parts > 0)
        return ColumnModels(self.goal, known & (parts == 0), test)
