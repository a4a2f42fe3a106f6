"""The remarks of a draft: what a reader of the spec should look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quatrain.draft.columns import ColumnProfile, counts_years, quoted, words
from quatrain.draft.draft import TableProfile
from quatrain.draft.features import MOSTLY_UNSEEN, is_amount_as_text
from quatrain.draft.leaks import find_twins
from quatrain.draft.nulls import Nulls
from quatrain.draft.sample import Sample

RECODE = "save it as UTF-8; for a file from Windows: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT"


def remarks_on(table: TableProfile, nulls: Nulls) -> list[str]:
    """Returns the remarks on a table, the most important first."""
    remarks = []
    for name, how in table.leaks.items():
        remarks.append(
            f"{name!r} may give the label away, so it is left out: it {how}. If it is known when "
            f"the prediction is made, remove the # from its lines"
        )
    inputs = {n: c for n, c in table.columns.items() if n != table.target}
    if alike := _named_alike(table, list(inputs)):
        listed = ", ".join(map(repr, alike))
        remarks.append(
            f"named like the target: {listed}; is each known when the prediction is made?"
        )
    if gaps := [n for n, c in inputs.items() if _misses_together(table.goal.known, c)]:
        listed = ", ".join(map(repr, gaps))
        remarks.append(
            f"missing where the target is missing: {listed}; is each known before the target is?"
        )
    not_compared = ("empty", "constant", "text", "identifier")
    compared = [c for c in inputs.values() if c.kind not in not_compared]
    for first, second, how in find_twins(compared):
        remarks.append(f"{first!r} and {second!r} may hold the same information: {how}")
    remarks += nulls.remarks
    remarks += amounts_as_text(table)
    years = [c.name for c in inputs.values() if counts_years(c)]
    if years and table.split.document["by"] == "hash":
        remarks.append(
            f"{years[0]!r} holds years, and rows of one year land in both train and test; if "
            f"later rows are to be predicted from earlier ones, write it into the table as a date, "
            f"such as 1999-01-01, and split by it"
        )
    if drifting := _drifting_label(table):
        remarks.append(drifting)
    remarks += [f"{c.name!r}: {odd}" for c in inputs.values() if (odd := _sentinel(c))]
    if listed := rejected_rows(table.sample):
        recode = f"; {RECODE}" if table.sample.rejected["bad_encoding"] else ""
        remarks.append(f"rows of the sample that do not parse: {listed}; they are rejected{recode}")
    return remarks


def rejected_rows(sample: Sample) -> str:
    """Returns a list in words of the rows that do not parse, by reason; empty if all do."""
    return ", ".join(f"{n:,} {reason}" for reason, n in sorted(sample.rejected.items()) if n)


def amounts_as_text(table: TableProfile) -> Iterator[str]:
    """Yields a remark on amounts that are text, with the SQL that turns them into numbers."""
    amounts = [c for c in table.columns.values() if c.name != table.target and is_amount_as_text(c)]
    if amounts:
        listed = ", ".join(repr(c.name) for c in amounts)
        plainly = ", ".join(f"{c.sql} AS {quoted(c.name)}" for c in amounts)
        yield (
            f"left out, because a feature reads a column as it is: {listed}; written into the "
            f"table as plain numbers they would be features; with DuckDB: "
            f"SELECT * REPLACE ({plainly})"
        )


def _drifting_label(table: TableProfile) -> str | None:
    """Returns a remark if most test labels lie outside the range of train labels, or None."""
    if table.goal.task != "regression" or table.split.document["by"] != "time":
        return None
    parts, values = table.split.parts, table.goal.values
    train, test = (values[table.goal.known & (parts == part)] for part in (0, 2))
    beyond = float(np.mean((test < train.min()) | (test > train.max())))
    if beyond <= MOSTLY_UNSEEN:
        return None
    return (
        f"{beyond:.0%} of the test rows have a label outside the range of train, so perhaps no "
        f"model beats the mean; the change since the previous row, or a ratio, is easier to predict"
    )


def _named_alike(table: TableProfile, names: list[str]) -> list[str]:
    """Returns the columns that share a word with the target, unless most columns do."""
    target = {w for w in words(table.target) if len(w) > 2}
    alike = [n for n in names if words(n) & target and n not in table.leaks]
    return alike if len(alike) <= max(len(names) / 2, 1) else []


def _misses_together(known: np.ndarray, column: ColumnProfile) -> bool:
    """Whether a column is missing in nearly the same rows as the label, and in ten at least.

    Such a column is likely measured together with the label, and so too late to predict it.
    """
    missing, unlabelled = column.codes < 0, ~known
    both = int((missing & unlabelled).sum())
    return bool(both >= 10 and both > 0.85 * max(missing.sum(), unlabelled.sum()))


def _sentinel(column: ColumnProfile) -> str | None:
    """Returns a remark on a frequent number far from all others, such as -1 or 999, or None."""
    if not column.is_number or column.kind != "number" or column.n_distinct < 10:
        return None
    x = np.sort(column.numbers[~np.isnan(column.numbers)])
    for value in (x[0], x[-1]):
        others = x[x != value]
        nines = (value == round(value) and set(f"{abs(value):.0f}") == {"9"}) or value == -1
        alone = value < 0 <= others[0]  # the only number below 0
        # Farther from its neighbour than all other numbers are from each other.
        far = min(abs(others - value)) > np.ptp(others) or alone
        if nines and far and len(x) - len(others) > 0.005 * len(x):
            share = 1 - len(others) / len(x)
            return f"{value:g} in {share:.1%} of the rows may stand for a missing value"
    return None
