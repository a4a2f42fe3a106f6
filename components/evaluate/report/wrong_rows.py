"""The part of the report that quotes the test rows that the model got most wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

N_VALUES = 8
"""Raw values that stand in the line of a row; the others unfold."""
MAX_OTHERS = 100
"""Raw values that unfold; metrics.json has those of tables with thousands of columns."""
MAX_VALUE = 80
"""Characters of a value that are shown."""

Values = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class WrongRowLine:
    """A line of the table, as text.

    Attributes:
        number: The row's number in the test split, from 0.
        label: Its label.
        prediction: The likeliest class, or the predicted number.
        gap: The probability of its label, or prediction - label.
        first: Names and raw values of the inputs that matter most.
        others: Names and raw values of other columns.
        n_unlisted: The number of columns that are not shown.
    """

    number: str
    label: str
    prediction: str
    gap: str
    first: Values
    others: Values
    n_unlisted: int


def line(row: Mapping[str, Any], strongest: Sequence[str]) -> WrongRowLine:
    """Returns the line of a row, the values of the strongest inputs first."""
    columns = [*(c for c in strongest if c in row["values"]), *row["values"]]
    values = [(_cut(c), _cut(_text(row["values"][c]))) for c in dict.fromkeys(columns)]
    if row["probability"] is None:
        gap = _text(row["prediction"] - row["label"])
    else:
        gap = _share(row["probability"])
    label, prediction = (_cut(_text(row[key])) for key in ("label", "prediction"))
    number = f"{row['row']:,}"
    first, others = values[:N_VALUES], values[N_VALUES : N_VALUES + MAX_OTHERS]
    n_unlisted = len(values) - len(first) - len(others)
    return WrongRowLine(number, label, prediction, gap, first, others, n_unlisted)


def _share(value: float) -> str:
    """Returns a probability in per cent, with two digits where it is small."""
    return f"{value:.1%}" if value >= 0.01 else f"{100 * value:.2g}%"


def _text(value: Any) -> str:
    """Returns a raw value, a label or a prediction as text; numbers have up to six digits."""
    if value is None or value == "":
        return "(missing)"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"
