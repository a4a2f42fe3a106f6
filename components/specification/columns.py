"""The columns that are read: their types, and how they are written where that is not usual."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator

from quatrain.trainer.features.base import Type
from quatrain.trainer.features.text_format import Case, EpochUnit, Spelling

DIRECTIVE = re.compile(r"%(.)?", re.DOTALL)
DIRECTIVES = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    **dict.fromkeys("mdHIMS", "[0-9]{1,2}"),
    "f": "[0-9]{1,6}",
    "b": "[A-Za-z]{3}",
    "B": "[A-Za-z]{3,9}",
    "p": "[AaPp][Mm]",
    "z": r"(?:Z|[+-][0-9]{2}:?[0-9]{2})",
    "%": "%",
}
"""What a time's format may hold, and the characters that each takes."""


class Column(BaseModel):
    """A column that is read: its type, and how it is written where that is not the usual way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Type
    format: str | None = None
    epoch: EpochUnit | None = None
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    trim: bool = False
    case: Case | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _suits_its_type(self) -> "Column":
        for key, types in _SETTINGS_OF.items():
            if getattr(self, key) and self.type not in types:
                raise ValueError(f"{key} is a setting of {' and '.join(types)}, not of {self.type}")
        if bool(self.true_values) != bool(self.false_values):
            raise ValueError("give both true_values and false_values, or neither")
        if both := set(self.true_values) & set(self.false_values):
            raise ValueError(f"{min(both)!r} is among both true_values and false_values")
        if self.format is not None and self.epoch is not None:
            raise ValueError("give format or epoch, not both")
        if problem := _format_problem(self.format):
            raise ValueError(f"format {self.format!r} {problem}")
        return self

    @property
    def spelling(self) -> Spelling:
        """How its values are written."""
        return Spelling(self.format, self.epoch, self.true_values, self.false_values)


_SETTINGS_OF = {
    "format": ("timestamp", "date"),
    "epoch": ("timestamp",),
    "true_values": ("bool",),
    "false_values": ("bool",),
    "trim": ("string",),
    "case": ("string",),
}


def _format_problem(form: str | None) -> str | None:
    """Says what is wrong with a format of times: it must name one day, and nothing in two ways."""
    if form is None:
        return None
    used = DIRECTIVE.findall(form)
    if unknown := [d for d in used if d not in DIRECTIVES]:
        known = ", ".join(f"%{d}" for d in DIRECTIVES)
        return f"holds %{unknown[0]}; it may hold {known}"
    parts = [_PART.get(d, d) for d in used if d != "%"]
    if twice := [p for p in parts if parts.count(p) > 1]:
        return f"says {twice[0]} twice"
    if not {"the year", "the month", "d"} <= set(parts):
        return "must name the day, by %Y or %y, %m or %b or %B, and %d"
    if ("I" in parts) != ("p" in parts):
        return "must hold both %I and %p, or neither; %H is the hour of 24"
    return None


_PART = {"Y": "the year", "y": "the year", "H": "the hour", "I": "I"} | dict.fromkeys(
    "mbB", "the month"
)


def _read_column(value: Any) -> Any:
    """A text alone is a column's type."""
    return {"type": value} if isinstance(value, str) else value


def _write_column(column: Column) -> Any:
    written = column.model_dump(mode="json", exclude_defaults=True)
    return column.type if list(written) == ["type"] else written


ColumnEntry = Annotated[Column, BeforeValidator(_read_column), PlainSerializer(_write_column)]
