"""Chooses the split of a table: by time, by the entity of a row, or by columns that identify it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import SpecError
from quatrain.components.preprocess.checks.audit import MOSTLY_DISTINCT, REPEATED
from quatrain.components.preprocess.splitting import assign
from quatrain.components.specification.split import SPLITS, HashSplit, TimeSplit
from quatrain.components.wording import counted
from quatrain.draft.entities import Entity, find_entity
from quatrain.draft.leaks import Goal
from quatrain.draft.profile.column_names import names_a_time, names_an_entity, quoted
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.profile.columns import derive
from quatrain.draft.profile.kinds import counts_years
from quatrain.draft.sample.sample import Sample

LATE, LATE_OF_FEW = (0.8, 0.9), (0.7, 0.85)
"""The shares of the rows, in order of time, before validation and before test.

The second pair is for tables of fewer than `FEW` rows.
"""
FEW = 200
SMALL = 1000
"""Below this many rows the shares are 60/20/20, since a tenth would be a handful of rows."""
SEEDS = 50
"""How many seeds are tried to give every part enough rows."""
NEAREST, NEARER, NEAR = 0.9, 0.75, 0.5
"""The share of its expected rows that a part should have, at first and then at least."""
MOST_ROWS_EACH = 50
"""A column with more rows for each value is a category: later rows will have the same values."""
LEAST_IDS = 30
"""The fewest distinct values of a column that identifies entities."""
LEAST_OTHERS = 3
"""The fewest rows outside the most frequent class; with fewer, no split can be good."""
MAX_KEYS = 6
"""The most columns that a split combines to tell rows apart."""
FEW_KEYS = 100
"""With fewer combinations of keys, the split is coarse and gets a remark."""
MOMENT = "moment"
"""The name of the column that is derived of a year, a month, a day and an hour."""
_PARTS = (
    ({"month", "mon", "mo", "monat", "mois"}, 1, 12),
    ({"day", "dom", "mday", "tag", "jour"}, 1, 31),
    ({"hour", "hr", "stunde", "heure"}, 0, 23),
)
_DAYS = {"day", "days", "ordinal", "tag", "jour"}
_DAY_OF_1970 = (0, 25_569, 719_163)
"""The number of 1970-01-01 where days are counted from it, in spreadsheets, and in Python."""
_OF_1990, _OF_2040 = 7_305, 25_567
"""Days from 1970 to the years in which a count of days is recognised."""
_BUILT = {"built", "founded", "made", "model", "renovated", "construction"}
_BORN = {"birth", "birthday", "birthdate", "born", "dob", "expiry", "expires", "due"}


@dataclass(frozen=True)
class DraftSplit:
    """The split of a draft.

    Attributes:
        document: The section `split` of the spec.
        parts: The split of each row of the sample, `[N] int8`: 0 train, 1 validation, 2 test.
        why: The reason for the split, for a comment.
        keys: The columns that the split reads.
        disjoint: Columns whose values in test rows never occur in train, so they are no features.
        other: A split by what may be an entity, which only a reader can decide.
    """

    document: dict[str, Any]
    parts: np.ndarray
    why: str
    keys: tuple[str, ...] = ()
    disjoint: tuple[str, ...] = ()
    other: DraftSplit | None = None


def choose_split(
    sample: Sample, columns: dict[str, ColumnProfile], goal: Goal, target: str
) -> tuple[DraftSplit, list[str]]:
    """Returns the split of a draft, and remarks on the columns that it does not use.

    Raises:
        SpecError: No split gives each part enough rows and labels.
    """
    inputs = _inputs(sample, columns, goal, target)
    remarks: list[str] = []
    times = sorted(_times(inputs), key=lambda c: (not _grows(c), c.values.null_count))
    unfit = {c.name: why for c in times if (why := _why_no_time(sample, c))}
    for column in times:
        if column.name not in unfit and (split := _by_time(column, goal)):
            return split, remarks
        unfit.setdefault(column.name, _why_unfit(column))
    remarks += [f"the rows are not split by {name!r}: {why}" for name, why in unfit.items()]
    for column in sorted(_entities(inputs), key=lambda c: c.n_distinct):
        if split := _by_hash((column.name,), columns, goal):
            why = f"all rows of one {column.name} land in the same split, as its next rows will"
            return replace(split, why=why, disjoint=(column.name,)), remarks
    entity = find_entity(inputs, goal)
    if entity and entity.is_sure and (split := _by_hash(entity.keys, columns, goal)):
        return replace(split, why=_repetition(entity), disjoint=entity.disjoint), remarks
    keys = _row_keys(inputs, goal)
    by_row = _by_hash(keys, columns, goal)
    if by_row is None:
        raise SpecError(_why_no_split(sample, columns, goal, target, keys))
    distinct = _combinations([columns[k] for k in keys])[1]
    if distinct < min(FEW_KEYS, len(goal.values) / 2):
        remarks.append(
            f"rows are split by the {distinct} different values of "
            f"{', '.join(map(repr, keys))}, because no column tells them apart: the split is "
            f"coarse, and no test row is like a train row; a column that numbers the rows would "
            f"help"
        )
    identify = "this column identifies" if len(keys) == 1 else "these columns identify"
    why = f"{identify} a row, so identical rows land in the same split"
    other = _by_hash(entity.keys, columns, goal) if entity else None
    if entity and other:
        other = replace(other, why=_repetition(entity), disjoint=entity.disjoint)
    return replace(by_row, why=why, other=other), remarks


def missed_request(split: DraftSplit, goal: Goal) -> Iterator[str]:
    """Yields a remark if a part has far fewer rows than the split requests: its keys are few."""
    if split.document["by"] != "hash":
        return
    n = int(goal.known.sum())
    rows = [int((split.parts[goal.known] == part).sum()) for part in range(3)]
    requested = [split.document[name] * n for name in SPLITS]
    if any(r < NEARER * asked for r, asked in zip(rows, requested, strict=True)):
        got, asked = (", ".join(f"{round(x):,}" for x in each) for each in (rows, requested))
        yield (
            f"train, validation and test have {got} of the "
            f"{counted(n, 'row')} with a label in the sample, not {asked}, because "
            f"{_listed(split.keys)} {'has' if len(split.keys) == 1 else 'have'} few values with "
            "many rows"
        )


def _inputs(
    sample: Sample, columns: dict[str, ColumnProfile], goal: Goal, target: str
) -> dict[str, ColumnProfile]:
    """Returns the columns that a split may read: those whose cells convert."""
    inputs = {n: c for n, c in columns.items() if n != target and not c.is_spoilt}
    if goal.sql or goal.reject or sample.headers:  # SQL cannot tell names apart by their case
        first = {name.casefold(): name for name in [*reversed(inputs), target]}
        inputs = {n: c for n, c in inputs.items() if first[n.casefold()] == n}
    return inputs


def _why_no_split(
    sample: Sample,
    columns: dict[str, ColumnProfile],
    goal: Goal,
    target: str,
    keys: tuple[str, ...],
) -> str:
    """Returns why no split by hash gives each part its rows, with the way out."""
    uri = ", ".join(sample.source.uri)
    counts = np.unique(goal.values[goal.known], return_counts=True)[1]
    if (others := int(counts.sum() - counts.max())) < LEAST_OTHERS:
        return (
            f"{uri}: target {target!r}: the same value stands in all but {others} of "
            f"{counted(counts.sum(), 'row')}; train and test each need a row with another, so "
            f"there is too little to learn from"
        )
    n = _combinations([columns[k] for k in keys])[1]
    return (
        f"{uri}: no split by the {counted(n, 'different value')} of {', '.join(keys)} gives train, "
        f"validation and test rows with two labels; add a column that numbers the rows, or one "
        f"that says train, validation or test, and split by it"
    )


def split_by_moment(
    sample: Sample, columns: dict[str, ColumnProfile], goal: Goal
) -> tuple[str, DraftSplit] | None:
    """Returns the SQL of the day or hour that stands in whole numbers, and the split by it.

    They are its parts in several columns, or a count of days.
    """
    days = (sql for c in columns.values() if (sql := day_of_number(c)))
    if sample.is_spread and (sql := next(days, None)):
        values = derive(
            {c.name: c.values for c in columns.values() if quoted(c.name) in sql}, sql, "timestamp"
        )
        split = _by_time(ColumnProfile(MOMENT, "timestamp", "time", values), goal)
        return (sql, split) if split else None
    years = [c for c in columns.values() if counts_years(c) and not c.words & (_BORN | _BUILT)]
    if not years or not sample.is_spread:
        return None
    # Of several columns of years, the rows' own is the plainest name, and then the latest.
    year = max(years, key=lambda c: (c.words <= {"year", "yr"}, float(np.nanmax(c.numbers))))
    parts = [year]
    for names, low, high in _PARTS:
        part = next((c for c in columns.values() if _is_part(c, names, low, high)), None)
        if part is None:
            break
        parts.append(part)
    whole = [
        quoted(c.name) if c.type == "int" else f"CAST({quoted(c.name)} AS BIGINT)" for c in parts
    ]
    if len(parts) == 4:
        sql = f"TRY(make_timestamp({', '.join(whole)}, 0, 0.0))"
    else:
        sql = f"TRY(make_date({', '.join([*whole, '1', '1'][:3])}))"
    values = derive({c.name: c.values for c in parts}, sql, "timestamp")
    split = _by_time(ColumnProfile(MOMENT, "timestamp", "time", values), goal)
    return (sql, split) if split else None


def day_of_number(column: ColumnProfile) -> str | None:
    """Returns the SQL of the day that a whole number counts, by its name and its range, or None."""
    is_named = bool(column.words & _DAYS) or names_a_time(column.name)
    if column.type != "int" or not is_named or column.n_distinct < LEAST_IDS:
        return None
    low, high = np.nanmin(column.numbers), np.nanmax(column.numbers)
    for start in _DAY_OF_1970:
        if low >= start + _OF_1990 and high < start + _OF_2040:
            number = quoted(column.name) if not start else f"{quoted(column.name)} - {start}"
            return f"TRY(DATE '1970-01-01' + CAST({number} AS INTEGER))"
    return None


def _is_part(column: ColumnProfile, names: set[str], low: int, high: int) -> bool:
    """Whether a column holds a part of a time, by its name and its range."""
    if not column.words & names or not column.is_number or column.kind == "empty":
        return False
    x = column.numbers[~np.isnan(column.numbers)]
    return bool((x == np.floor(x)).all() and low <= x.min() and x.max() <= high)


def _repetition(entity: Entity) -> str:
    """Returns the reason to split by an entity."""
    identify = "identifies" if len(entity.keys) == 1 else "together identify"
    s = "s" if len(entity.constants) == 1 else ""
    stay = f"stay{s} the same"
    if entity.is_course:
        stay = f"change{s} little from row to row"
    return (
        f"{_listed(entity.keys)} {identify} what a row is about: about "
        f"{counted(round(entity.rows_each), 'row')} each, in which {_listed(entity.constants)} "
        f"{stay}; all of them land in the same split"
    )


def _listed(names: Sequence[str]) -> str:
    """Returns up to three names in words."""
    first = [repr(name) for name in names[:3]]
    return ", ".join(first[:-1]) + " and " * (len(first) > 1) + "".join(first[-1:])


def _times(columns: dict[str, ColumnProfile]) -> Iterator[ColumnProfile]:
    """Yields the columns of times."""
    for column in columns.values():
        if column.kind == "time" and column.type in ("timestamp", "date"):
            yield column


def _why_no_time(sample: Sample, column: ColumnProfile) -> str | None:
    """Returns why a column does not say when rows arose, or None if it does."""
    missing = column.values.null_count / max(len(column.values), 1)
    if column.words & _BORN:
        return "it is a time of birth or expiry by its name, and not when a row arose"
    if missing > 0.02:
        return f"it is missing in {missing:.0%} of the rows"
    if not sample.is_spread:
        return "the sample has only the first rows, so the newest are unknown"
    return None


def _why_unfit(column: ColumnProfile) -> str:
    """Returns why the newest rows of a column of times cannot be the test rows."""
    counts = np.unique(column.codes[column.codes >= 0], return_counts=True)[1]
    what = "day" if column.type == "date" else "time"
    if counts.max() > 0.1 * counts.sum():
        return f"{counts.max() / counts.sum():.0%} of the rows share one {what}"
    return "its newest rows would leave a part with too few rows, or with one label"


def _grows(column: ColumnProfile) -> bool:
    """Whether the rows are in the order of a column of times."""
    return bool((np.diff(column.numbers) >= 0).all())


def _by_time(column: ColumnProfile, goal: Goal) -> DraftSplit | None:
    """Returns the split by a column of times, or None if a part has too few rows or labels."""
    x = column.numbers
    # Rows without a label are rejected, and are often the newest: their outcome is not known yet.
    present = x[~np.isnan(x) & goal.known]
    if not len(present):
        return None
    first, last = np.quantile(present, LATE_OF_FEW if len(present) < FEW else LATE)
    bounds = [_rounded(q, np.ptp(present)) for q in (first, last)]
    document = {"by": "time", "column": column.name}
    document |= {"validation_from": bounds[0], "test_from": bounds[1]}
    if bounds[0] >= bounds[1]:
        return None
    split = TimeSplit.model_validate(document)
    times = pa.array(x, from_pandas=True).cast(pa.int64(), safe=False).cast(pa.timestamp("us"))
    parts = assign(split, pa.record_batch({column.name: times}))
    if not _suits(parts, goal, least=[max(2, len(parts) // 50)] * 3):
        return None
    why = "tests on the newest rows, because the rows to predict will be newer"
    return DraftSplit(document, parts, why, (column.name,))


def _rounded(micros: float, span: float) -> str:
    """Returns a time as text: its day if all times span over 20 days, else its minute."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))
    time = time.replace(second=0, microsecond=0)
    if span > 20 * 86_400e6:
        return time.date().isoformat()
    return time.replace(tzinfo=None).isoformat()


def _entities(columns: dict[str, ColumnProfile]) -> Iterator[ColumnProfile]:
    """Yields the columns that identify whom or what a row is about, a few rows for each value."""
    for column in columns.values():
        if column.type not in ("int", "string") or column.kind in ("text", "time", "quantity"):
            continue
        rows_each = column.n_present / max(column.n_distinct, 1)
        # Up to 1.1 rows a value, the column tells rows apart, and a split by rows does as well.
        repeats = column.n_distinct >= LEAST_IDS and 1.1 < rows_each <= MOST_ROWS_EACH
        if repeats and (names_an_entity(column.name) or _has_one_shape(column)):
            yield column


def _has_one_shape(column: ColumnProfile) -> bool:
    """Whether nearly all texts have one pattern of letters and digits, such as N-12345."""
    if column.type != "string":
        return False
    if column.kind == "code" and not pc.any(pc.starts_with(column.encoded.dictionary, "0")).as_py():
        return False  # a number in all but its type, as a postal code is
    shape = pc.replace_substring_regex(column.encoded.dictionary, pattern=r"\d", replacement="9")
    shape = pc.replace_substring_regex(shape, pattern=r"[A-Za-z]", replacement="A")
    counted = shape.value_counts()
    most = pc.max(counted.field("counts")).as_py()
    at = pc.index(counted.field("counts"), most).as_py()
    pattern = counted.field("values")[at].as_py()
    # Shorter patterns, or patterns of fewer digits, are those of codes such as N-1.
    return most > 0.9 * column.n_distinct and len(pattern) >= 6 and pattern.count("9") >= 3


def _row_keys(columns: dict[str, ColumnProfile], goal: Goal) -> tuple[str, ...]:
    """Returns the columns that identify a row: one identifier, or else a few others together.

    Beside an identifier, rows may be alike, perhaps copies; then the others keep these together.
    """
    informative = [c for c in columns.values() if c.kind not in ("empty", "constant")]
    ids = [c for c in informative if c.kind == "identifier" and not c.values.null_count]
    if ids:
        others = [c for c in informative if c.kind != "identifier"]
        if not _may_be_copies(others, goal):
            return (ids[0].name,)
        informative = others
    ranked = sorted(
        informative or columns.values(), key=lambda c: (c.kind == "text", -c.n_distinct)
    )
    chosen: list[ColumnProfile] = []
    distinct = 0
    for column in ranked:
        _, n = _combinations([*chosen, column])
        if n > 1.001 * distinct:  # a column that adds fewer combinations tells too few rows apart
            chosen.append(column)
            distinct = n
        if len(chosen) == MAX_KEYS or distinct == len(column.values):
            break
    return tuple(c.name for c in chosen)


def _may_be_copies(columns: list[ColumnProfile], goal: Goal) -> bool:
    """Whether the audit of a run would take rows for copies that are alike in some columns."""
    if not columns:
        return False
    labels = np.unique(np.where(goal.known, goal.values, -np.inf), return_inverse=True)[1]
    codes, _ = _combinations(columns)
    n, distinct = len(codes), len(np.unique(codes * (labels.max() + 1) + labels))
    return n - distinct > REPEATED * n and distinct > MOSTLY_DISTINCT * n


def _combinations(columns: list[ColumnProfile]) -> tuple[np.ndarray, int]:
    """Returns the index of each row's combination of values, `[N] int64`, and their number."""
    codes = np.zeros(len(columns[0].values), np.int64)
    for column in columns:
        together = codes * (column.n_distinct + 1) + column.codes + 1
        _, codes = np.unique(together, return_inverse=True)
    return codes, int(codes.max(initial=-1)) + 1


def _by_hash(
    keys: tuple[str, ...], columns: dict[str, ColumnProfile], goal: Goal
) -> DraftSplit | None:
    """Returns a split by the first seed that gives each part its rows; 0 nearly always does.

    The conditions are relaxed step by step until a seed meets them: a few keys with many rows may
    leave a part with few.
    """
    if not keys:
        return None
    batch = pa.record_batch({k: columns[k].values for k in keys})
    small = len(goal.values) < SMALL
    train, other = (0.6, 0.2) if small else (0.8, 0.1)
    shares = {"train": train, "validation": other, "test": other}
    documents = [
        {"by": "hash", "keys": list(keys), **shares, **({"seed": seed} if seed else {})}
        for seed in range(SEEDS)
    ]
    parts_by_seed: dict[int, np.ndarray] = {}
    for least, near in product((10, 1), (NEAREST, NEARER, NEAR, 0.0)):
        rows = [max(least, near * share * goal.known.sum()) for share in shares.values()]
        for seed, document in enumerate(documents):
            if seed not in parts_by_seed:
                parts_by_seed[seed] = assign(HashSplit.model_validate(document), batch)
            if _suits(parts_by_seed[seed], goal, rows, each_class=small and least > 1):
                return DraftSplit(document, parts_by_seed[seed], "", keys)
    return None


def _suits(parts: np.ndarray, goal: Goal, least: Sequence[float], each_class: bool = False) -> bool:
    """Whether a split gives every part enough rows, and train and test two labels each.

    Rows of a class that train lacks are rejected, so they do not count.

    Args:
        parts: The split of each row, `[N] int8`.
        goal: The label.
        least: The rows that train, validation and test need.
        each_class: Whether train needs every class, and test every class of ten rows.
    """
    used = goal.known
    if goal.task == "multiclass":
        used = used & np.isin(goal.values, goal.values[goal.known & (parts == 0)])
    rows = [used & (parts == part) for part in range(3)]
    if any(r.sum() < n for r, n in zip(rows, least, strict=True)):
        return False
    labels = [np.unique(goal.values[r]) for r in rows]
    if len(labels[0]) < 2 or (goal.task != "multiclass" and len(labels[2]) < 2):
        return False
    if goal.task == "regression" or not each_class:
        return True
    classes, counts = np.unique(goal.values[goal.known], return_counts=True)
    return set(classes) <= set(labels[0]) and set(classes[counts >= 10]) <= set(labels[2])
