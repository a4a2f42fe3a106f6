"""What the values of a column stand for: its kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.table.values.conversion import from_text
from quatrain.draft.profile.cell_types import all_match
from quatrain.draft.profile.column_names import (
    names_a_period,
    names_a_time,
    names_a_year,
    names_an_entity,
    names_something,
)
from quatrain.draft.profile.column_profile import ColumnProfile, Kind
from quatrain.draft.profile.time_formats import is_epoch_in_nanoseconds
from quatrain.trainer.features.text_format import Spelling

UNIQUE = 0.9
"""Above this share of distinct values, a text identifies its row."""
FEW_ROWS = 20
"""In fewer rows, values that do not repeat prove nothing."""
LEAST_YEARS = 5
"""The fewest distinct numbers of a column that is taken for years."""
EPOCH_S = (631_152_000, 2_208_988_800)
"""Numbers since 1970 are taken for times of the years 1990 to 2039."""
EPOCH = {"s": 1_000_000, "ms": 1000, "us": 1}
"""The microseconds in each unit of an epoch."""


def with_kind(column: ColumnProfile) -> ColumnProfile:
    """Returns a profile with its kind filled in."""
    if not column.n_present:
        return replace(column, kind="empty")
    if column.n_distinct == 1:
        return replace(column, kind="constant")
    if column.kind != "category":
        return column
    if column.type in ("date", "timestamp"):
        return replace(column, kind="time")
    if column.type == "string" and names_a_time(column.name) and column.n_distinct >= FEW_ROWS:
        texts = column.encoded.dictionary.cast(pa.string())
        if is_epoch_in_nanoseconds(texts, *EPOCH_S):
            return replace(column, kind="time", spelling={"epoch": "ns"})
    if column.type == "string":
        return replace(column, kind=_kind_of_text(column))
    if column.type == "bool":
        return column
    return _kind_of_number(column)


def _kind_of_text(column: ColumnProfile) -> Kind:
    """Returns what texts stand for: a code, free text, an identifier or a category."""
    values, share = column.encoded.dictionary, column.n_distinct / column.n_present
    if all_match(values, r"^\d+$"):
        return "identifier" if _is_unique(column) else "code"
    spaces = float(pc.mean(pc.count_substring(values, " ")).as_py())
    length = float(pc.mean(pc.utf8_length(values)).as_py())
    if (share > 0.2 and spaces >= 2 and column.n_distinct > FEW_ROWS) or length > 100:
        return "text"
    return "identifier" if _is_unique(column) else "category"


def _is_unique(column: ColumnProfile) -> bool:
    return column.n_present >= FEW_ROWS and column.n_distinct > UNIQUE * column.n_present


def _kind_of_number(column: ColumnProfile) -> ColumnProfile:
    """Returns the profile of a column of numbers, as a time, an identifier, a code or a number."""
    if time := _time_in_a_number(column):
        return time
    if column.type == "float":
        return replace(column, kind="number")
    if column.n_distinct == column.n_present >= FEW_ROWS and (
        names_an_entity(column.name)
        or (counts_rows(column.numbers) and not names_a_period(column.name))
    ):
        return replace(column, kind="identifier")
    if _is_code(column):
        return replace(column, kind="code")
    return replace(column, kind="number")


def counts_rows(numbers: np.ndarray) -> bool:
    """Whether distinct numbers fill their range almost completely, or grow as if given out.

    They grow from row to row, mostly by one, or by unequal steps without the pairs of equal numbers
    that n amounts out of a range r would hold by chance: n**2 / 2r, as of birthdays.
    """
    present = numbers[~np.isnan(numbers)]
    steps = np.diff(present)
    if (span := np.ptp(present)) <= 1.1 * len(present):
        return True
    is_given = bool(len(present) ** 2 / (2 * span) >= 2 and np.ptp(steps) > 0)
    return bool((steps > 0).all()) and (is_given or bool(np.median(steps) == 1))


def counts_years(column: ColumnProfile) -> bool:
    """Whether a column of numbers holds years, by its name and its range."""
    if column.kind != "number" or not names_a_year(column.name) or column.n_distinct < LEAST_YEARS:
        return False
    low, high = np.nanmin(column.numbers), np.nanmax(column.numbers)
    return bool(low >= 1500 and high < 2101)


def _is_code(column: ColumnProfile) -> bool:
    """Whether whole numbers are codes: by their name, or as they repeat and are equally long."""
    if names_something(column.name):
        return True
    values = column.encoded.dictionary
    low, high = pc.min_max(values).as_py().values()
    repeats = column.n_distinct <= column.n_present / 20
    return repeats and low >= 10_000 and len(str(low)) == len(str(high))


def _time_in_a_number(column: ColumnProfile) -> ColumnProfile | None:
    """Returns the profile of a time if numbers are epochs or days such as 20130131; else None.

    Its values are still numbers: `_read_as_time` reads them.
    """
    present = column.numbers[~np.isnan(column.numbers)]
    low, high = float(present.min()), float(present.max())
    may_be_days = column.type == "int" and low >= 19_000_101 and high <= 21_001_231
    if may_be_days and _are_days(column, "%Y%m%d"):
        return replace(column, kind="time", spelling={"format": "%Y%m%d"})
    for form, scale in (("%Y%m%d%H%M", 10**4), ("%Y%m%d%H%M%S", 10**6)):
        fits = column.type == "int" and 19_000_101 * scale <= low and high < 21_010_101 * scale
        if fits and _are_days(column, form):
            return replace(column, kind="time", spelling={"format": form})
    if column.type != "int" or not names_a_time(column.name) or column.n_distinct < FEW_ROWS:
        return None
    if low >= 100_101 and high <= 991_231 and _are_days(column, "%y%m%d"):
        return replace(column, kind="time", spelling={"format": "%y%m%d"})
    for unit, factor in EPOCH.items():
        start, end = (second * 1e6 / factor for second in EPOCH_S)
        if start <= low and high < end:
            return replace(column, kind="time", spelling={"epoch": unit})
    return None


def _are_days(column: ColumnProfile, form: str) -> bool:
    """Whether every whole number is a day in a format."""
    text = column.values.drop_null().unique().cast(pa.string()).cast(pa.binary())
    return not sum(f.rows.size for f in from_text("", text, "date", Spelling(form))[1])
