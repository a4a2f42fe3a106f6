"""Chooses the features of a spec and their transforms, and says why other columns have none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.wording import counted
from quatrain.draft.draft import Entry, TableProfile
from quatrain.draft.leaks import bins, levels
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.target import is_skewed, plain
from quatrain.trainer.features import LABEL, RAW_PREFIX, WEIGHT
from quatrain.trainer.settings import Hyperparameters

PIECES = Hyperparameters().bins
"""Up to this many distinct numbers, the network has a weight for each of them."""
TEXT_BUCKETS = 64
"""The buckets of free text, each a column of the network's input."""
ROWS_A_LEVEL = 20
"""The mean number of rows a value should have to be learned one by one."""
MOST_LEVELS = 1000
"""The most distinct amounts in text that serve as categories."""
MOSTLY_MISSING = 0.995
"""Above this share of missing values, a column has no feature."""
MOSTLY_UNSEEN = 0.5
"""Above this share of test rows whose values train lacks, a column has no feature."""
DAY_S = 86_400.0


def exclusions_of(table: TableProfile) -> dict[str, str]:
    """Returns the columns that have no feature, each with the reason."""
    reasons = dict(table.sample.unreadable)
    for name, column in table.columns.items():
        if name != table.target and (why := _why_not(table, column)):
            reasons[name] = why
    return reasons


def _why_not(table: TableProfile, column: ColumnProfile) -> str | None:
    """Returns why a column has no feature, or None if it has."""
    by_kind = {
        "empty": "no value in the sample",
        "constant": "only one value in the sample",
        "identifier": "an identifier: a different value in nearly every row",
    }
    if column.name in table.leaks:
        return f"may give the label away: it {table.leaks[column.name]}"
    if why := by_kind.get(column.kind):
        return why
    if column.is_spoilt:
        return (
            f"{counted(column.n_bad, 'cell', 'do')} not convert (infinity does not, for example), "
            f"and their rows would be rejected; write such cells as missing"
        )
    if column.name in table.split.disjoint:
        return "the rows are split by it, so train has none of the values in the test rows"
    if column.values.null_count > MOSTLY_MISSING * len(column.values):
        return f"missing in {column.values.null_count:,} of {counted(len(column.values), 'row')}"
    train = np.unique(column.codes[(table.split.parts == 0) & table.goal.known])
    if len(train) <= 1:
        count = "no value" if (train < 0).all() else "only one value"
        return f"{count} in the train rows that have a label"
    if column.type == "string" and column.kind == "time":
        return f"{column.note}; a feature reads a column as it is, so write it plainly there"
    if column.kind == "quantity" and not _repeats(column):
        return f"it {column.note}"
    if table.split.document["by"] == "time" and _is_ahead(table, column):
        return "it grows with time: most test rows have a value that train never saw"
    return _case_twin(table, column)


def _repeats(column: ColumnProfile) -> bool:
    """Whether the values of a text repeat often enough to serve as categories."""
    return column.n_distinct <= min(column.n_present / 3, MOST_LEVELS)


def _is_ahead(table: TableProfile, column: ColumnProfile) -> bool:
    """Whether most test rows have values that train lacks, as invoice numbers do over time.

    A whole text seldom repeats, but its words do.
    """
    if column.kind in ("time", "text"):
        return False
    train, test = (column.codes[table.split.parts == part] for part in (0, 2))
    unseen = ~np.isin(test, train)
    if column.is_number and column.n_distinct > PIECES:
        x = column.numbers
        low, high = np.nanmin(x[table.split.parts == 0]), np.nanmax(x[table.split.parts == 0])
        unseen = (x[table.split.parts == 2] < low) | (x[table.split.parts == 2] > high)
    return bool(len(test)) and float(np.mean(unseen & (test >= 0))) > MOSTLY_UNSEEN


def _case_twin(table: TableProfile, column: ColumnProfile) -> str | None:
    """Returns why a column is excluded whose name differs from another in case alone, or None.

    SQL ignores the case of names, so a derived label or a rule cannot tell them apart.
    """
    if not (table.goal.sql or table.goal.reject or table.untrained or table.sample.headers):
        return None
    needed = {table.target, *table.split.keys}
    for name in table.columns:
        same = name != column.name and name.casefold() == column.name.casefold()
        if same and (name in needed or name < column.name) and column.name not in needed:
            return f"SQL cannot tell it from {name!r}"
    return None


def features_of(table: TableProfile, exclusions: dict[str, str]) -> list[Entry]:
    """Returns the features of every column but the target, inactive if the column is excluded."""
    used_names = {LABEL, WEIGHT}
    entries: list[Entry] = []
    for number, (name, column) in enumerate(table.columns.items(), start=1):
        if name == table.target:
            continue
        stem = _feature_name(name, number, used_names)
        features = list(_of_column(table, column, stem))
        for feature in features:
            used_names.update(f"{feature['name']}{end}" for end in ("", "_sin", "_cos", "_missing"))
        entries += [Entry(f, exclusions.get(name, ""), name not in exclusions) for f in features]
    return entries


def _feature_name(name: str, number: int, used_names: set[str]) -> str:
    """Returns a name for a column's features that no other feature uses, in plain ASCII."""
    stem = plain(name) or f"column_{number}"
    if stem.startswith(RAW_PREFIX):
        stem = f"c_{stem}"
    while any(
        f"{stem}{end}" in used_names
        for end in ("", "_level", "_hour", "_weekday", "_month", "_missing")
    ):
        stem += "_"
    return stem


def _of_column(table: TableProfile, column: ColumnProfile, stem: str) -> Iterator[dict[str, Any]]:
    """Yields the features of one column."""
    start = {"name": stem, "from": column.name}
    if column.kind == "time" and column.type != "string":
        yield from _of_time(column, stem)
    elif column.kind == "text":
        yield {**start, "transform": "text", "buckets": TEXT_BUCKETS}
    elif column.type in ("string", "bool") or column.kind == "code":
        yield {**start, "transform": "vocabulary"}
    else:
        yield {**start, "transform": "log" if is_skewed(column.numbers) else "standardize"}
        if column.type == "int" and _has_levels(table, column):
            yield {**start, "name": f"{stem}_level", "transform": "vocabulary"}


def _of_time(column: ColumnProfile, stem: str) -> Iterator[dict[str, Any]]:
    """Yields the hour, weekday and month of times that span enough of each to learn from."""
    x = column.numbers[~np.isnan(column.numbers)] / 1e6
    span = float(np.ptp(x))
    parts = {
        "hour": span > 3 * DAY_S and len(np.unique(x % DAY_S)) > 1,
        # Two weeks of days, from the first to the last, show each weekday twice.
        "day_of_week": span >= 13 * DAY_S and not _is_monthly(column),
        "month": span > 2 * 365 * DAY_S,
    }
    for part in (part for part, is_spanned in parts.items() if is_spanned):
        name = {"day_of_week": "weekday"}.get(part, part)
        yield {"name": f"{stem}_{name}", "from": column.name, "transform": "cyclic", "part": part}


def _is_monthly(column: ColumnProfile) -> bool:
    """Whether every time is the first day of a month, so that its weekday means nothing."""
    days = column.values.drop_null().cast(pa.timestamp("us"))
    return bool(pc.all(pc.equal(pc.day(days), 1)).as_py())


def _has_levels(table: TableProfile, column: ColumnProfile) -> bool:
    """Whether the values of a whole number predict more as categories than by their size.

    This is measured on the test rows, as a gain of more than 10 % over the gain of the sizes. Up to
    `PIECES` values the network tells apart anyway, so such a column needs no second feature.
    """
    if not PIECES < column.n_distinct <= column.n_present / ROWS_A_LEVEL:
        return False
    by_level = table.column_models.gain(levels(column))
    return by_level > 1.1 * max(table.column_models.gain(bins(column, PIECES)), 1e-4)
