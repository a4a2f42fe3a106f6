"""Which split suits a table: by time, by whose rows they are, or by what tells rows apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import SpecError
from quatrain.components.preprocess.splitting import assign
from quatrain.components.specification.split import HashSplit, TimeSplit
from quatrain.draft.columns import Column, names_an_entity
from quatrain.draft.leaks import Goal
from quatrain.draft.sample import Sample

LATE, LATE_OF_FEW = (0.8, 0.9), (0.7, 0.85)
"""Of the rows in order of time, where validation and test begin; and so of fewer than `FEW`."""
FEW = 200
SMALL = 1000
"""Below so many rows the shares are 60/20/20, so that a tenth is not a handful."""
SEEDS = 50
NEARER, NEAR = 0.75, 0.5
"""Of its share of the rows a part should have so much; a few large keys may give it far less."""
MOST_ROWS_EACH = 50
"""An id with more rows on average is a category that later rows will have, too."""
LEAST_IDS = 30
LEAST_OTHERS = 3
MAX_KEYS = 6
FEW_KEYS = 100
_BORN = {"birth", "birthday", "birthdate", "born", "dob", "expiry", "expires", "due"}


@dataclass(frozen=True)
class Parting:
    """The split of a draft.

    Attributes:
        document: The section `split`.
        parts: The split of each row of the sample, `[N] int8`.
        why: For a comment.
        keys: Columns that it needs.
        spent: Columns that are no feature, since test rows have values never seen in train.
    """

    document: dict[str, Any]
    parts: np.ndarray
    why: str
    keys: tuple[str, ...] = ()
    spent: tuple[str, ...] = ()


def find_parting(
    sample: Sample, columns: dict[str, Column], goal: Goal, target: str
) -> tuple[Parting, list[str]]:
    """Chooses a split, and says what a reader should know of others.

    Raises:
        SpecError: No split gives every part rows to learn or to measure.
    """
    inputs = {n: c for n, c in columns.items() if n != target and not c.is_spoilt}
    remarks = [
        f"{c.name!r} holds times that are not used: {c.note}"
        for c in inputs.values()
        if c.kind == "time" and c.type == "string"
    ]
    times = sorted(_times(sample, inputs), key=lambda c: (not _grows(c), c.values.null_count))
    for column in times:
        if found := _by_time(column, goal):
            return found, remarks
    for column in sorted(_entities(inputs), key=lambda c: c.n_distinct):
        if found := _by_hash((column.name,), columns, goal):
            why = f"all rows of one {column.name} stand on one side, as its next rows will"
            return replace(found, why=why, spent=(column.name,)), remarks
    keys = _row_keys(inputs)
    found = _by_hash(keys, columns, goal)
    if found is None:
        counts = np.unique(goal.values[goal.known], return_counts=True)[1]
        if (rest := int(counts.sum() - counts.max())) < LEAST_OTHERS:
            raise SpecError(
                f"{', '.join(sample.source.uri)}: --target {target!r}: all but {rest} of "
                f"{counts.sum():,} rows have one value; train and test need a row of another each, "
                f"so there is too little to learn from"
            )
        n = _combinations([columns[k] for k in keys])[1]
        raise SpecError(
            f"{', '.join(sample.source.uri)}: no split by the {n:,} different values of "
            f"{', '.join(keys)} gives train, validation and test rows with two labels; "
            f"add a column that numbers the rows, or one that says train, validation or test, and "
            f"split by it"
        )
    distinct = _combinations([columns[k] for k in keys])[1]
    if distinct < min(FEW_KEYS, len(goal.values) / 2):
        remarks.append(
            f"rows are split by their {distinct} different values in "
            f"{', '.join(map(repr, keys))}, as no column tells them apart: the split is coarse, "
            f"and a test row is like no train row; a column that numbers the rows would help"
        )
    return replace(found, why="these tell rows apart, so equal rows stand on one side"), remarks


def _times(sample: Sample, columns: dict[str, Column]) -> Iterator[Column]:
    """Yields the columns that say when a row was made."""
    for column in columns.values():
        readable = column.kind == "time" and column.type in ("timestamp", "date")
        born = bool(column.words & _BORN)
        missing = column.values.null_count / max(len(column.values), 1)
        if sample.is_spread and readable and not born and missing <= 0.02:
            yield column


def _grows(column: Column) -> bool:
    """Whether the rows stand in the order of a time."""
    return bool((np.diff(column.numbers) >= 0).all())


def _by_time(column: Column, goal: Goal) -> Parting | None:
    x = column.numbers
    present = x[~np.isnan(x)]
    first, last = np.quantile(present, LATE_OF_FEW if len(x) < FEW else LATE)
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
    why = "the newest rows are the test, as the next rows will be newer still"
    return Parting(document, parts, why, (column.name,))


def _rounded(micros: float, span: float) -> str:
    """Returns a time at the start of its day, hour or minute: as fine as a span asks for."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))
    time = time.replace(second=0, microsecond=0)
    if span > 20 * 86_400e6:
        return time.date().isoformat()
    return time.replace(tzinfo=None).isoformat()


def _entities(columns: dict[str, Column]) -> Iterator[Column]:
    """Yields the columns whose values say whose row it is, a few rows each."""
    for column in columns.values():
        if column.type not in ("int", "string") or column.kind in ("text", "time", "quantity"):
            continue
        each = column.n_present / max(column.n_distinct, 1)
        repeats = column.n_distinct >= LEAST_IDS and 1.1 < each <= MOST_ROWS_EACH
        if repeats and (names_an_entity(column.name) or _has_one_shape(column)):
            yield column


def _has_one_shape(column: Column) -> bool:
    """Whether nearly all texts are letters and digits in one pattern, as N-12345 and N-67890."""
    if column.type != "string":
        return False
    shape = pc.replace_substring_regex(column.encoded.dictionary, pattern=r"\d", replacement="9")
    shape = pc.replace_substring_regex(shape, pattern=r"[A-Za-z]", replacement="A")
    counted = shape.value_counts()
    most = pc.max(counted.field("counts")).as_py()
    at = pc.index(counted.field("counts"), most).as_py()
    pattern = counted.field("values")[at].as_py()
    return most > 0.9 * column.n_distinct and len(pattern) >= 6 and pattern.count("9") >= 3


def _row_keys(columns: dict[str, Column]) -> tuple[str, ...]:
    """Returns the columns that tell rows apart best: an identifier, or the fewest that do."""
    kept = [c for c in columns.values() if c.kind not in ("empty", "constant")]
    ids = [c for c in kept if c.kind == "identifier" and not c.values.null_count]
    if ids:
        return (ids[0].name,)
    ranked = sorted(kept or columns.values(), key=lambda c: (c.kind == "text", -c.n_distinct))
    chosen: list[Column] = []
    distinct = 0
    for column in ranked:
        _, n = _combinations([*chosen, column])
        if n > 1.001 * distinct:
            chosen.append(column)
            distinct = n
        if len(chosen) == MAX_KEYS or distinct == len(column.values):
            break
    return tuple(c.name for c in chosen)


def _combinations(columns: list[Column]) -> tuple[np.ndarray, int]:
    """Returns the combination of values of each row, `[N] int64`, and how many there are."""
    codes = np.zeros(len(columns[0].values), np.int64)
    for column in columns:
        together = codes * (column.n_distinct + 1) + column.codes + 1
        _, codes = np.unique(together, return_inverse=True)
    return codes, int(codes.max(initial=-1)) + 1


def _by_hash(keys: tuple[str, ...], columns: dict[str, Column], goal: Goal) -> Parting | None:
    """Returns a split by the first seed that suits; 0 nearly always does."""
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
    assigned: dict[int, np.ndarray] = {}
    for least, near in ((10, NEARER), (10, NEAR), (10, 0.0), (1, NEAR), (1, 0.0)):
        rows = [max(least, near * share * goal.known.sum()) for share in shares.values()]
        for seed, document in enumerate(documents):
            if seed not in assigned:
                assigned[seed] = assign(HashSplit.model_validate(document), batch)
            if _suits(assigned[seed], goal, rows, each_class=small and least > 1):
                return Parting(document, assigned[seed], "", keys)
    return None


def _suits(parts: np.ndarray, goal: Goal, least: Sequence[float], each_class: bool = False) -> bool:
    """Whether every part has rows, train and test two labels, and test each frequent class.

    Rows of a class that has no row in train are rejected, so they do not count.
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
    found, counts = np.unique(goal.values[goal.known], return_counts=True)
    return set(found) <= set(labels[0]) and set(found[counts >= 10]) <= set(labels[2])
