"""What a reader of an inferred spec should look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quatrain.draft.columns import Column, counts_years, quoted, words
from quatrain.draft.draft import Table
from quatrain.draft.features import MOSTLY_UNSEEN, is_amount_as_text
from quatrain.draft.leaks import find_twins
from quatrain.draft.nulls import Nulls
from quatrain.draft.sample import Sample

RECODE = (
    "save it as UTF-8; of a file of Windows this does so: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT"
)


def remarks_on(table: Table, nulls: Nulls) -> list[str]:
    """Returns what a reader should look at."""
    found = []
    for name, told in table.leaks.items():
        found.append(
            f"{name!r} may give the label away, so it is left out: it {told}. If it is known when "
            f"the prediction is made, take the # from its lines"
        )
    inputs = {n: c for n, c in table.columns.items() if n != table.target}
    if alike := _named_alike(table, list(inputs)):
        listed = ", ".join(map(repr, alike))
        found.append(f"named like the target: {listed}; is each known when the prediction is made?")
    if with_it := [n for n, c in inputs.items() if _misses_together(table.goal.known, c)]:
        listed = ", ".join(map(repr, with_it))
        found.append(f"missing where the target is: {listed}; is each known before the target is?")
    kept = [c for c in inputs.values() if c.kind not in ("empty", "constant", "text", "identifier")]
    for first, second, told in find_twins(kept):
        found.append(f"{first!r} and {second!r} may be the same: {told}")
    found += nulls.remarks
    found += amounts_as_text(table)
    years = [c.name for c in inputs.values() if counts_years(c)]
    if years and table.split.document["by"] == "hash":
        found.append(
            f"{years[0]!r} counts years, and rows of one year fall to train and to test; where "
            f"later rows are predicted from earlier ones, write it into the table as a date, as "
            f"1999-01-01, to split by it"
        )
    if moved := _moves_on(table):
        found.append(moved)
    found += [f"{c.name!r}: {odd}" for c in inputs.values() if (odd := _sentinel(c))]
    if listed := rejected_rows(table.sample):
        recode = f"; {RECODE}" if table.sample.rejected["bad_encoding"] else ""
        found.append(f"rows that do not parse, in the sample: {listed}; they are rejected{recode}")
    return found


def rejected_rows(found: Sample) -> str:
    """Returns how many rows of a sample do not parse, by reason."""
    return ", ".join(f"{n:,} {reason}" for reason, n in sorted(found.rejected.items()) if n)


def amounts_as_text(table: Table) -> Iterator[str]:
    """Tells of the amounts that are no feature as they are written, and how they would be one."""
    amounts = [c for c in table.columns.values() if c.name != table.target and is_amount_as_text(c)]
    if amounts:
        listed = ", ".join(repr(c.name) for c in amounts)
        plainly = ", ".join(f"{c.sql} AS {quoted(c.name)}" for c in amounts)
        yield (
            f"left out, as a feature takes a column as it stands: {listed}; written into the table "
            f"as plain numbers they would be features, as by DuckDB: SELECT * REPLACE ({plainly})"
        )


def _moves_on(table: Table) -> str | None:
    """Tells of a number whose test labels lie beyond those of train, as a price over decades."""
    if table.goal.task != "regression" or table.split.document["by"] != "time":
        return None
    parts, values = table.split.parts, table.goal.values
    train, test = (values[table.goal.known & (parts == part)] for part in (0, 2))
    beyond = float(np.mean((test < train.min()) | (test > train.max())))
    if beyond <= MOSTLY_UNSEEN:
        return None
    return (
        f"{beyond:.0%} of the test rows have a label beyond all of train, so no model may beat the "
        f"mean; a change since the row before, or a ratio, is easier to predict"
    )


def _named_alike(table: Table, names: list[str]) -> list[str]:
    """Returns the columns that share a word with the target, unless most columns do."""
    target = {w for w in words(table.target) if len(w) > 2}
    alike = [n for n in names if words(n) & target and n not in table.leaks]
    return alike if len(alike) <= max(len(names) / 2, 1) else []


def _misses_together(known: np.ndarray, column: Column) -> bool:
    """Whether nearly all values that are missing are so where the label is, and it has many."""
    missing, without = column.codes < 0, ~known
    both = int((missing & without).sum())
    return bool(both >= 10 and both > 0.85 * max(missing.sum(), without.sum()))


def _sentinel(column: Column) -> str | None:
    """Tells of a frequent number far from all others that may spell a missing value."""
    if not column.is_number or column.kind != "number" or column.n_distinct < 10:
        return None
    x = np.sort(column.numbers[~np.isnan(column.numbers)])
    for value in (x[0], x[-1]):
        others = x[x != value]
        nines = (value == round(value) and set(f"{abs(value):.0f}") == {"9"}) or value == -1
        alone = value < 0 <= others[0]  # the only number below 0
        far = min(abs(others - value)) > np.ptp(others) or alone
        if nines and far and len(x) - len(others) > 0.005 * len(x):
            share = 1 - len(others) / len(x)
            return f"{value:g} in {share:.1%} of the rows may spell a missing value"
    return None
