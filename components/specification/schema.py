"""The sections of a spec: one frozen model each, checked where it is made."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cache, cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    model_validator,
)

from quatrain.components.artifacts import canonical_json
from quatrain.components.specification.columns import ColumnEntry
from quatrain.components.specification.search_space import read_search, write_search
from quatrain.components.tiers.legacy_config import OldConfig
from quatrain.components.tiers.pools import Pool
from quatrain.components.wording import near
from quatrain.trainer.features import FEATURES, Feature, Input, Task, Type
from quatrain.trainer.features.text_format import Spelling
from quatrain.trainer.settings import Hyperparameters, Search

SPLITS = ("train", "validation", "test")
DELIMITER = r"^[\x01-\t\x0b\x0c\x0e-!#-\x7f]$"
"""One ASCII character, as pyarrow's CSV reader takes it; no quote, line end or NUL."""
DATED = re.compile(r"\{date(?::(?P<form>[^{}]*))?\}")
"""Where a uri has the day: {date}, or {date:%Y/%m/%d}."""
DAY = "%Y-%m-%d"


TABLE = r"bq://([a-z][a-z0-9.:-]*)\.(\w+)\.([^./`]+)"
"""A table of BigQuery: its project, dataset and name."""


def is_table(uri: str) -> bool:
    """Tells a table of BigQuery from a file."""
    return uri.startswith("bq://")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def as_list(value: Any) -> Any:
    """Wraps a single text into a list; anything else stays as it is."""
    return [value] if isinstance(value, str) else value


def _read_window(value: Any) -> Any:
    """Checks a window; 90d is the 90 days before the day of the run."""
    if value is not None and not re.fullmatch(r"[1-9][0-9]{0,3}d", str(value)):
        raise ValueError(f"{value!r} is no number of days; write it as 90d")
    return value


class Source(_Section):
    """Where the rows are and how they are written."""

    uri: Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]
    format: Literal["csv", "parquet", "jsonl", "bigquery"] = "csv"
    nulls: tuple[str, ...] = ("", "NA")
    delimiter: Annotated[str, Field(pattern=DELIMITER)] = ","
    quoted_newlines: bool = False
    optional_keys: bool = False
    window: Annotated[str | None, BeforeValidator(_read_window)] = None

    @model_validator(mode="before")
    @classmethod
    def _tables_say_their_format(cls, value: Any) -> Any:
        """A bq:// uri needs no format beside it."""
        uris = as_list(value.get("uri")) if isinstance(value, Mapping) else None
        if not isinstance(uris, list | tuple) or "format" in value:
            return value
        tables = [u for u in uris if isinstance(u, str) and is_table(u)]
        return {**value, "format": "bigquery"} if tables else value

    @model_validator(mode="after")
    def _tables_are_apart(self) -> "Source":
        tables = [uri for uri in self.uri if is_table(uri)]
        for uri in tables:
            if not re.fullmatch(TABLE, DATED.sub("x", uri)):
                raise ValueError(f"{uri!r} is no table; write it as bq://project.dataset.table")
        if (self.format == "bigquery") != bool(tables) or 0 < len(tables) < len(self.uri):
            raise ValueError("tables (bq://) are of format bigquery, and do not stand beside files")
        return self

    @model_validator(mode="after")
    def _holds_no_password(self) -> "Source":
        for uri in self.uri:
            if re.search(r"://[^/@]*:[^/@]*@", uri):
                scheme, _, rest = uri.partition("://")
                raise ValueError(
                    f"a uri of {scheme}://...@{rest.split('@')[1]} holds a password, which all who "
                    f"see the run could read; give the run's account access in its place"
                )
        return self

    @model_validator(mode="after")
    def _window_and_date_go_together(self) -> "Source":
        dated = [uri for uri in self.uri if DATED.search(uri)]
        if dated and self.window is None:
            raise ValueError(f"{dated[0]!r} has a date, so say which days: add window: 90d")
        if self.window is not None and not dated:
            raise ValueError(
                f"window is {self.window!r}, but no uri has a date; write {{date}} where the day "
                f"stands, as gs://bucket/flights/dt={{date}}/*.parquet"
            )
        for uri in dated:
            used = [d for found in DATED.finditer(uri) for d in _directives(found["form"] or DAY)]
            if set(used) != {"%Y", "%m", "%d"}:
                raise ValueError(
                    f"the dates of {uri!r} must name one day, by %Y, %m and %d and no other code; "
                    f"they have {', '.join(dict.fromkeys(used)) or 'none'}"
                )
        return self


def _directives(form: str) -> list[str]:
    return re.findall(r"%.?", form)


class Deduplicate(_Section):
    """Which rows are duplicates: those with equal keys, but for the newest or first of them."""

    keys: Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]
    keep_newest_by: str | None = None


class Clean(_Section):
    """Rejection rules, derived columns (SQL expressions over one row), and duplicates."""

    reject: dict[str, str] = {}
    derive: dict[str, str] = {}
    deduplicate: Deduplicate | None = None
    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.1


class HashSplit(_Section):
    """By the fingerprint of key columns: the same row falls on the same side every week."""

    by: Literal["hash"] = "hash"
    keys: Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]
    train: Annotated[float, Field(gt=0, lt=1)] = 0.8
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test: Annotated[float, Field(gt=0, lt=1)] = 0.1
    stratify: str | None = None
    seed: int = 0

    @property
    def drawn(self) -> tuple[str, ...]:
        """The columns whose values together are one draw."""
        return (self.stratify, *self.keys) if self.stratify else self.keys

    @model_validator(mode="after")
    def _sums_to_one(self) -> "HashSplit":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}; it must be 1")
        return self


def _as_iso(value: Any) -> Any:
    """YAML reads an unquoted 2013-10-01 as a date."""
    return value.isoformat() if isinstance(value, date) else value


Time = Annotated[str, BeforeValidator(_as_iso)]


class TimeSplit(_Section):
    """By time: train before `validation_from`, test from `test_from`."""

    by: Literal["time"]
    column: str
    validation_from: Time
    test_from: Time


class ColumnSplit(_Section):
    """By a column that says train, validation or test."""

    by: Literal["column"]
    column: str


def _as_text(value: Any) -> Any:
    """YAML reads an unquoted 3 as a number, and KFP makes 3.0 of it; a fold is a text."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value) if type(value) in (int, float) else value


Fold = Annotated[str, BeforeValidator(_as_text)]


class FoldSplit(_Section):
    """By a column of folds of one's own: two are validation and test, all others train."""

    by: Literal["fold"]
    column: str
    validation: Fold
    test: Fold

    @model_validator(mode="after")
    def _are_two(self) -> "FoldSplit":
        if self.validation == self.test:
            raise ValueError(f"validation and test are both fold {self.test!r}; name two")
        return self


def _by_hash(value: Any) -> Any:
    """A split that names no kind is by hash."""
    return {"by": "hash", **value} if isinstance(value, Mapping) else value


Split = Annotated[
    HashSplit | TimeSplit | ColumnSplit | FoldSplit,
    Field(discriminator="by"),
    BeforeValidator(_by_hash),
]


class Bound(_Section):
    """What a metric must reach: at least `min`, at most `max`."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Bound":
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}; no model passes both")
        return self


class Limit(_Section):
    """How far a measure may be from an earlier run's before the run warns, or fails."""

    warn: Annotated[float, Field(gt=0)] | None = None
    fail: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _warns_first(self) -> "Limit":
        if self.warn is not None and self.fail is not None and self.warn > self.fail:
            raise ValueError(f"warn {self.warn:g} is above fail {self.fail:g}")
        return self


class Evaluate(_Section):
    """Slices of the test rows and the bounds that a model must reach."""

    slices: tuple[str, ...] = ()
    gate: dict[str, Bound] = {}
    champion: Limit = Limit(warn=0.01, fail=0.05)
    skew_tolerance: Annotated[float, Field(gt=0)] = 1e-4


def _read_space(value: Any) -> Any:
    """Checks the search space: auto, or a mapping from settings to where they are looked for."""
    if value == "auto":
        return value
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"write auto, or a mapping from settings to where to look, not {value!r}")
    return {str(name): read_search(str(name), search) for name, search in value.items()}


Space = Annotated[
    Literal["auto"] | dict[str, Annotated[Any, PlainSerializer(write_search)]],
    BeforeValidator(_read_space),
]


class Tune(_Section):
    """Trials with other settings before the final training, which gets the best of them."""

    space: Space = "auto"
    trials: Annotated[int, Field(ge=1, le=1000)] = 20
    parallel: Annotated[int, Field(ge=1, le=100)] = 2
    metric: Annotated[str, Field(min_length=1)] = "validation_loss"
    goal: Literal["minimize", "maximize"] = "minimize"

    @property
    def searches(self) -> dict[str, Search] | None:
        """Where to look for each setting; none where the trainer's own space is taken."""
        return None if self.space == "auto" else self.space


def _auto(value: Any) -> Any:
    """`tune: auto` is a tuning with all its defaults."""
    return {} if value == "auto" else value


class Drift(_Section):
    """Limits of each measure between the rows of a run and those of an earlier one."""

    psi: Limit = Limit(warn=0.2)
    missing: Limit = Limit(warn=0.05)
    mean: Limit = Limit(warn=0.5)
    stddev: Limit = Limit(warn=0.5)
    new: Limit = Limit(warn=0.01)
    label: Limit = Limit(warn=0.05)


class Train(_Section):
    """The tier and the settings of the trainer."""

    trainer: str | None = None
    tier: str = "BASIC"
    replicas: Annotated[int, Field(ge=1)] | None = None
    pools: tuple[Pool, ...] | None = None
    config: OldConfig | None = None
    scheduling: Literal["STANDARD", "SPOT", "FLEX_START"] | None = None
    batch_rule: Literal["constant", "square_root"] | None = None
    tune: Annotated[Tune | None, BeforeValidator(_auto)] = None
    settings: Hyperparameters = Hyperparameters()

    @model_validator(mode="before")
    @classmethod
    def _gather_settings(cls, value: Any) -> Any:
        """Hyperparameters stand in the section itself; gathers them."""
        if not isinstance(value, Mapping) or "settings" in value:
            return value
        own = {k: v for k, v in value.items() if k in cls.model_fields}
        return {**own, "settings": {k: v for k, v in value.items() if k not in own}}


def read_feature(entry: Any) -> Feature:
    """Reads one entry of `features`.

    Raises:
        ValueError: What is wrong, as `key: sentence`.
    """
    if isinstance(entry, Feature):
        return entry
    if not isinstance(entry, Mapping):
        raise ValueError("a feature is a mapping with name, from and transform")
    values: dict[str, Any] = {str(k): v for k, v in entry.items()}
    transform = values.pop("transform", None)
    if transform is None:
        raise ValueError(f"transform: missing; choose one of {', '.join(FEATURES)}")
    if not isinstance(transform, str) or transform not in FEATURES:
        raise ValueError(f"transform: unknown transform {transform!r}{near(transform, FEATURES)}")
    cls = FEATURES[transform]
    for fitted in (*cls.fitted, "columns", "types"):
        if fitted in values:
            raise ValueError(f"{fitted}: unknown key; it is not a setting of {transform}")
    columns = as_list(values.pop("from", None))
    if not isinstance(columns, Sequence):
        raise ValueError("from: name the column, or list the columns of a transform of several")
    low, high = cls.n_columns
    if not low <= len(columns) <= high:
        several = f"{low} columns" if low == high else f"{low} to {high} columns"
        allowed = "one column" if high == 1 else several
        raise ValueError(f"from: {transform} takes {allowed}, not {len(columns)}")
    return _adapter(cls).validate_python({**values, "columns": tuple(columns)})


@cache
def _adapter(cls: type[Feature]) -> TypeAdapter[Any]:
    """Made once a class: it costs some milliseconds, and a spec is read and written many times."""
    return TypeAdapter(cls)


def _write_feature(feature: Feature) -> dict[str, Any]:
    written = _adapter(type(feature)).dump_python(feature, mode="json", exclude_none=True)
    columns = written.pop("columns")
    for name in ("types", *feature.fitted):
        written.pop(name, None)
    origin = columns[0] if feature.n_columns[1] == 1 else columns
    return {"name": written.pop("name"), "from": origin, **written}


class FeatureEntry(_Section):
    """One checked entry of `features`; serialized as it was written."""

    feature: Any

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {"feature": read_feature(value)}


Entry = Annotated[
    FeatureEntry, PlainSerializer(lambda entry: _write_feature(entry.feature), return_type=dict)
]


class ModelSpec(_Section):
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

    @cached_property
    def columns(self) -> dict[str, Type]:
        """The types of the columns that are read."""
        return {name: column.type for name, column in self.declared.items()}

    @cached_property
    def spellings(self) -> dict[str, Spelling]:
        """How the columns are written that are not written the usual way."""
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
    def sha256(self) -> str:
        """Digest of the canonical JSON of the spec."""
        return sha256(canonical_json(self.as_parameter()).encode()).hexdigest()

    def as_document(self) -> dict[str, Any]:
        """The spec as YAML would hold it, with every default written out."""
        written = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        settings = written["train"].pop("settings")
        return {**written, "train": {**written["train"], **settings}}

    def as_parameter(self) -> dict[str, Any]:
        """The spec as one JSON value, as it travels through the pipeline.

        KFP carries it in a protobuf Struct, which forgets the order of keys. Where the order says
        something (the first rule that holds is the reason), a mapping travels as a list of
        one-key mappings.
        """
        written = self.as_document()
        for *sections, key in ORDERED:
            at = section_of(written, sections)
            at[key] = [{name: value} for name, value in at[key].items()]
        return written


ORDERED = (("columns",), ("clean", "reject"), ("clean", "derive"), ("evaluate", "gate"))


def section_of(value: Any, sections: Sequence[str]) -> dict[str, Any]:
    """Returns a section, or an empty one where the spec has another shape."""
    for section in sections:
        value = value.get(section) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def typed(feature: Feature, columns: Mapping[str, Type]) -> Feature:
    """Returns the feature with the types of its columns."""
    return replace(feature, types=tuple(columns[c] for c in feature.columns if c in columns))
