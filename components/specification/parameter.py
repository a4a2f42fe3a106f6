"""Reads a spec from the parameter that carries it through the pipeline."""

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from quatrain.components.errors import SpecError
from quatrain.components.specification.messages import schema_problems
from quatrain.components.specification.schema import ORDERED, ModelSpec, section_of

MAX_VALUES = 100_000
"""The largest document; YAML's aliases can write a list of 10^9 values in a few lines."""


def is_bounded(value: Any) -> bool:
    """Tells whether a parsed document has at most MAX_VALUES values, each alias counted."""
    waiting, count = [value], 0
    while waiting:
        at = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            return False
        if isinstance(at, Mapping):
            waiting += at.values()
        elif isinstance(at, list):
            waiting += at
    return True


def read_parameter(value: Mapping[str, Any]) -> ModelSpec:
    """Reads a spec as the pipeline carries it; checks its schema alone.

    Whole numbers that KFP turned into 3.0 come back as 3.

    Raises:
        SpecError: Every problem at once, each with its place.
    """
    if not is_bounded(value):
        raise SpecError(f"spec: holds more than {MAX_VALUES:,} values")
    merged = copy.deepcopy(dict(value))
    for *sections, key in ORDERED:
        at = section_of(merged, sections)
        if isinstance(at.get(key), list) and all(isinstance(e, dict) for e in at[key]):
            at[key] = {name: entry for pair in at[key] for name, entry in pair.items()}
    try:
        return ModelSpec.model_validate(merged)
    except ValidationError as error:
        problems = schema_problems(error.errors(), merged)
        raise SpecError("\n".join(f"spec: {problem}" for problem in problems)) from error
