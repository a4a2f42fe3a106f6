"""JSON for programs: what a verb prints with `--json` in place of its table."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def json_text(value: Any) -> str:
    """Returns a value as an indented JSON document, in ASCII, so that every reader takes it.

    A time becomes ISO 8601 text, a path its text, a dataclass or a pydantic model an object, and a
    number that JSON lacks (NaN, infinity) null.

    Raises:
        TypeError: The value holds something else.
    """
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """Returns a value in the types of JSON."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.date):  # a datetime is one, too
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, BaseModel):
        value = value.model_dump()
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(entry) for entry in value]
    return value
