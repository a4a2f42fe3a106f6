"""Finds whom or what several rows are about: a column that repeats while others stay the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from quatrain.draft.leaks import Goal
from quatrain.draft.profile.column_profile import ColumnProfile

LEAST_GROUPS, FEW_GROUPS = 30, 12
"""The fewest entities, and the fewest if their rows also stand together or form a panel."""
LEAST_ROWS_EACH, MOST_ROWS_EACH = 1.5, 50
"""Rows of an entity, on average; with more, its rows must stand together or form a panel too."""
TRIED_PAIRS = 32
"""How many pairs of rows are compared before a column is."""
CONSTANT = 0.9
"""By how much of the way from chance to certainty a column is the same within the entities."""
BY_CHANCE = 0.8
"""A column that chance keeps the same within so many of the entities is no evidence."""
COURSE_ROWS, SMALL_STEPS = 4, 0.3
"""Rows of a course, on average, and how small its steps are beside those of rows of any order."""
TIME_PARTS = {"year", "yr", "quarter", "month", "week", "day", "hour", "minute", "date", "time"}
"""Words that name a part of a time: what a month holds together is no entity."""
_PARTS_OF_A_YEAR = TIME_PARTS - {"year", "yr"} | {"mo", "dy", "hr", "doy"}
PAIR_COLUMNS, PAIR_ROWS = 10, 20_000
"""Pairs are sought among this many columns, on the first rows."""
_NO_ENTITY = ("text", "time", "quantity", "identifier", "constant", "empty")
WEIGHTS = {"weight", "weights", "wt", "wgt", "fnlwgt", "pweight", "sampwt", "weighting"}
"""Words that name the weight of a row in a survey: rows of one stratum have the same."""


@dataclass(frozen=True)
class Entity:
    """Columns that say together whom or what a row is about.

    Attributes:
        keys: The names of the columns.
        n: The number of entities.
        rows_each: Their mean number of rows.
        constants: Columns that are the same in all rows of an entity, none of which tells another.
        is_sure: Whether to split by it; otherwise it may be a category of categories.
        disjoint: Columns whose values belong to one entity each.
        is_course: Whether its rows follow each other, and `constants` change little between them.
    """

    keys: tuple[str, ...]
    n: int
    rows_each: float
    constants: tuple[str, ...]
    is_sure: bool
    disjoint: tuple[str, ...]
    is_course: bool = False


class Groups:
    """The rows of a table, grouped by a code.

    Args:
        codes: The group of each row, `[N] int64`.
    """

    def __init__(self, codes: np.ndarray) -> None:
        """Sorts the rows by group."""
        self.codes = codes
        self.order = np.argsort(codes, kind="stable")
        ordered = codes[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.sizes = np.diff(np.r_[self.starts, len(codes)])
        self.repeated = self.sizes > 1

    def may_be_constant(self, codes: Mapping[str, np.ndarray]) -> set[str]:
        """Returns the codes that are mostly the same in some pairs of rows of one group.

        It spares wide tables the whole test of each column within each other one.
        """
        first = np.flatnonzero(self.codes[self.order][1:] == self.codes[self.order][:-1])
        first = first[:: -(-len(first) // TRIED_PAIRS) or 1]
        one, other = self.order[first], self.order[first + 1]
        return {n for n, x in codes.items() if 2 * np.count_nonzero(x[one] == x[other]) >= len(one)}

    def share_constant(self, codes: np.ndarray) -> float:
        """Returns the share of the groups of several rows in which a code is the same."""
        if not self.repeated.any():
            return 0.0
        x = codes[self.order]
        changes = np.r_[False, x[1:] != x[:-1]]
        changes[self.starts] = False
        constant = np.add.reduceat(changes, self.starts) == 0
        return float(constant[self.repeated].mean())

    def by_chance(self, codes: np.ndarray) -> float:
        """Returns the share of the groups in which a code would be the same by chance."""
        shares = np.unique(codes, return_counts=True)[1] / len(codes)
        sizes, counts = np.unique(np.minimum(self.sizes[self.repeated], 64), return_counts=True)
        expected = (shares[:, None] ** sizes[None]).sum(axis=0)
        return float(np.average(expected, weights=counts))

    def keep_constant(self, codes: np.ndarray) -> bool:
        """Whether a code is the same within the groups, and beyond what chance could do."""
        share = self.share_constant(codes)
        if share < CONSTANT:
            return False
        chance = self.by_chance(codes)
        return chance <= BY_CHANCE and (share - chance) / (1 - chance) >= CONSTANT

    @property
    def stand_together(self) -> bool:
        """Whether the rows of most groups follow each other in the table."""
        runs = 1 + int(np.sum(self.codes[1:] != self.codes[:-1]))
        return runs <= 1.5 * len(self.starts)

    def change_little(self, x: np.ndarray) -> bool:
        """Whether numbers move up and down within the groups in small steps, from row to row.

        The mean square of the steps is compared with twice the variance within the groups, which it
        is in rows of any order (von Neumann 1941).
        """
        values, group = x[self.order], self.codes[self.order]
        known = ~np.isnan(values)
        values, group = values[known], group[known]
        steps = np.diff(values)[group[1:] == group[:-1]]
        sizes = np.bincount(group)
        within = values - (np.bincount(group, values) / np.maximum(sizes, 1))[group]
        freedom = int((sizes - 1).clip(0).sum())
        rises, falls = int((steps > 0).sum()), int((steps < 0).sum())
        if not freedom or not rises + falls or min(rises, falls) < 0.1 * (rises + falls):
            return False
        variance = float(np.sum(within**2)) / freedom
        return variance > 0 and float(np.mean(steps**2)) < SMALL_STEPS * 2 * variance

    def form_a_panel(self, codes: np.ndarray) -> bool:
        """Whether a code of few values, as of a year or a visit, tells a group's rows apart.

        A value stands in two groups at least, on average, or it would tell the rows of all apart.
        """
        n = int(codes.max()) + 1
        if not 2 < n <= min(4 * self.sizes.max(), len(codes) / 2):
            return False
        return len(np.unique(self.codes * (n + 1) + codes + 1)) >= 0.99 * len(codes)


def find_entity(columns: Mapping[str, ColumnProfile], goal: Goal) -> Entity | None:
    """Returns the entity that the rows of a table repeat, or None.

    Of several, it is the one with the fewest values, since it keeps the rows of the others
    together as well. Two columns together are tried if no column alone is one.

    Args:
        columns: The inputs.
        goal: The label, which may be the same in all rows of an entity, too.
    """
    n = len(goal.values)
    known = [c for c in columns.values() if c.kind not in ("constant", "empty")]
    codes = {c.name: c.codes for c in known}
    label = np.where(goal.known, goal.values, -1.0)
    if goal.task != "regression":
        codes[""] = label.astype(np.int64)
    candidates = [
        c
        for c in known
        if c.kind not in _NO_ENTITY and c.n_present >= 0.98 * n and not c.words & WEIGHTS
        if c.type in ("int", "string") or _are_whole(c)
    ]
    entities = []
    for column in candidates:
        if FEW_GROUPS <= column.n_distinct <= n / LEAST_ROWS_EACH:
            entities.append(_entity((column,), codes, known))
    found = [e for e in entities if e is not None]
    if not any(e.is_sure for e in found):
        found += _pairs(candidates, codes, known)
    if not any(e.is_sure for e in found) and (
        course := _course(_of_courses(known, n), codes, known)
    ):
        return course
    if not found:
        return None
    sure = [e for e in found if e.is_sure] or found
    best = min(sure, key=lambda e: e.n)
    # Where nearly as many values stand for the same entities, as birthdays do, the finest is it.
    alike = [e for e in sure if e.n <= 1.15 * best.n and set(e.disjoint) & set(best.keys)]
    best = max([best, *alike], key=lambda e: e.n)
    others = {k for e in found for k in e.keys if len(e.keys) == 1 and e.n >= best.n}
    finer = [k for k in others if _tells(codes[k], _codes_of(best.keys, codes))]
    disjoint = tuple(dict.fromkeys((*best.disjoint, *sorted(finer))))
    return Entity(best.keys, best.n, best.rows_each, best.constants, best.is_sure, disjoint)


def _are_whole(column: ColumnProfile) -> bool:
    """Whether all of a column's floats are whole, as pandas writes integers beside a gap."""
    x = column.numbers
    return column.type == "float" and bool((x == np.floor(x))[~np.isnan(x)].all())


def _of_courses(known: list[ColumnProfile], n: int) -> list[ColumnProfile]:
    """Returns the columns that may name what has a course: fractions, too, as of a latitude."""
    return [
        c
        for c in known
        if c.kind not in _NO_ENTITY and c.n_present >= 0.98 * n and not c.words & WEIGHTS
        if c.n_distinct <= n / COURSE_ROWS and not c.words & _PARTS_OF_A_YEAR and not _drifts(c)
    ]


def _drifts(column: ColumnProfile) -> bool:
    """Whether a number moves up and down in small steps: it is measured, and names nothing."""
    if not column.is_number:
        return False
    x = column.numbers[~np.isnan(column.numbers)]
    changes = x[np.r_[True, x[1:] != x[:-1]]]
    return Groups(np.zeros(len(changes), np.int64)).change_little(changes)


def _course(
    candidates: list[ColumnProfile], codes: dict[str, np.ndarray], known: list[ColumnProfile]
) -> Entity | None:
    """Returns the finest entity whose rows stand together and tell its course, as of a storm.

    Such a table is often made by measuring again and again: neighbours are nearly copies.
    """
    several = sorted((c for c in candidates if c.n_distinct > 2), key=lambda c: -c.n_distinct)
    several = several[:PAIR_COLUMNS]
    best: Entity | None = None
    for keys in [(c,) for c in several] + list(combinations(several, 2)):
        names = tuple(c.name for c in keys)
        groups = Groups(_codes_of(names, codes))
        n, rows_each = len(groups.starts), len(groups.codes) / len(groups.starts)
        is_time = all(c.words & TIME_PARTS for c in keys)
        if is_time or n < LEAST_GROUPS or rows_each < COURSE_ROWS or not groups.stand_together:
            continue
        numbers = [c for c in known if c.is_number and c.name not in names]
        smooth = tuple(c.name for c in numbers if groups.change_little(c.numbers))
        if smooth and (best is None or n > best.n):
            disjoint = names if len(names) == 1 and keys[0].type != "float" else ()
            best = Entity(names, n, rows_each, smooth, True, disjoint, is_course=True)
    return best


def _pairs(
    candidates: list[ColumnProfile], codes: dict[str, np.ndarray], known: list[ColumnProfile]
) -> list[Entity]:
    """Returns the entities that two columns name together."""
    several = sorted((c for c in candidates if c.n_distinct > 2), key=lambda c: -c.n_distinct)
    first = {name: x[:PAIR_ROWS] for name, x in codes.items()}
    pairs = (_entity(pair, first, known) for pair in combinations(several[:PAIR_COLUMNS], 2))
    return [e for e in pairs if e is not None and e.is_sure]


def _codes_of(keys: Iterable[str], codes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns one code for each combination of the values of some columns."""
    together = np.zeros(len(next(iter(codes.values()))), np.int64)
    for key in keys:
        together = together * (codes[key].max() + 2) + codes[key] + 1
    return np.asarray(np.unique(together, return_inverse=True)[1])


def _tells(finer: np.ndarray, coarser: np.ndarray) -> bool:
    """Whether each value of one code occurs with a single value of another."""
    n = len(np.unique(finer))
    return len(np.unique(finer * (coarser.max() + 2) + coarser)) <= 1.02 * n


def _entity(
    keys: tuple[ColumnProfile, ...], codes: dict[str, np.ndarray], known: list[ColumnProfile]
) -> Entity | None:
    """Returns the entity that some columns name, or None if their values show none."""
    names = tuple(c.name for c in keys)
    groups = Groups(_codes_of(names, codes))
    n, rows_each = len(groups.starts), len(groups.codes) / len(groups.starts)
    few_repeat = groups.sizes[groups.repeated].sum() < 0.5 * len(groups.codes)
    if n < FEW_GROUPS or rows_each < LEAST_ROWS_EACH or few_repeat:
        return None
    constants, ranges, varies = _constants(keys, groups, codes)
    if not (constants or ranges) or not varies:  # if nothing varies, the rows are copies
        return None
    panel = [codes[c.name] for c in known if c.name not in names]
    is_panel = any(groups.form_a_panel(x) for x in panel)
    is_alone, is_ordered = len(keys) == 1, is_panel or groups.stand_together
    independent = _independent(constants, codes)
    is_known = is_alone or _is_measured(independent, n, known)
    is_sure = len(independent) >= 2 and (
        is_ordered or (is_known and n >= LEAST_GROUPS and rows_each <= MOST_ROWS_EACH)
    )
    if is_alone and n >= LEAST_GROUPS and is_panel:
        is_sure |= len(independent) >= 1
        independent = independent or _independent(ranges, codes)
    elif not is_sure and (len(independent) < 2 or not is_alone):
        return None
    if not independent:
        return None
    disjoint = [c.name for c in keys] if len(keys) == 1 else []
    disjoint += [
        c.name
        for c in known
        if c.type == "string" and c.name in constants and _tells(codes[c.name], groups.codes)
    ]
    shown = tuple(name for name in independent if name)
    return Entity(names, n, rows_each, shown, is_sure, tuple(disjoint))


def _constants(
    keys: tuple[ColumnProfile, ...], groups: Groups, codes: dict[str, np.ndarray]
) -> tuple[list[str], list[str], bool]:
    """Returns the codes that are the same within groups, those that cut a key into ranges alone.

    The last value is whether any other code varies within the groups.
    """
    names = tuple(c.name for c in keys)
    constants: list[str] = []
    ranges: list[str] = []
    varies = False
    near = groups.may_be_constant(codes)
    for name, x in codes.items():
        if name in names:
            continue
        if name not in near:
            varies = True
        elif not groups.keep_constant(x):
            varies |= groups.share_constant(x) < 0.5
        elif not _is_another_name(keys, groups, x, codes):
            (ranges if _is_a_range(keys, groups, x) else constants).append(name)
    return constants, ranges, varies


def _is_measured(names: list[str], n: int, known: list[ColumnProfile]) -> bool:
    """Whether one of some columns is a fraction of its own for most of n entities.

    By chance, two columns together keep no such number the same, as they may a region or a class.
    """
    floats = (c for c in known if c.name in names and c.type == "float" and not _are_whole(c))
    return any(c.n_distinct >= n / 2 for c in floats)


def _is_another_name(
    keys: tuple[ColumnProfile, ...], groups: Groups, x: np.ndarray, codes: dict[str, np.ndarray]
) -> bool:
    """Whether a code names the entity as well, or belongs to one of two keys alone."""
    return _tells(x, groups.codes) or (
        len(keys) > 1 and any(_tells(codes[c.name], x) for c in keys)
    )


def _is_a_range(keys: tuple[ColumnProfile, ...], groups: Groups, x: np.ndarray) -> bool:
    """Whether a code cuts the numbers of a key into ranges, as an age group does with an age."""
    if len(keys) > 1 or not keys[0].is_number:
        return False
    first = groups.order[groups.starts]
    along = x[first][np.argsort(keys[0].numbers[first])]
    runs, n = 1 + int(np.sum(along[1:] != along[:-1])), len(np.unique(along))
    # Where most of the codes stand for one number each, no order of them would have many runs.
    return runs == n or (n <= len(along) / 2 and runs < 2 * n)


def _independent(names: list[str], codes: dict[str, np.ndarray]) -> list[str]:
    """Returns those of some codes that no other tells, as a city tells its state."""
    by_size = sorted(names, key=lambda name: -len(np.unique(codes[name])))
    chosen: list[str] = []
    for name in by_size:
        if not any(_tells(codes[other], codes[name]) for other in chosen):
            chosen.append(name)
    return [name for name in names if name in chosen]
