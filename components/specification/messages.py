"""Turns pydantic's errors about a spec into sentences, each with its place and the way out."""

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from pydantic import BaseModel

from quatrain.components.documents import requirement
from quatrain.components.specification.columns import Column
from quatrain.components.specification.release import Release, RequestLog
from quatrain.components.specification.schema import (
    Bound,
    Clean,
    Deduplicate,
    Drift,
    Evaluate,
    ModelSpec,
    Train,
    Tune,
)
from quatrain.components.specification.source import Source
from quatrain.components.specification.split import ColumnSplit, FoldSplit, HashSplit, TimeSplit
from quatrain.components.tiers.legacy_config import OldConfig, OldTuning, ReplicaConfig
from quatrain.components.tiers.pools import Pool
from quatrain.components.wording import near
from quatrain.trainer.features import FEATURES
from quatrain.trainer.settings import Hyperparameters

_SECTIONS: dict[str, type[BaseModel]] = {
    "source": Source,
    "clean": Clean,
    "train": Train,
    "drift": Drift,
    "evaluate": Evaluate,
    "release": Release,
}
_SPLITS: dict[str, type[BaseModel]] = {
    "hash": HashSplit,
    "time": TimeSplit,
    "column": ColumnSplit,
    "fold": FoldSplit,
}
_PARTS: dict[str, type[BaseModel]] = {
    "columns": Column,
    "gate": Bound,
    "deduplicate": Deduplicate,
    "pools": Pool,
    "tune": Tune,
    "log": RequestLog,
}
_PATTERNS = {
    "name": "must be lower-case letters, digits and hyphens, a letter first",
    "delimiter": "must be one ASCII character, and neither a quote nor a line end",
}


def schema_problems(errors: Sequence[Any], value: Any) -> list[str]:
    """Returns a sentence for each of pydantic's errors.

    Args:
        errors: The result of `ValidationError.errors()`.
        value: The document that was checked.
    """
    inside = {e["loc"][:1] for e in errors if len(e["loc"]) > 1}
    # pydantic also reports a list as empty when all of its entries are wrong.
    return [_sentence(e, value) for e in errors if e["loc"] not in inside]


def _sentence(error: Any, value: Any) -> str:
    """Returns one of pydantic's errors as a sentence, with its place in the spec."""
    loc, kind, entry = error["loc"], error["type"], error.get("input")
    at = _place(loc, value)
    message = requirement(error)
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{at}: unknown key{near(loc[-1], _keys_at(loc[:-1], value))}"
    if kind == "missing":
        return f"{at}: missing"
    if kind == "value_error":
        separator = "." if loc and loc[0] == "features" and re.match(r"\w+: ", message) else ": "
        return f"{at}{separator}{message}"
    if kind in ("literal_error", "union_tag_invalid"):
        ctx = error["ctx"]
        allowed = re.findall(r"'([^']+)'", str(ctx.get("expected") or ctx["expected_tags"]))
        noun = str(loc[-1])
        word = ctx.get("tag", entry)
        return f"{at}: unknown {noun} {word!r}{near(word, allowed)}"
    shown = "" if entry in (None, [], ()) or isinstance(entry, dict) else f", not {entry!r}"
    if "gate" in loc and kind == "model_type":
        return f"{at}: must say min or max, as {{min: {entry}}}{shown}"
    if kind == "string_pattern_mismatch":
        return f"{at}: {_PATTERNS[loc[-1]]}{shown}"
    return f"{at}: {message}{shown}"


def _place(loc: Sequence[Any], value: Any) -> str:
    """Returns a place of the spec as its author would name it, for example features[2].from."""
    parts = [p for p in loc if p != "settings"]
    if parts[:1] == ["columns"] and len(parts) > 2 and isinstance(value["columns"][parts[1]], str):
        del parts[2:]  # the entry is not a mapping but its type as text
    if parts[:1] == ["split"] and len(parts) > 1:
        del parts[1]  # pydantic puts the kind of split here
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).lstrip(".")


def _keys_at(loc: Sequence[Any], value: Any) -> list[str]:
    """Returns the keys that are allowed at a place of the spec."""
    head = str(loc[0]) if loc else ""
    if not head:
        return [field.alias or name for name, field in ModelSpec.model_fields.items()]
    if head == "split":
        return list(_SPLITS[str(loc[1])].model_fields)
    if head == "features":
        cls = FEATURES[value["features"][loc[1]]["transform"]]
        hidden = ("columns", "types", *cls.fitted)
        return ["from", "transform", *(f.name for f in fields(cls) if f.name not in hidden)]
    inner = next((part for key, part in _PARTS.items() if key in loc), None)
    if inner:
        return list(inner.model_fields)
    if "config" in loc:
        records: dict[str, type[BaseModel]] = {"config": OldConfig, "hyperparameters": OldTuning}
        record = records.get(str(loc[-1]), ReplicaConfig)
        return [field.alias or name for name, field in record.model_fields.items()]
    names = list(_SECTIONS[head].model_fields)
    if head == "train":
        names += [f.name for f in fields(Hyperparameters)]
    return [n for n in names if n != "settings"]
