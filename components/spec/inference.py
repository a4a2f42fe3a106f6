"""Infers a spec from a table: what `quatrain init` decides, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import SpecError
from components.spec.goal import find_goal, is_skewed, plain
from components.spec.heads import check_head, looks_like_a_row
from components.spec.nulls import Nulls, find_nulls
from components.spec.parting import Parting, find_parting
from components.spec.profile import (
    Column,
    counts_years,
    find_columns,
    names_an_entity,
    quoted,
    words,
)
from components.spec.sampling import Sample, sample
from components.spec.schema import Clean
from components.spec.suspicion import Goal, Trial, bins, find_leaks, find_twins, levels
from trainer.features import LABEL, RAW_PREFIX, WEIGHT
from trainer.settings import Hyperparameters

PIECES = Hyperparameters().bins
"""Up to so many different numbers each have a weight of their own in the network."""
TEXT_BUCKETS = 64
ROWS_A_LEVEL = 20
MOST_LEVELS = 1000
MOSTLY_MISSING = 0.995
MOSTLY_UNSEEN = 0.5
GATE_ROWS = 100
"""In fewer rows of the sample a bound would be a guess."""
MOVED_ON = -0.05
"""Where labels move on, the trivial answer has an r2 below 0: not all of a gain over it is any."""
SLICES = 3
SLICE_LEVELS = 12
LARGE, STEPS = 1_000_000, 6_000
"""Of more train rows than this a first run takes so many steps, not twelve whole epochs."""
DAY = 86_400.0
MOST_BAD = Clean().max_rejected
_RECODE = (
    "save it as UTF-8; of a file of Windows this does so: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT"
)
_NAMELESS = "a CSV starts with the names of its columns, so write a line of them above it"


@dataclass(frozen=True)
class Entry:
    """A line of a draft: a column with its type, or a feature.

    Attributes:
        value: What the line holds.
        comment: What stands behind it.
        used: Whether the line is no comment itself.
    """

    value: Any
    comment: str = ""
    used: bool = True


@dataclass(frozen=True)
class Draft:
    """A spec with its comments; `writing.write` makes the YAML of it.

    Attributes:
        document: The sections of the spec, in order.
        columns: A type and a comment by column; those that are not used are comments.
        features: The features; those that are left out are comments.
        about: How it was made.
        remarks: What a reader should look at.
        comments: Behind which key of the document a comment stands, by `section.key`.
    """

    document: dict[str, Any]
    columns: dict[str, Entry]
    features: list[Entry]
    about: list[str]
    remarks: list[str]
    comments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Table:
    """All that is known of a table before features are chosen."""

    sample: Sample
    columns: dict[str, Column]
    target: str
    goal: Goal
    split: Parting
    leaks: dict[str, str]

    @property
    def train_rows(self) -> int:
        """Rows of the train split, estimated from the sample."""
        share = float(np.mean(self.split.parts == 0))
        return round((self.sample.rows or self.sample.table.num_rows) * share)

    @property
    def untrained(self) -> list[int]:
        """Classes of several that have no train row, as the written split says."""
        if self.goal.task != "multiclass":
            return []
        in_train = self.goal.values[self.goal.known & (self.split.parts == 0)]
        return sorted(set(range(len(self.goal.classes))) - set(in_train.astype(int).tolist()))

    @property
    def trial(self) -> Trial:
        """One-column models, fitted and measured as the written split says."""
        known, parts = self.goal.known, self.split.parts
        test = known & (parts == 2)
        if test.sum() < GATE_ROWS:
            test = known & (parts > 0)
        return Trial(self.goal, known & (parts == 0), test)


def infer(uri: str, target: str) -> Draft:
    """Returns a draft of a spec for the files of a uri.

    The same files give the same draft.

    Raises:
        SourceError: The files cannot be read.
        SpecError: The target cannot be predicted, or no column is left to predict it from.
    """
    check_head(uri)
    found = sample(uri)
    bad = found.rejected["bad_encoding"]
    if bad > MOST_BAD * (found.table.num_rows + found.rejected.total()):
        raise SpecError(f"{uri}: {bad:,} rows of the sample are not UTF-8; {_RECODE}")
    if not found.table.num_rows:
        listed = _rejected(found)
        why = f"no row can be read: {listed}" if listed else "there are no rows, only a header"
        raise SpecError(f"{uri}: {why}")
    nulls = find_nulls(found, target)
    columns = find_columns(found, nulls.spellings)
    remarks = []
    if found.source.format == "csv" and looks_like_a_row(found.names):
        remarks.append(f"the header seems to be a row: {_NAMELESS}")
        if target not in found.names:
            raise SpecError(
                f"{uri}: --target {target!r}: there is no such column, and the first line seems to "
                f"be a row: {_NAMELESS}"
            )
    goal = find_goal(found, columns, target)
    inputs = [c for n, c in columns.items() if n != target]
    if not any(c.kind not in ("empty", "constant") for c in inputs):
        told = f"every column beside the target {target!r} has one value or none"
        if not inputs:
            told = f"there is no column beside the target {target!r} to predict it from"
        if found.unreadable:
            told += "; " + "; ".join(f"{n!r}: {why}" for n, why in found.unreadable.items())
        raise SpecError(f"{uri}: {told}")
    split, odd = find_parting(found, columns, goal, target)
    leaks = find_leaks(goal, [c for c in inputs if c.kind not in ("empty", "constant")])
    leaks = {n: told for n, told in leaks.items() if n not in split.spent}
    table = _Table(found, columns, target, goal, split, leaks)
    table, let_pass = _with_a_feature(uri, table)
    left_out = _left_out(table)
    features = _features(table, left_out)
    remarks = [*_remarks(table, nulls), *remarks, *odd, *let_pass]
    return _draft(uri, table, nulls, left_out, features, remarks)


def _with_a_feature(uri: str, table: _Table) -> tuple[_Table, list[str]]:
    """Returns a table of which a feature can be made, and what was let pass for it.

    Raises:
        SpecError: No column is left.
    """
    if _has_feature(table):
        return table, []
    if table.leaks:
        told = [
            f"{name!r} may give the label away: it {how}; it stays, as no other column is left"
            for name, how in table.leaks.items()
        ]
        return replace(table, leaks={}), told
    counted = {
        n: replace(c, kind="number")
        for n, c in table.columns.items()
        if n != table.target and c.kind == "identifier" and c.is_number and not names_an_entity(n)
    }
    with_them = replace(table, columns={**table.columns, **counted})
    if counted and _has_feature(with_them):
        listed = ", ".join(map(repr, counted))
        return with_them, [f"may do no more than count the rows: {listed}; no other column is left"]
    reasons = "; ".join(f"{n!r}: {why}" for n, why in list(_left_out(table).items())[:5])
    told = [f"({reasons})", *_amounts_as_text(table)]
    raise SpecError(f"{uri}: no column is left to predict {table.target!r} from {'; '.join(told)}")


def _has_feature(table: _Table) -> bool:
    return any(f.used for f in _features(table, _left_out(table)))


def _draft(
    uri: str,
    table: _Table,
    nulls: Nulls,
    left_out: dict[str, str],
    features: list[Entry],
    remarks: list[str],
) -> Draft:
    goal, split = table.goal, table.split
    clean: dict[str, Any] = {"derive": {goal.label: goal.sql}} if goal.sql else {}
    if table.untrained:
        clean["reject"] = {"class_not_in_train": _is_untrained(table)}
    rejected, why_rejected = _max_rejected(table)
    if rejected:
        clean["max_rejected"] = rejected
    evaluate, why_gate = _evaluation(table, features)
    train, why_train = _training(table)
    columns = _columns(table, left_out, features, evaluate)
    document = {
        "name": model_name(uri),
        "source": _source(table.sample, nulls),
        "columns": {},
        **({"clean": clean} if clean else {}),
        "label": goal.label,
        "task": goal.task,
        "split": split.document,
        "features": [],
        **({"train": train} if train else {}),
        "evaluate": evaluate,
    }
    comments = {
        "clean.max_rejected": why_rejected,
        "clean.reject": "no row of these classes falls to train, so they cannot be learned",
        "task": "; ".join(goal.remarks),
        "split": split.why,
        "train.max_steps": why_train,
        "evaluate.gate": why_gate,
    }
    about = [
        f"The label is {table.target!r}; types, split, features and gate come from "
        f"{table.sample.sentence}.",
    ]
    return Draft(document, columns, features, about, remarks, comments)


def model_name(uri: str) -> str:
    """Returns the name of a model after its file: lower-case letters, digits and hyphens."""
    stem = Path(uri.rstrip("/")).name.partition(".")[0]
    name = plain(stem).replace("_", "-")[:60].strip("-")
    return name if name[:1].isalpha() else "model"


def _source(found: Sample, nulls: Nulls) -> dict[str, Any]:
    source = found.source
    if source.format != "csv":
        lacks = {"optional_keys": True} if source.optional_keys else {}
        return {"uri": source.uri[0], "format": source.format, **lacks}
    document: dict[str, Any] = {"uri": source.uri[0], "nulls": list(nulls.spellings)}
    if source.delimiter != ",":
        document["delimiter"] = source.delimiter
    if source.quoted_newlines:
        document["quoted_newlines"] = True
    return document


def _left_out(table: _Table) -> dict[str, str]:
    """Returns why columns are no features, by name."""
    reasons = dict(table.sample.unreadable)
    for name, column in table.columns.items():
        if name != table.target and (why := _why_not(table, column)):
            reasons[name] = why
    return reasons


def _why_not(table: _Table, column: Column) -> str | None:
    by_kind = {
        "empty": "no value in the sample",
        "constant": "one value in the whole sample",
        "identifier": "an identifier: another value in nearly each row",
    }
    if column.name in table.leaks:
        return f"may give the label away: it {table.leaks[column.name]}"
    if why := by_kind.get(column.kind):
        return why
    if column.is_spoilt:
        return (
            f"{column.n_bad:,} cells do not convert, as infinity does not, and would take their "
            f"rows along; write them as missing"
        )
    if column.name in table.split.spent:
        return "rows are split by it, so the test rows have values that train never saw"
    if column.values.null_count > MOSTLY_MISSING * len(column.values):
        return f"missing in {column.values.null_count:,} of {len(column.values):,} rows"
    if not (column.codes[(table.split.parts == 0) & table.goal.known] >= 0).any():
        return "no value in the train rows that have a label"
    if column.type == "string" and (column.kind == "time" or _is_amount_as_text(column)):
        return f"{column.note}; a feature takes a column as it stands, so write it plainly there"
    if table.split.document["by"] == "time" and _is_ahead(table, column):
        return "it grows with time: most test rows have a value that train never saw"
    return _case_twin(table, column)


def _is_amount_as_text(column: Column) -> bool:
    """Whether the values are amounts that do not repeat often enough to be categories."""
    repeats = column.n_distinct <= min(column.n_present / 3, MOST_LEVELS)
    return column.kind == "quantity" and not repeats


def _is_ahead(table: _Table, column: Column) -> bool:
    """Whether most test rows lie beyond train, as months and numbers of invoices do."""
    if column.kind == "time":
        return False
    train, test = (column.codes[table.split.parts == part] for part in (0, 2))
    unseen = ~np.isin(test, train)
    if column.is_number and column.n_distinct > PIECES:
        x = column.numbers
        low, high = np.nanmin(x[table.split.parts == 0]), np.nanmax(x[table.split.parts == 0])
        unseen = (x[table.split.parts == 2] < low) | (x[table.split.parts == 2] > high)
    return bool(len(test)) and float(np.mean(unseen & (test >= 0))) > MOSTLY_UNSEEN


def _case_twin(table: _Table, column: Column) -> str | None:
    """SQL folds the case of names; two that differ in nothing else cannot stand beside it."""
    if not table.goal.sql:
        return None
    needed = {table.target, *table.split.keys}
    for name in table.columns:
        same = name != column.name and name.casefold() == column.name.casefold()
        if same and (name in needed or name < column.name) and column.name not in needed:
            return f"SQL cannot tell it from {name!r}"
    return None


def _features(table: _Table, left_out: dict[str, str]) -> list[Entry]:
    """Returns the features of every column, in the order of the table."""
    taken = {LABEL, WEIGHT}
    entries: list[Entry] = []
    for number, (name, column) in enumerate(table.columns.items(), start=1):
        if name == table.target:
            continue
        stem = _feature_name(name, number, taken)
        made = list(_of_column(table, column, stem))
        for feature in made:
            taken.update(f"{feature['name']}{end}" for end in ("", "_sin", "_cos", "_missing"))
        entries += [Entry(f, left_out.get(name, ""), name not in left_out) for f in made]
    return entries


def _feature_name(name: str, number: int, taken: set[str]) -> str:
    stem = plain(name) or f"column_{number}"
    if stem.startswith(RAW_PREFIX):
        stem = f"c_{stem}"
    while any(
        f"{stem}{end}" in taken for end in ("", "_level", "_hour", "_weekday", "_month", "_missing")
    ):
        stem += "_"
    return stem


def _of_column(table: _Table, column: Column, stem: str) -> Iterator[dict[str, Any]]:
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


def _of_time(column: Column, stem: str) -> Iterator[dict[str, Any]]:
    """Yields the hour, the weekday and the season, where the times have seen enough of each."""
    x = column.numbers[~np.isnan(column.numbers)] / 1e6
    span = float(np.ptp(x))
    parts = {
        "hour": span > 3 * DAY and len(np.unique(x % DAY)) > 1,
        "day_of_week": span > 28 * DAY and not _is_monthly(column),
        "month": span > 2 * 365 * DAY,
    }
    for part in (part for part, seen in parts.items() if seen):
        name = {"day_of_week": "weekday"}.get(part, part)
        yield {"name": f"{stem}_{name}", "from": column.name, "transform": "cyclic", "part": part}


def _is_monthly(column: Column) -> bool:
    """Whether each time is the first day of a month: its weekday says nothing."""
    days = column.values.drop_null().cast(pa.timestamp("us"))
    return bool(pc.all(pc.equal(pc.day(days), 1)).as_py())


def _has_levels(table: _Table, column: Column) -> bool:
    """Whether each value of a whole number says more than its size, out of sample.

    The network tells up to as many values apart as a number's embedding has pieces.
    """
    if not PIECES < column.n_distinct <= column.n_present / ROWS_A_LEVEL:
        return False
    by_level = table.trial.gain(levels(column))
    return by_level > 1.1 * max(table.trial.gain(bins(column, PIECES)), 1e-4)


def _columns(
    table: _Table, left_out: dict[str, str], features: list[Entry], evaluate: dict[str, Any]
) -> dict[str, Entry]:
    """Returns every column of the header: those that are read, and as comments the others."""
    read = {f.value["from"] for f in features if f.used}
    read |= {table.target, *table.split.keys, *evaluate["slices"]}
    entries = {}
    for name in dict.fromkeys(table.sample.names):
        column = table.columns.get(name)
        if column is None:
            why = table.sample.unreadable.get(name, "it cannot be read")
            entries[name] = Entry("string", f"left out: {why}", False)
        elif name in read:
            entries[name] = Entry(column.declared, _told(table, column, left_out.get(name)))
        else:
            why = left_out.get(name) or "no feature is made of it"
            entries[name] = Entry(column.declared, f"left out: {why}", False)
    return entries


def _told(table: _Table, column: Column, left_out: str | None) -> str:
    told = []
    if column.name == table.target:
        told.append("the target")
    elif column.name in table.split.keys:
        told.append("for the split" if left_out else "also for the split")
    if column.n_bad:
        told.append(f"{column.n_bad:,} cells do not convert; their rows are rejected")
    if column.kind == "code":
        told.append("digits that name something")
    if column.kind == "quantity" and column.name != table.target:
        told.append(f"{column.note}, used as categories: a feature takes a column as it stands")
    if column.note and column.kind == "category":
        told.append(column.note)
    if missing := column.values.null_count:
        share = missing / len(column.values)
        told.append(f"{share:.1%} missing" if share >= 0.001 else f"{missing:,} missing")
    return "; ".join(told)


def _is_untrained(table: _Table) -> str:
    """Returns the rule in SQL that holds for the rows of `table.untrained`."""
    names = [table.goal.classes[c] for c in table.untrained]
    if table.columns[table.target].type == "string":
        names = ["'" + name.replace("'", "''") + "'" for name in names]
    return f"{quoted(table.target)} IN ({', '.join(names)})"


def _max_rejected(table: _Table) -> tuple[float | None, str]:
    """Rows without a label are rejected; their share may be larger than the default allows."""
    n = len(table.goal.values)
    rejected = ~table.goal.known | np.isin(table.goal.values, table.untrained)
    share = float(np.mean(rejected)) if n else 0.0
    if share <= 0.05:
        return None, ""
    told = f"{share:.1%} of the sample has no label to learn, and such rows are rejected"
    return min(math.ceil((share * 1.1 + 0.05) * 100) / 100, 1.0), told


def _training(table: _Table) -> tuple[dict[str, Any], str]:
    """Bounds the training of a large table; else the trainer's defaults follow the rows."""
    rows = table.train_rows
    if rows <= LARGE:
        return {}, ""
    told = f"of about {rows:,} train rows, for a first look; without it twelve epochs or more"
    return {"max_steps": STEPS}, told


def _evaluation(table: _Table, features: list[Entry]) -> tuple[dict[str, Any], str]:
    slices = [
        c.name
        for c in table.columns.values()
        if c.name in {f.value["from"] for f in features if f.used} and _is_slice(c)
    ][:SLICES]
    gate, why = _gate(table, features)
    return {"slices": slices, "gate": gate}, why


def _is_slice(column: Column) -> bool:
    return column.kind in ("category", "code") and 2 <= column.n_distinct <= SLICE_LEVELS


def _gate(table: _Table, features: list[Entry]) -> tuple[dict[str, Any], str]:
    """Asks for half of what the best single column gives in the sample, split as written."""
    trial = table.trial
    names = {f.value["from"] for f in features if f.used}
    if min(trial.train.sum(), trial.test.sum()) < GATE_ROWS:
        return {}, "too few rows for a bound; beating the trivial answer is always asked"
    gains = {n: trial.gain(bins(table.columns[n])) for n in names}
    best = max(sorted(gains), key=lambda n: gains[n])
    half = gains[best] / 2
    least = {"auc": 0.02, "log_loss": 0.0, "r2": 0.02}[trial.metric]
    if trial.metric == "r2" and trial.trivial < MOVED_ON:
        half = (trial.trivial + gains[best]) / 2
    if half <= least / 2:
        told = "no column alone says much of the label; beating the trivial answer is always asked"
        return {}, told
    told = f"half of what {best!r} alone gives in the sample; raise it once you know the model"
    if trial.metric == "log_loss":
        return {"log_loss": {"max": math.ceil((trial.trivial - half) * 1000) / 1000}}, told
    bound = trial.trivial + half if trial.metric == "auc" else half
    return {trial.metric: {"min": math.floor(bound * 100) / 100}}, told


def _remarks(table: _Table, nulls: Nulls) -> list[str]:
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
    found += _amounts_as_text(table)
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
    if listed := _rejected(table.sample):
        recode = f"; {_RECODE}" if table.sample.rejected["bad_encoding"] else ""
        found.append(f"rows that do not parse, in the sample: {listed}; they are rejected{recode}")
    return found


def _rejected(found: Sample) -> str:
    """Returns how many rows of a sample do not parse, by reason."""
    return ", ".join(f"{n:,} {reason}" for reason, n in sorted(found.rejected.items()) if n)


def _amounts_as_text(table: _Table) -> Iterator[str]:
    """Tells of the amounts that are no feature as they are written, and how they would be one."""
    amounts = [
        c for c in table.columns.values() if c.name != table.target and _is_amount_as_text(c)
    ]
    if amounts:
        listed = ", ".join(repr(c.name) for c in amounts)
        plainly = ", ".join(f"{c.sql} AS {quoted(c.name)}" for c in amounts)
        yield (
            f"left out, as a feature takes a column as it stands: {listed}; written into the table "
            f"as plain numbers they would be features, as by DuckDB: SELECT * REPLACE ({plainly})"
        )


def _moves_on(table: _Table) -> str | None:
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


def _named_alike(table: _Table, names: list[str]) -> list[str]:
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
