"""What is wrong with a spec: every problem at once, each with its place and the way out."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

from pydantic import BaseModel

from quatrain.components.evaluate.measures.metrics import METRICS, metrics_of
from quatrain.components.specification.columns import Column
from quatrain.components.specification.schema import (
    Bound,
    Clean,
    ColumnSplit,
    Deduplicate,
    Drift,
    Evaluate,
    FoldSplit,
    HashSplit,
    ModelSpec,
    Source,
    TimeSplit,
    Train,
    Tune,
    as_list,
    read_feature,
    typed,
)
from quatrain.components.tiers.legacy_config import OldConfig, ReplicaConfig
from quatrain.components.tiers.pools import Pool
from quatrain.components.wording import near
from quatrain.trainer.features import FEATURES, LABEL, RAW_PREFIX, WEIGHT, Feature, Type
from quatrain.trainer.settings import Hyperparameters

REASONS = (
    *("short_row", "long_row", "unclosed_quote", "stray_return", "bad_json", "missing_key"),
    *("bad_encoding", "bad_value", "duplicate"),
    *("label_missing", "bad_label", "weight_missing", "bad_weight", "bad_split"),
)
"""Why rows are rejected without a rule."""

PLACEHOLDER = "{{$"
"""How a placeholder of Kubeflow begins."""

_SECTIONS: dict[str, type[BaseModel]] = {
    "source": Source,
    "clean": Clean,
    "train": Train,
    "drift": Drift,
    "evaluate": Evaluate,
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
}
_EXPECTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "string_too_short": "must hold text",
    "too_short": "must hold at least one",
    "finite_number": "must be a finite number",
    "model_attributes_type": "must be a mapping",
}
_PATTERNS = {
    "name": "must be lower-case letters, digits and hyphens, a letter first",
    "delimiter": "must be one ASCII character, and neither a quote nor a line end",
}


def schema_problems(errors: Sequence[Any], value: Any) -> list[str]:
    """Turns the errors of pydantic into sentences.

    Args:
        errors: As `ValidationError.errors()` gives them.
        value: The spec that was checked.
    """
    inside = {e["loc"][:1] for e in errors if len(e["loc"]) > 1}
    # A list whose every entry is wrong is also reported as empty: once is enough.
    return [_sentence(e, value) for e in errors if e["loc"] not in inside]


def _sentence(error: Any, value: Any) -> str:
    loc, kind, seen = error["loc"], error["type"], error.get("input")
    at = _place(loc, value)
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "must")
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
        word = ctx.get("tag", seen)
        return f"{at}: unknown {noun} {word!r}{near(word, allowed)}"
    shown = "" if seen in (None, [], ()) or isinstance(seen, dict) else f", not {seen!r}"
    if "gate" in loc and kind == "model_type":
        return f"{at}: must say min or max, as {{min: {seen}}}{shown}"
    if kind == "string_pattern_mismatch":
        return f"{at}: {_PATTERNS[loc[-1]]}{shown}"
    return f"{at}: {_EXPECTED.get(kind, message)}{shown}"


def _place(loc: Sequence[Any], value: Any) -> str:
    parts = [p for p in loc if p != "settings"]
    if parts[:1] == ["columns"] and len(parts) > 2 and isinstance(value["columns"][parts[1]], str):
        del parts[2:]  # a text alone is the type
    if parts[:1] == ["split"] and len(parts) > 1:
        del parts[1]  # pydantic names the kind of split here
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
        section = OldConfig if loc[-1] == "config" else ReplicaConfig
        return [str(f.alias) for f in section.model_fields.values()]
    names = list(_SECTIONS[head].model_fields)
    if head == "train":
        names += [f.name for f in fields(Hyperparameters)]
    return [n for n in names if n != "settings"]


@dataclass(frozen=True)
class _Outline:
    """What can be read of a spec even where other parts of it are wrong."""

    value: Mapping[str, Any]
    columns: Mapping[str, Type]
    derived: Mapping[str, str]
    features: Mapping[int, Feature]

    @property
    def known(self) -> dict[str, Any]:
        return {**self.columns, **self.derived}

    def get(self, *keys: str) -> Any:
        """The value at a path, or None where the spec has another shape."""
        value: Any = self.value
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


def _outline(value: Any) -> _Outline:
    bare = _Outline(value if isinstance(value, Mapping) else {}, {}, {}, {})
    columns, derived = bare.get("columns"), bare.get("clean", "derive")
    columns = columns if isinstance(columns, Mapping) else {}
    columns = {n: str(c.get("type") if isinstance(c, Mapping) else c) for n, c in columns.items()}
    entries = bare.get("features")
    features = {}
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            features[i] = typed(read_feature(entry), columns)
        except ValueError:
            continue  # reported by schema_problems
    return _Outline(bare.value, columns, derived if isinstance(derived, Mapping) else {}, features)


def cross_problems(value: Any) -> list[str]:
    """Returns what is wrong between the sections of a spec, as far as they can be read."""
    outline = _outline(value)
    return [
        *_placeholder_problems(value, ""),
        *_clean_problems(outline),
        *_reference_problems(outline),
        *_feature_problems(outline),
        *_gate_problems(outline),
    ]


def _placeholder_problems(value: Any, at: str) -> Iterator[str]:
    """Yields the texts in which Kubeflow would put values of its own; it does so anywhere."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _placeholder_problems(str(key), at)
            yield from _placeholder_problems(inner, f"{at}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _placeholder_problems(inner, f"{at}[{i}]")
    elif isinstance(value, str) and PLACEHOLDER in value:
        told = f"{value!r} holds {PLACEHOLDER!r}, which a pipeline replaces; write it otherwise"
        yield f"{at}: {told}"


def _clean_problems(outline: _Outline) -> Iterator[str]:
    for name in outline.derived:
        if name in outline.columns:
            yield f"clean.derive.{name}: a column has this name already"
    for name in outline.get("clean", "reject") or ():
        if name in REASONS:
            yield f"clean.reject.{name}: rows are rejected for this without a rule; rename yours"
    for kind in ("reject", "derive"):
        for name in outline.get("clean", kind) or ():
            if not str(name).isidentifier():
                yield f"clean.{kind}.{name}: a name holds letters, digits and underscores"


def _reference_problems(outline: _Outline) -> Iterator[str]:
    for place, name in _references(outline):
        if isinstance(name, str) and name not in outline.known:
            yield f"{place}: unknown column {name!r}{near(name, outline.known)}"
        elif place.startswith(("split.keys", "split.column")) and name == outline.get("label"):
            yield f"{place}: {name!r} is the label; each class would fall into one split"
    slices = outline.get("evaluate", "slices")
    for i, name in enumerate(slices if isinstance(slices, list) else []):
        if name in slices[:i]:
            yield f"evaluate.slices[{i}]: {name!r} stands twice"


def _references(outline: _Outline) -> Iterator[tuple[str, Any]]:
    """Yields every place that names a column or a derived column."""
    yield "label", outline.get("label")
    yield "weight", outline.get("weight")
    yield "split.column", outline.get("split", "column")
    yield "split.stratify", outline.get("split", "stratify")
    yield "clean.deduplicate.keep_newest_by", outline.get("clean", "deduplicate", "keep_newest_by")
    for path in (("split", "keys"), ("evaluate", "slices"), ("clean", "deduplicate", "keys")):
        names = as_list(outline.get(*path))
        if isinstance(names, list | tuple):
            yield from ((f"{'.'.join(path)}[{i}]", name) for i, name in enumerate(names))


def named_columns(value: Any) -> list[tuple[str, str]]:
    """Returns every place of a spec that names a column beside `columns` and SQL, and the name."""
    outline = _outline(value)
    return [
        *((place, name) for place, name in _references(outline) if isinstance(name, str)),
        *((f"features[{i}].from", c) for i, f in outline.features.items() for c in f.columns),
    ]


def _feature_problems(outline: _Outline) -> Iterator[str]:
    seen: dict[str, int] = {}
    for i, feature in outline.features.items():
        for column in feature.columns:
            yield from (
                f"features[{i}].from: {p}" for p in _input_problems(outline, feature, column)
            )
        if len(feature.types) == len(feature.columns) and (wrong := feature.check()):
            yield f"features[{i}]: {wrong}"
            continue
        for name in feature.names:
            if problem := _name_problem(name, seen):
                yield f"features[{i}].name: {problem}"
            seen.setdefault(name, i)


def _name_problem(name: str, seen: Mapping[str, int]) -> str | None:
    if name in (LABEL, WEIGHT) or name.startswith(RAW_PREFIX):
        return f"{name!r} is reserved; choose another name"
    if not name.isidentifier():
        return f"{name!r} may hold letters, digits and underscores only"
    if name in seen:
        return f"features[{seen[name]}] gives a column {name!r} already"
    return None


def _input_problems(outline: _Outline, feature: Feature, column: str) -> Iterator[str]:
    if column in outline.derived:
        yield (
            f"{column!r} is derived by SQL, which the serving signature cannot run; "
            "use a column of the table and a transform"
        )
    elif column not in outline.columns:
        yield f"unknown column {column!r}{near(column, outline.columns)}"
    elif column == outline.get("label"):
        yield f"{column!r} is the label; a feature made of it would give the answer away"
    elif outline.columns[column] in get_args(Type) and (
        outline.columns[column] not in feature.accepts
    ):
        accepted = ", ".join(sorted(feature.accepts))
        name = feature.transform  # type: ignore[attr-defined]
        yield f"{column!r} is {outline.columns[column]}; {name} takes {accepted}"


def _gate_problems(outline: _Outline) -> Iterator[str]:
    task, gate = outline.get("task"), outline.get("evaluate", "gate")
    if isinstance(task, str) and task in METRICS and isinstance(gate, Mapping):
        for metric in gate:
            if metric not in metrics_of(task):
                nearest = near(metric, metrics_of(task))
                yield f"evaluate.gate.{metric}: no metric of a {task} model{nearest}"


def rule_problems(value: Any) -> list[str]:
    """Returns what is wrong with the SQL and the tier of a spec that has other problems too.

    A spec without other problems gets these checks with all that is known of it.
    """
    from quatrain.components.preprocess.expressions import ExpressionError, types_of
    from quatrain.components.tiers import tiers

    outline = _outline(value)
    columns = {n: t for n, t in outline.columns.items() if t in get_args(Type)}
    rules = {
        f"clean.{kind}.{name}": sql
        for kind in ("reject", "derive")
        for name, sql in (outline.get("clean", kind) or {}).items()
        if isinstance(sql, str)
    }
    types = zip(rules, types_of(list(rules.values()), columns), strict=True) if columns else ()
    found = [f"{place}: {error}" for place, error in types if isinstance(error, ExpressionError)]
    tier = outline.get("train", "tier")
    if isinstance(tier, str) and tier not in tiers.names():
        found.append(f"train.tier: unknown tier {tier!r}{near(tier, tiers.names())}")
    return found
