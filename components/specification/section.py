"""The base of every section of a spec: a frozen model that refuses unknown keys."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def as_list(value: Any) -> Any:
    """Wraps a single text into a list; anything else stays as it is."""
    return [value] if isinstance(value, str) else value
