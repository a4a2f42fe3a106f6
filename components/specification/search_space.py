"""The search space of a tuning, in the words of Vertex's StudySpec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from quatrain.components.documents import requirement
from quatrain.components.wording import near
from quatrain.trainer.settings import UNTUNED, Hyperparameters, Search, search_space

_HINTS = get_type_hints(Hyperparameters)
_TYPES = {f.name: _HINTS[f.name] for f in fields(Hyperparameters)}
_SCALES = {"linear": "UNIT_LINEAR_SCALE", "log": "UNIT_LOG_SCALE"}


def read_search(name: str, value: Any) -> Search:
    """Reads the search space of a setting: `{min, max, scale}`, or a list of choices.

    Raises:
        ValueError: The trainer has no such setting, or the setting cannot have such a value.
    """
    if isinstance(value, Search):
        return value
    known = [n for n in _TYPES if n not in UNTUNED]
    if name not in known:
        raise ValueError(f"{name}: no setting to tune{near(name, known)}")
    if isinstance(value, list | tuple) and value:
        return Search(choices=tuple(_setting(name, choice) for choice in value))
    if not isinstance(value, Mapping) or not {"min", "max"} <= set(value) <= {
        "min",
        "max",
        "scale",
    }:
        raise ValueError(f"{name}: write {{min: x, max: y, scale: log}}, or a list of choices")
    if _TYPES[name] not in (int, float):
        raise ValueError(f"{name}: give a list of choices; it has no order to search between")
    low, high = (_setting(name, value[key]) for key in ("min", "max"))
    scale = value.get("scale", "linear")
    if scale not in _SCALES:
        raise ValueError(f"{name}: unknown scale {scale!r}{near(scale, _SCALES)}")
    if low >= high or (scale == "log" and low <= 0):
        above = "above 0 and " if scale == "log" else ""
        raise ValueError(f"{name}: min {low} must be {above}below max {high}")
    return Search(min=low, max=high, scale=scale)


def write_search(search: Search) -> Any:
    """Returns a search space in the form that `read_search` reads."""
    if search.choices:
        return [list(c) if isinstance(c, tuple) else c for c in search.choices]
    return {"min": search.min, "max": search.max, "scale": search.scale}


def _setting(name: str, value: Any) -> Any:
    """Returns a value in the type of its setting.

    Raises:
        ValueError: The setting cannot have this value.
    """
    if isinstance(value, bool):
        raise ValueError(f"{name}: must be a number or text, not {str(value).lower()}")
    try:
        return getattr(TypeAdapter(Hyperparameters).validate_python({name: value}), name)
    except ValidationError as error:
        reason = requirement(error.errors()[0])
        raise ValueError(f"{name}: {value!r} cannot be tried: {reason}") from error


def study_parameters(
    space: Mapping[str, Search] | None, rows: int, model: str
) -> list[dict[str, Any]]:
    """Returns the study's `ParameterSpec`s; Vertex passes `--NAME=VALUE` of each to a trial.

    Args:
        space: The spec's search space; None means the trainer's own for a table of this size.
        rows: The rows of the train split.
        model: The kind of model.
    """
    searches = search_space(rows, model) if space is None else space
    return [_parameter(name, searches[name]) for name in _TYPES if name in searches]


def _parameter(name: str, search: Search) -> dict[str, Any]:
    """Returns the `ParameterSpec` of a setting: an interval, numbers to choose from, or texts."""
    if not search.choices:
        kind = "integer_value_spec" if _TYPES[name] is int else "double_value_spec"
        return {
            "parameter_id": name,
            kind: {"min_value": search.min, "max_value": search.max},
            "scale_type": _SCALES[search.scale],
        }
    if _TYPES[name] in (int, float):
        values = sorted(float(choice) for choice in search.choices)
        return {"parameter_id": name, "discrete_value_spec": {"values": values}}
    texts = [as_text(choice) for choice in search.choices]
    return {"parameter_id": name, "categorical_value_spec": {"values": texts}}


def as_text(value: Any) -> str:
    """Returns a setting as an option of `trainer.task` takes it; a list is joined by commas."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)
