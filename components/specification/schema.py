"""The model spec: its sections, one frozen model each, checked where it is made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    TypeAdapter,
    model_validator,
)

from quatrain.components.specification.columns import ColumnEntry
from quatrain.components.specification.predict import Predict
from quatrain.components.specification.release import Release
from quatrain.components.specification.search_space import read_search, write_search
from quatrain.components.specification.section import Section, as_list, spell_bools
from quatrain.components.specification.source import Source
from quatrain.components.specification.split import HashSplit, Split
from quatrain.components.tiers.legacy_config import OldConfig
from quatrain.components.tiers.pools import Pool
from quatrain.components.wording import near
from quatrain.trainer.features import FEATURES, Feature, Input, Ordered, Task, Type
from quatrain.trainer.features.text_format import Spelling
from quatrain.trainer.settings import Hyperparameters, Search


class Deduplicate(Section):
    """Which rows are duplicates: all rows with the same keys but the newest, or the first."""

    keys: Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]
    keep_newest_by: str | None = None


class Clean(Section):
    """Rejection rules, derived columns (SQL expressions over one row), and duplicates."""

    reject: dict[str, str] = {}  # noqa: RUF012 - pydantic copies a default
    derive: dict[str, str] = {}  # noqa: RUF012 - pydantic copies a default
    deduplicate: Deduplicate | None = None
    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.1


class Bound(Section):
    """The bounds of a metric: at least `min`, at most `max`."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> "Bound":
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(
                f"min {self.min:g} is above max {self.max:g}, so no model passes both; swap them"
            )
        return self


class Limit(Section):
    """The distances from an earlier run's measure at which a run warns, and at which it fails."""

    warn: Annotated[float, Field(gt=0)] | None = None
    fail: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check_order(self) -> "Limit":
        if self.warn is not None and self.fail is not None and self.warn > self.fail:
            raise ValueError(f"warn {self.warn:g} is above fail {self.fail:g}; swap them")
        return self


MARGIN = 0.01
"""The share by which a promoted model's loss may exceed that of the best, by default."""


class ChampionLimit(Section):
    """By which share a model's loss may exceed that of the champion and of the best earlier model.

    A model is promoted if the loss is within `margin` beyond chance, and fails if it is above
    `fail` beyond chance. `warn` is the name that the margin had in earlier versions.
    """

    margin: Annotated[float, Field(gt=0)] = MARGIN
    fail: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_margin(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if "warn" in value and "margin" in value:
            raise ValueError("give margin alone; warn is its earlier name")
        found = {"margin" if key == "warn" else key: entry for key, entry in value.items()}
        if found.get("margin") is None:
            found.pop("margin", None)
            if isinstance(fail := found.get("fail"), int | float) and 0 < fail < MARGIN:
                found["margin"] = fail
        return found

    @model_validator(mode="after")
    def _check_order(self) -> "ChampionLimit":
        if self.fail is not None and self.margin > self.fail:
            raise ValueError(f"margin {self.margin:g} is above fail {self.fail:g}; swap them")
        return self


class OpponentLimit(Limit):
    """By which share a model's loss may exceed the opponent's; 0: no worse beyond chance."""

    warn: Annotated[float, Field(ge=0)] | None = None
    fail: Annotated[float, Field(ge=0)] | None = None


class Importance(Section):
    """What it may take to say which inputs matter; without `cpu_s`, the table's size decides."""

    rows: Annotated[int, Field(ge=0, le=20_000)] = 2_000
    inputs: Annotated[int, Field(ge=1)] = 200
    cpu_s: Annotated[float, Field(gt=0)] | None = None


class Evaluate(Section):
    """Slices of the test rows and the bounds that a model must reach."""

    slices: tuple[str, ...] = ()
    gate: dict[str, Bound] = {}  # noqa: RUF012 - pydantic copies a default
    champion: ChampionLimit = ChampionLimit(fail=0.05)
    opponent: OpponentLimit = OpponentLimit(warn=0.0)
    skew_tolerance: Annotated[float, Field(gt=0)] = 1e-4
    report_rows: Annotated[int, Field(ge=0, le=100)] = 20
    importance: Importance = Importance()


def _read_space(value: Any) -> Any:
    """Checks the search space: auto, or a mapping from settings to their search spaces."""
    if value == "auto":
        return value
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"write auto, or a mapping from settings to where to look, not {value!r}")
    return {str(name): read_search(str(name), search) for name, search in value.items()}


Space = Annotated[
    Literal["auto"] | dict[str, Annotated[Any, PlainSerializer(write_search)]],
    BeforeValidator(_read_space),
]


class Tune(Section):
    """Trials of other settings before the final training, which takes the best ones."""

    space: Space = "auto"
    trials: Annotated[int, Field(ge=1, le=1000)] = 20
    parallel: Annotated[int, Field(ge=1, le=100)] = 2
    metric: Annotated[str, Field(min_length=1)] = "validation_loss"
    goal: Literal["minimize", "maximize"] = "minimize"

    @property
    def searches(self) -> dict[str, Search] | None:
        """The search space of each setting; None stands for the trainer's own space."""
        return None if self.space == "auto" else self.space


def _auto(value: Any) -> Any:
    """Reads `tune: auto` as a tuning with all defaults."""
    return {} if value == "auto" else value


class Drift(Section):
    """The limit of each measure of drift, between the rows of a run and of an earlier one."""

    psi: Limit = Limit(warn=0.2)
    missing: Limit = Limit(warn=0.05)
    mean: Limit = Limit(warn=0.5)
    stddev: Limit = Limit(warn=0.5)
    new: Limit = Limit(warn=0.01)
    label: Limit = Limit(warn=0.05)
    rows: Limit = Limit(warn=0.7)


class Train(Section):
    """The tier and the settings of the trainer."""

    trainer: Annotated[str, Field(min_length=1)] | None = None
    tier: str = "BASIC"
    replicas: Annotated[int, Field(ge=1)] | None = None
    pools: tuple[Pool, ...] | None = None
    config: OldConfig | None = None
    scheduling: Literal["STANDARD", "SPOT", "FLEX_START"] | None = None
    batch_rule: Literal["constant", "square_root"] | None = None
    tune: Annotated[Tune | None, BeforeValidator(_auto)] = None
    settings: Hyperparameters = Hyperparameters()

    @model_validator(mode="after")
    def _tune_one_model(self) -> Self:
        """Refuses to tune a bag: each trial would fit twelve models where two tell as much."""
        if self.tune is not None and self.settings.quality == "high":
            raise ValueError(
                "quality high and tune do not go together; tune with quality standard, write the "
                "best values into train, and then set quality: high without tune"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _gather_settings(cls, value: Any) -> Any:
        """Gathers the hyperparameters, which YAML writes beside the other keys."""
        if not isinstance(value, Mapping) or "settings" in value:
            return value
        if "trainingInput" in value:
            raise ValueError(
                "trainingInput must stand below config: {config: {trainingInput: ...}}"
            )
        own = {k: v for k, v in value.items() if k in cls.model_fields}
        settings = {k: v for k, v in value.items() if k not in own}
        return {**own, "settings": spell_bools(settings, get_type_hints(Hyperparameters))}


def read_feature(entry: Any) -> Feature:
    """Reads one entry of `features`.

    Raises:
        ValueError: The entry is wrong; the message has the form `key: sentence`.
    """
    if isinstance(entry, Feature):
        return entry
    if not isinstance(entry, Mapping):
        raise ValueError("a feature must be a mapping with name, from and transform")
    values: dict[str, Any] = {str(k): v for k, v in entry.items()}
    transform = values.pop("transform", None)
    if transform is None:
        raise ValueError(f"transform: missing; choose one of {', '.join(FEATURES)}")
    if not isinstance(transform, str) or transform not in FEATURES:
        raise ValueError(f"transform: unknown transform {transform!r}{near(transform, FEATURES)}")
    cls = FEATURES[transform]
    if values.get("monotone") is not None and not issubclass(cls, Ordered):
        ordered = ", ".join(name for name, c in FEATURES.items() if issubclass(c, Ordered))
        raise ValueError(
            f"monotone: {transform} does not keep the order of one number; use {ordered}"
        )
    for fitted in (*cls.fitted, "columns", "types"):
        if fitted in values:
            raise ValueError(
                f"{fitted}: unknown key; leave it out, as {transform} has no such setting"
            )
    columns = as_list(values.pop("from", None))
    if not isinstance(columns, Sequence):
        raise ValueError("from: name the column, or list the columns of a transform of several")
    low, high = cls.n_columns
    if not low <= len(columns) <= high:
        several = f"{low} columns" if low == high else f"{low} to {high} columns"
        allowed = "one column" if high == 1 else several
        raise ValueError(f"from: {transform} takes {allowed}, not {len(columns)}; change the list")
    values = spell_bools(values, get_type_hints(cls))
    return _adapter(cls).validate_python({**values, "columns": tuple(columns)})


@cache
def _adapter(cls: type[Feature]) -> TypeAdapter[Any]:
    """Returns the adapter of a class; it is cached, since building one takes milliseconds."""
    return TypeAdapter(cls)


def _write_feature(feature: Feature) -> dict[str, Any]:
    """Returns a feature as `read_feature` reads it."""
    written = _adapter(type(feature)).dump_python(feature, mode="json", exclude_none=True)
    columns = written.pop("columns")
    for name in ("types", *feature.fitted):
        written.pop(name, None)
    origin = columns[0] if feature.n_columns[1] == 1 else columns
    return {"name": written.pop("name"), "from": origin, **written}


class FeatureEntry(Section):
    """One checked entry of `features`, serialized in the form of the YAML."""

    feature: Any

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {"feature": read_feature(value)}


Entry = Annotated[
    FeatureEntry, PlainSerializer(lambda entry: _write_feature(entry.feature), return_type=dict)
]


class ModelSpec(Section):
    """Everything that describes one model; `load_spec` reads it from YAML."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    source: Source
    declared: Annotated[dict[str, ColumnEntry], Field(alias="columns", min_length=1)]
    clean: Clean = Clean()
    label: str
    task: Task
    weight: str | None = None
    split: Split
    entries: Annotated[tuple[Entry, ...], Field(alias="features", min_length=1)]
    drift: Drift = Drift()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    predict: Predict | None = None
    release: Release | None = None

    @cached_property
    def columns(self) -> dict[str, Type]:
        """The types of the columns that are read."""
        return {name: column.type for name, column in self.declared.items()}

    @cached_property
    def spellings(self) -> dict[str, Spelling]:
        """The formats of the columns that have an unusual one."""
        written = {name: column.spelling for name, column in self.declared.items()}
        return {name: spelling for name, spelling in written.items() if spelling != Spelling()}

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """The features, unfitted, with the types of their columns."""
        return tuple(typed(e.feature, self.columns) for e in self.entries)

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """The raw inputs that the features need, in the order of `columns`."""
        used = {c for f in self.features for c in f.columns}
        columns = self.declared.items()
        return tuple(Input(n, c.type, c.trim, c.case, c.optional) for n, c in columns if n in used)

    @cached_property
    def row_keys(self) -> tuple[str, ...]:
        """The columns of the source that identify a row: those of duplicates, or of the split."""
        if self.clean.deduplicate:
            keys = self.clean.deduplicate.keys
        else:
            keys = self.split.keys if isinstance(self.split, HashSplit) else ()
        return tuple(dict.fromkeys(k for k in keys if k in self.columns and k != self.label))

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the spec's JSON text."""
        return digest_of(self.as_json())

    @cached_property
    def preprocessing(self) -> "ModelSpec":
        """The spec with defaults in the place of all that the preprocess step does not read.

        Specs that differ elsewhere have the same examples, which then come from a cache.
        """
        document = self.as_document()
        del document["drift"], document["train"]
        for section in ("predict", "release"):
            document.pop(section, None)
        slices = {"slices": self.evaluate.slices}
        return ModelSpec.model_validate({**document, "evaluate": slices})

    def as_document(self) -> dict[str, Any]:
        """Returns the spec as YAML would hold it, with every default written out."""
        written = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        settings = written["train"].pop("settings")
        return {**written, "train": {**written["train"], **settings}}

    def as_json(self) -> str:
        """Returns the spec as one JSON text, the form in which it travels and is digested.

        Sections and their keys stand in the order of this schema. Columns, rules and bounds keep
        the order of the author, which has a meaning: the first rule that holds is the reason of a
        rejected row, and the first column is the first raw input.
        """
        return json.dumps(self.as_document(), separators=(",", ":"), ensure_ascii=False)


def digest_of(text: str) -> str:
    """Returns the sha256 of a spec's JSON text, in hexadecimal."""
    return sha256(text.encode()).hexdigest()


def typed(feature: Feature, columns: Mapping[str, Type]) -> Feature:
    """Returns the feature with the types of its columns."""
    return replace(feature, types=tuple(columns[c] for c in feature.columns if c in columns))
