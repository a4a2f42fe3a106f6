"""The columns that are read: their types, and their format where it is unusual."""

import re
from dataclasses import fields
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    model_validator,
)

from quatrain.components.specification.section import as_list
from quatrain.components.specification.time_format import format_problem
from quatrain.trainer.features.base import Type
from quatrain.trainer.features.text_format import Case, EpochUnit, Spelling


def _check_decimal(value: str) -> str:
    if value not in (".", ","):
        raise ValueError(f"{value!r} is no decimal sign; write '.' or ','")
    return value


def _check_thousands(value: str) -> str:
    if value not in (",", ".", "'", "\u2019", " ", "\u00a0", "\u202f"):
        raise ValueError(f"{value!r} does not separate thousands; write ',', '.', \"'\" or ' '")
    return value


def _check_units(units: tuple[str, ...]) -> tuple[str, ...]:
    """Returns units without blanks around them, none of which may look like a part of a number."""
    for unit in units:
        stripped = unit.strip()
        if not stripped or stripped[0] in "+-\u2212()" or stripped in {".", ",", "'", "\u2019"}:
            raise ValueError(f"{unit!r} is no unit; write a text such as EUR, % or kg")
        if stripped[0].isdigit() or re.match(r"[eE][-+]?\d", stripped):
            raise ValueError(f"{unit!r} starts like a number; write what stands beside the digits")
    return tuple(unit.strip() for unit in units)


Decimal = Annotated[str, AfterValidator(_check_decimal)]
Thousands = Annotated[str, AfterValidator(_check_thousands)]
Units = Annotated[tuple[str, ...], BeforeValidator(as_list), AfterValidator(_check_units)]


class Column(BaseModel):
    """A column that is read: its type, and its format where it is unusual."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Type
    format: str | None = None
    epoch: EpochUnit | None = None
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    decimal: Decimal | None = None
    thousands: Thousands | None = None
    unit: Units = ()
    trim: bool = False
    case: Case | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _check_settings(self) -> "Column":
        """Checks that the settings suit the type and each other."""
        for key, types in _SETTINGS_OF.items():
            if getattr(self, key) and self.type not in types:
                raise ValueError(
                    f"{key} is a setting of {' and '.join(types)}, not of {self.type}; leave it out"
                )
        if bool(self.true_values) != bool(self.false_values):
            raise ValueError("give both true_values and false_values, or neither")
        if both := set(self.true_values) & set(self.false_values):
            raise ValueError(
                f"{min(both)!r} is among both true_values and false_values; remove it from one"
            )
        if self.format is not None and self.epoch is not None:
            raise ValueError("give format or epoch, not both")
        if problem := format_problem(self.format):
            raise ValueError(f"format {self.format!r} {problem}")
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; change one of them")
        return self

    @property
    def spelling(self) -> Spelling:
        """The format of the column's values."""
        return Spelling(**{f.name: getattr(self, f.name) for f in fields(Spelling)})


_SETTINGS_OF = {
    "format": ("timestamp", "date"),
    "epoch": ("timestamp",),
    "true_values": ("bool",),
    "false_values": ("bool",),
    **dict.fromkeys(("decimal", "thousands", "unit"), ("int", "float")),
    "trim": ("string",),
    "case": ("string",),
}


def _read_column(value: Any) -> Any:
    """Reads text in place of a mapping as the column's type."""
    return {"type": value} if isinstance(value, str) else value


def _write_column(column: Column) -> Any:
    written = column.model_dump(mode="json", exclude_defaults=True)
    return column.type if list(written) == ["type"] else written


ColumnEntry = Annotated[Column, BeforeValidator(_read_column), PlainSerializer(_write_column)]
