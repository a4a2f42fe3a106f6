"""Finds what is wrong between the sections of a spec: references, features, metrics, SQL, tiers."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, get_args

from pydantic import ValidationError

from quatrain.components.errors import SpecError
from quatrain.components.evaluate.measures.metrics import METRICS, metrics_of
from quatrain.components.specification.schema import read_feature, typed
from quatrain.components.specification.section import as_list
from quatrain.components.tiers.legacy_config import OldTuning
from quatrain.components.wording import a_or_an, near
from quatrain.trainer.features import LABEL, RAW_PREFIX, WEIGHT, Feature, Ordered, Type
from quatrain.trainer.settings import MODELS

REASONS = (
    *("short_row", "long_row", "unclosed_quote", "escaped_quote", "stray_return", "bad_json"),
    *("missing_key", "nul_byte", "bad_encoding", "bad_value", "duplicate"),
    *("label_missing", "bad_label", "weight_missing", "bad_weight", "bad_split"),
)
"""Why rows are rejected without a rule."""

REPORTED = "validation_loss"
"""The metric that the trials of Quatrain's own trainer report."""
BOOLS = ("false", "true")
"""The classes of a label that is a bool."""
PLACEHOLDER = "{{$"
"""The beginning of a placeholder in Kubeflow, which replaces it in every parameter."""


@dataclass(frozen=True)
class _Outline:
    """The parts of a spec that can be read even where others are wrong."""

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

    def mapping(self, *keys: str) -> Mapping[str, Any]:
        """The mapping at a path; empty where the spec has another shape."""
        value = self.get(*keys)
        return value if isinstance(value, Mapping) else {}


def _outline(value: Any) -> _Outline:
    """Returns the parts of a spec that can be read, whatever its shape."""
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
    """Returns the problems between the sections of a spec, as far as these can be read."""
    outline = _outline(value)
    return [
        *_placeholder_problems(value, ""),
        *_clean_problems(outline),
        *_reference_problems(outline),
        *_feature_problems(outline),
        *_gate_problems(outline),
        *_tuning_problems(outline),
        *_class_weight_problems(outline),
        *_monotone_problems(outline),
    ]


def _placeholder_problems(value: Any, at: str) -> Iterator[str]:
    """Yields a problem for each text that holds a placeholder of Kubeflow."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _placeholder_problems(str(key), at)
            yield from _placeholder_problems(inner, f"{at}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _placeholder_problems(inner, f"{at}[{i}]")
    elif isinstance(value, str) and PLACEHOLDER in value:
        sentence = f"{value!r} holds {PLACEHOLDER!r}, which a pipeline replaces"
        yield f"{at}: {sentence}; write it otherwise"


def _clean_problems(outline: _Outline) -> Iterator[str]:
    """Yields names of rules and derived columns that are in use or are not identifiers."""
    for name in outline.derived:
        if name in outline.columns:
            yield f"clean.derive.{name}: a column has this name already"
    for name in outline.mapping("clean", "reject"):
        if name in REASONS:
            yield f"clean.reject.{name}: rows are rejected for this without a rule; rename yours"
    for kind in ("reject", "derive"):
        for name in outline.mapping("clean", kind):
            if not str(name).isidentifier():
                yield f"clean.{kind}.{name}: a name holds letters, digits and underscores"


def _reference_problems(outline: _Outline) -> Iterator[str]:
    """Yields columns that the spec names and does not declare, and keys that may not be named."""
    for place, name in _references(outline):
        if isinstance(name, str) and name not in outline.known:
            yield f"{place}: unknown column {name!r}{near(name, outline.known)}"
        elif (
            place.startswith(("split.keys", "split.column"))
            and name
            and name == outline.get("label")
        ):
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
    """Returns each place outside `columns` and SQL that names a column, and that name."""
    outline = _outline(value)
    return [
        *((place, name) for place, name in _references(outline) if isinstance(name, str)),
        *((f"features[{i}].from", c) for i, f in outline.features.items() for c in f.columns),
    ]


def _feature_problems(outline: _Outline) -> Iterator[str]:
    """Yields features with a wrong input, wrong parameters or a name that is in use."""
    owners: dict[str, int] = {}
    for i, feature in outline.features.items():
        for column in feature.columns:
            yield from (
                f"features[{i}].from: {p}" for p in _input_problems(outline, feature, column)
            )
        if len(feature.types) == len(feature.columns) and (wrong := feature.check()):
            yield f"features[{i}]: {wrong}"
            continue
        problems = (p for name in feature.names if (p := _name_problem(name, owners)))
        yield from (f"features[{i}].name: {p}" for p in islice(problems, 1))
        owners |= {name: i for name in feature.names if name not in owners}


def _name_problem(name: str, owners: Mapping[str, int]) -> str | None:
    if name in (LABEL, WEIGHT) or name.startswith(RAW_PREFIX):
        return f"{name!r} is reserved; choose another name"
    if not name.isidentifier():
        return f"{name!r} may hold letters, digits and underscores only"
    if name in owners:
        return f"features[{owners[name]}] gives a column {name!r} already"
    return None


def _input_problems(outline: _Outline, feature: Feature, column: str) -> Iterator[str]:
    """Yields why a feature cannot take a column."""
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
                yield f"evaluate.gate.{metric}: no metric of {a_or_an(task)} model{nearest}"


def _tuning_problems(outline: _Outline) -> Iterator[str]:
    """Yields a metric that no trial will report, and an old tuning that nothing runs."""
    tune = outline.mapping("train", "tune")
    if not outline.get("train", "trainer"):
        metric, goal = tune.get("metric", REPORTED), tune.get("goal", "minimize")
        if metric != REPORTED:
            yield (
                f"train.tune.metric: no trial reports {metric!r}; Quatrain's trainer reports "
                f"{REPORTED}, and only a train.trainer of your own can report another metric"
            )
        elif goal == "maximize":
            yield f"train.tune.goal: {REPORTED} is a loss, which is to be minimized"
    old = outline.mapping("train", "config", "trainingInput")
    if old.get("masterType") and "hyperparameters" in old and not outline.get("train", "tune"):
        with suppress(ValidationError):  # schema_problems reports it
            yield (
                f"train.config.trainingInput.hyperparameters: nothing runs them; add train.tune: "
                f"{OldTuning.model_validate(old['hyperparameters'])} beside train.config"
            )


def _class_weight_problems(outline: _Outline) -> Iterator[str]:
    """Yields class weights of a regression, and classes that a column of type bool cannot have."""
    weights = outline.get("train", "class_weights")
    if weights is None:
        return
    if outline.get("task") == "regression":
        yield (
            "train.class_weights: a regression has no classes; leave it out, and name a column of "
            "example weights as `weight`"
        )
    elif isinstance(weights, Mapping) and outline.columns.get(str(outline.get("label"))) == "bool":
        for name in weights:
            if name not in BOOLS:
                yield f"train.class_weights.{name}: no class of a bool label{near(name, BOOLS)}"


def _monotone_problems(outline: _Outline) -> Iterator[str]:
    """Yields why a model cannot keep the order of a feature's number."""
    constrained = {
        i: f for i, f in outline.features.items() if isinstance(f, Ordered) and f.monotone
    }
    for i, feature in constrained.items():
        at = f"features[{i}].monotone"
        if outline.get("task") == "multiclass":
            yield f"{at}: a multiclass model has no answer that could rise or fall; remove it"
        for k, other in outline.features.items():
            shared = set(other.columns) & set(feature.columns)
            if shared and getattr(other, "monotone", None) != feature.monotone:
                same = ", or give it the same monotone" if isinstance(other, Ordered) else ""
                yield (
                    f"{at}: features[{k}] takes {shared.pop()!r} too, and could break it; remove "
                    f"that feature{same}"
                )
    if constrained and not outline.get("train", "trainer"):
        first = f"features[{min(constrained)}].monotone"
        choices = outline.get("train", "tune", "space", "model")
        models = {"train.model": [outline.get("train", "model") or "auto"]}
        models["train.tune.space.model"] = choices if isinstance(choices, list) else []
        for place, names in models.items():
            for name in (n for n in names if n in MODELS and n not in ("auto", "trees")):
                yield f"{place}: {name} cannot keep {first}; choose auto or trees, or remove it"


def _order_problems(outline: _Outline) -> list[str]:
    """Returns what is wrong with the times of a split by time."""
    from quatrain.components.preprocess.checks.split_problems import order_problems

    times = [outline.get("split", name) for name in ("validation_from", "test_from")]
    if outline.get("split", "by") != "time" or None in times:
        return []
    try:
        return list(order_problems(*map(str, times)))
    except SpecError as error:
        return [str(error)]


def rule_problems(value: Any) -> list[str]:
    """Returns the problems of SQL, times and tier of a spec that has other problems too.

    A spec without other problems is checked for these later, once all its types are known.
    """
    from quatrain.components.preprocess.expressions import ExpressionError, types_of
    from quatrain.components.tiers import tiers

    outline = _outline(value)
    columns = {n: t for n, t in outline.columns.items() if t in get_args(Type)}
    rules = {
        f"clean.{kind}.{name}": sql
        for kind in ("reject", "derive")
        for name, sql in outline.mapping("clean", kind).items()
        if isinstance(sql, str)
    }
    types = zip(rules, types_of(list(rules.values()), columns), strict=True) if columns else ()
    problems = [f"{place}: {error}" for place, error in types if isinstance(error, ExpressionError)]
    problems += _order_problems(outline)
    tier = outline.get("train", "tier")
    if isinstance(tier, str) and tier not in tiers.names():
        problems.append(f"train.tier: unknown tier {tier!r}{near(tier, tiers.names())}")
    return problems
