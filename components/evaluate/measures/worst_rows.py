"""The test rows that a model got most wrong: the few with the largest loss, whatever the cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

MAX_TEXT = 200
"""Characters of a text that metrics.json and the report quote."""


@dataclass(frozen=True)
class WrongRow:
    """A scored test row.

    Attributes:
        row: Its number in the test split, from 0.
        loss: Its log-loss, or its squared error.
        label: Its class, or number.
        prediction: The likeliest class, or the predicted number.
        probability: The probability of its class; None for a regression.
        values: Its raw values by column, as they were read; a long text is cut.
    """

    row: int
    loss: float
    label: str | float
    prediction: str | float
    probability: float | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class WorstRows:
    """The `n` rows with the largest loss, the worst first; `+` merges.

    Of equal losses the first row of the split wins, so neither the cut nor the order of the merging
    changes which rows are listed.
    """

    n: int = 0
    rows: tuple[WrongRow, ...] = ()

    @classmethod
    def of(
        cls,
        n: int,
        first_row: int,
        losses: np.ndarray,
        labels: np.ndarray,
        answers: np.ndarray,
        classes: Sequence[str],
        raw: pa.Table,
        weights: np.ndarray | None = None,
    ) -> WorstRows:
        """Returns the worst rows of a batch.

        Args:
            n: Number of rows to list.
            first_row: Number of the batch's first row in the test split.
            losses: `[N] float64`.
            labels: `[N]` class indices or numbers.
            answers: `[N, C]` probabilities or `[N]` predictions.
            classes: Names of the classes; empty for a regression.
            raw: The columns to quote.
            weights: `[N]`, or None; a row of weight 0 counts for nothing, so it is not listed.
        """
        order = np.argsort(-losses, kind="stable")  # stable: the first of equal rows comes first
        if weights is not None:
            order = order[weights[order] > 0]
        rows = []
        for k in order[:n].tolist():
            label, prediction, probability = float(labels[k]), float(answers.flat[k]), None
            if classes:
                probability = float(answers[k, labels[k]])
                label, prediction = (classes[i] for i in (labels[k], answers[k].argmax()))
            values = {c: quoted(v[0]) for c, v in raw.slice(k, 1).to_pydict().items()}
            loss = float(losses[k])
            rows.append(WrongRow(first_row + k, loss, label, prediction, probability, values))
        return cls(n, tuple(rows))

    def __add__(self, other: WorstRows) -> WorstRows:
        n = max(self.n, other.n)
        worst = sorted([*self.rows, *other.rows], key=lambda r: (-r.loss, r.row))
        return WorstRows(n, tuple(worst[:n]))

    def listed(self) -> list[dict[str, Any]]:
        """Returns the rows as metrics.json lists them."""
        return [asdict(row) for row in self.rows]


def quoted(value: Any) -> Any:
    """Returns a raw value as JSON can hold it: times as text, and a long text cut."""
    if value is None or isinstance(value, int | float | bool):
        return value
    text = str(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
