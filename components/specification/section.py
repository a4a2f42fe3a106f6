"""The base of every section of a spec: a frozen model that refuses unknown keys."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A section of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_bools(cls, value: Any) -> Any:
        hints = {f.alias or name: f.annotation for name, f in cls.model_fields.items()}
        return spell_bools(value, hints)


def spell_bools(value: Any, hints: Mapping[str, Any]) -> Any:
    """Returns a mapping with true and false as texts where a number belongs.

    Such a text is refused; pydantic would take true for 1.

    Args:
        value: The mapping, or a value of another kind, which stays as it is.
        hints: The types of its entries.
    """
    if not isinstance(value, Mapping):
        return value
    return {
        name: str(entry).lower()
        if isinstance(entry, bool) and _is_number(hints.get(name))
        else entry
        for name, entry in value.items()
    }


def _is_number(hint: Any) -> bool:
    kinds = _kinds(hint)
    return bool(kinds & {int, float}) and bool not in kinds


def _kinds(annotation: Any) -> set[Any]:
    """Returns the types that a hint is made of, itself among them."""
    return {annotation}.union(*map(_kinds, get_args(annotation)))


def as_list(value: Any) -> Any:
    """Wraps a single text into a list; anything else stays as it is."""
    return [value] if isinstance(value, str) else value
