"""The section `split`: which rows train the model, and which rows measure it."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from quatrain.components.specification.section import Section, as_list

SPLITS = ("train", "validation", "test")


class HashSplit(Section):
    """By the fingerprint of key columns, so that a row falls into the same split every week."""

    by: Literal["hash"] = "hash"
    keys: Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]
    train: Annotated[float, Field(gt=0, lt=1)] = 0.8
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test: Annotated[float, Field(gt=0, lt=1)] = 0.1
    stratify: str | None = None
    seed: int = 0

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns whose values together decide the split of a row."""
        return (self.stratify, *self.keys) if self.stratify else self.keys

    @model_validator(mode="after")
    def _check_sum(self) -> "HashSplit":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}; it must be 1")
        return self


def _as_iso(value: Any) -> Any:
    """Returns a date as text: YAML reads an unquoted 2013-10-01 as a date."""
    return value.isoformat() if isinstance(value, date) else value


Time = Annotated[str, BeforeValidator(_as_iso)]


class TimeSplit(Section):
    """By time: train before `validation_from`, test from `test_from`."""

    by: Literal["time"]
    column: str
    validation_from: Time
    test_from: Time


class ColumnSplit(Section):
    """By a column that holds the words train, validation and test."""

    by: Literal["column"]
    column: str


def _as_text(value: Any) -> Any:
    """Returns a number as text: YAML reads an unquoted 3 as a number, and folds are text.

    Arrow, which writes the folds of the rows, writes 3.0 as 3.
    """
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value) if type(value) in (int, float) else value


Fold = Annotated[str, BeforeValidator(_as_text)]


class FoldSplit(Section):
    """By a column of the user's own folds: two are validation and test, all others train."""

    by: Literal["fold"]
    column: str
    validation: Fold
    test: Fold

    @model_validator(mode="after")
    def _check_folds(self) -> "FoldSplit":
        if self.validation == self.test:
            raise ValueError(f"validation and test are both fold {self.test!r}; name two")
        return self


def _by_hash(value: Any) -> Any:
    """Reads a split that names no kind as one by hash."""
    return {"by": "hash", **value} if isinstance(value, Mapping) else value


Split = Annotated[
    HashSplit | TimeSplit | ColumnSplit | FoldSplit,
    Field(discriminator="by"),
    BeforeValidator(_by_hash),
]
