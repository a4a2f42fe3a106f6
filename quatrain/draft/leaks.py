"""What one column alone says of the label, and which columns say the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quatrain.components.evaluate.measures import histogram
from quatrain.components.evaluate.measures.baseline import PRIOR_ROWS
from quatrain.draft.columns import Column
from quatrain.trainer.features import Task

BINS = 64
BIN_ROWS = 20
"""Rows that a bin should have when a column is suspected."""
ALMOST_SURE = 0.995
"""AUC or accuracy above which a column is suspected to give the label away."""
SURE_ROWS = 20
ALL_VARIANCE = 0.999
"""The share of a number's variance above which it is; an honest size may well explain 99 %."""
SAME = 0.999
"""Correlation of ranks above which two columns of numbers say the same."""
PAIR_ROWS = 5000
"""Rows by which pairs of columns are compared."""
PAIR_COLUMNS = 400


@dataclass(frozen=True)
class Goal:
    """What is to be predicted, over the rows of the sample.

    Attributes:
        label: The name of the label in the spec: the target, or what is derived of it.
        task: binary, multiclass or regression.
        values: Class index, or the number, `[N] float64`; NaN is missing.
        classes: The names of the classes, as the spec orders them.
        sql: The expression of a derived label.
        remarks: What a reader should know of it.
    """

    label: str
    task: Task
    values: np.ndarray
    classes: tuple[str, ...] = ()
    sql: str | None = None
    remarks: tuple[str, ...] = ()

    @cached_property
    def known(self) -> np.ndarray:
        """Marks the rows that have a label, `[N] bool`."""
        return ~np.isnan(self.values)

    @cached_property
    def marks(self) -> np.ndarray:
        """What is averaged in a bin: `[N, C]` one-hot classes, or `[N, 1]` numbers."""
        if self.task == "regression":
            return self.values[:, None]
        return (self.values[:, None] == np.arange(len(self.classes))).astype(np.float64)


def levels(column: Column) -> np.ndarray:
    """Returns a bin for each distinct value, `[N] int64`; 0 is missing."""
    return column.codes + 1


def bins(column: Column, n: int = BINS) -> np.ndarray:
    """Returns a bin of about as many rows each, `[N] int64`; 0 is missing. Of text, its levels."""
    if column.type in ("string", "bool") or column.n_distinct <= n:
        return levels(column)
    x = column.numbers
    known = ~np.isnan(x)
    edges = np.unique(np.quantile(x[known], np.arange(1, n) / n))
    return np.where(known, np.searchsorted(edges, x, side="right") + 1, 0)


def halves(n: int) -> np.ndarray:
    """Returns about one half of `n` rows, scattered, `[N] bool`."""
    return (np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)) % 2 == 0


@dataclass(frozen=True)
class Trial:
    """Models of one column, fitted to some rows of the sample and measured on others.

    A model is a table: the mean mark of each bin, with ten rows of the prior mixed in.

    Attributes:
        goal: The label.
        train: Rows to fit, `[N] bool`.
        test: Rows to measure, `[N] bool`.
    """

    goal: Goal
    train: np.ndarray
    test: np.ndarray

    @property
    def metric(self) -> str:
        """What `measure` gives: auc, log_loss or r2."""
        return {"binary": "auc", "multiclass": "log_loss", "regression": "r2"}[self.goal.task]

    @cached_property
    def prior(self) -> np.ndarray:
        """The mean mark of the rows to fit, `[C]`."""
        return np.asarray(self.goal.marks[self.train].mean(axis=0))

    @cached_property
    def trivial(self) -> float:
        """What the prior alone measures."""
        answers = np.repeat(self.prior[None], self.test.sum(), axis=0)
        return self._measured(answers)

    @cached_property
    def rarest(self) -> int:
        """Rows to measure of the class that has the second most; the only rare one of two."""
        return int(np.sort(self.goal.marks[self.test].sum(axis=0))[-2])

    def answers(self, codes: np.ndarray) -> np.ndarray:
        """Returns the answers of the model of a binned column, `[M, C]`."""
        n, marks = int(codes.max(initial=0)) + 1, self.goal.marks
        fitted = codes[self.train]
        mass = np.bincount(fitted, minlength=n) + PRIOR_ROWS
        sums = [np.bincount(fitted, marks[self.train, k], n) for k in range(marks.shape[1])]
        rates = (np.stack(sums, axis=1) + PRIOR_ROWS * self.prior) / mass[:, None]
        return np.asarray(rates[codes[self.test]])

    def measure(self, codes: np.ndarray) -> float:
        """Returns the metric of the model of a binned column."""
        return self._measured(self.answers(codes))

    def accuracy(self, codes: np.ndarray) -> float:
        """Returns the share of rows whose most likely class is right."""
        truth = self.goal.values[self.test]
        return float(np.mean(self.answers(codes).argmax(axis=1) == truth))

    def gain(self, codes: np.ndarray) -> float:
        """Returns by how much a column is better than the prior, in units of the metric."""
        sign = -1 if self.metric == "log_loss" else 1
        return sign * (self.measure(codes) - self.trivial)

    def _measured(self, answers: np.ndarray) -> float:
        truth = self.goal.marks[self.test]
        if self.goal.task == "regression":
            spread = np.sum((truth - truth.mean()) ** 2)
            return float(1 - np.sum((truth - answers) ** 2) / spread) if spread else 0.0
        if self.goal.task == "multiclass":
            chosen = np.sum(answers * truth, axis=1)
            return float(-np.mean(np.log(np.maximum(chosen, 1e-7))))
        return area(answers[:, 1], truth[:, 1])


def area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Returns the area under the ROC curve, ties by half; 0.5 when a class is absent."""
    _, place = np.unique(scores, return_inverse=True)
    exact = histogram.auc(np.bincount(place, positive), np.bincount(place, 1 - positive))
    return 0.5 if math.isnan(exact) else exact


def find_leaks(goal: Goal, columns: list[Column]) -> dict[str, str]:
    """Returns the columns that give the label away almost surely, and how it shows."""
    half = halves(len(goal.values))
    trial = Trial(goal, goal.known & half, goal.known & ~half)
    if not trial.train.any() or not trial.test.any():
        return {}
    found = {}
    for column in columns:
        if told := _gives_away(trial, column):
            found[column.name] = told
    rest = [c for c in columns if c.name not in found]
    return {**found, **_sums(goal, rest), **_indicators(goal, rest)}


def _gives_away(trial: Trial, column: Column) -> str | None:
    codes = bins(column, int(np.clip(trial.train.sum() / BIN_ROWS, 16, 256)))
    if trial.goal.task == "regression":
        share = max(trial.measure(codes), _same_order(trial.goal.values, column))
        return f"explains {share:.2%} of the label's variance" if share > ALL_VARIANCE else None
    if trial.rarest < SURE_ROWS and column.n_distinct > 2 * len(trial.goal.classes):
        return None  # a value that a few rows of a class share by chance proves nothing
    if trial.goal.task == "binary":
        found = trial.measure(codes)
        return f"alone has an AUC of {found:.4f}" if found > ALMOST_SURE else None
    found, most = trial.accuracy(codes), float(trial.prior.max())
    sure = found > ALMOST_SURE and 1 - found < 0.05 * (1 - most)
    return f"alone tells the class of {found:.2%} of the rows" if sure else None


def _same_order(values: np.ndarray, column: Column) -> float:
    """Returns the squared correlation of a number with the label, in value or in rank."""
    if not column.is_number:
        return 0.0
    known = ~np.isnan(values) & ~np.isnan(column.numbers)
    if known.sum() < 10 or known.sum() < 0.5 * (~np.isnan(values)).sum():
        return 0.0
    a, b = values[known], column.numbers[known]
    both = (_correlation(a, b), _correlation(_ranks(a), _ranks(b)))
    return max(r * r for r in both)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if not np.ptp(a) or not np.ptp(b):
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(x: np.ndarray) -> np.ndarray:
    """Returns the mean rank of each value, `[N] float64`."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _sums(goal: Goal, columns: list[Column]) -> dict[str, str]:
    """Finds two or three numbers whose weighted sum is the label, a number or one of two."""
    numbers = [c for c in columns if c.is_number and not c.values.null_count]
    if goal.task == "multiclass" or len(numbers) < 2:
        return {}
    rows = np.flatnonzero(goal.known)
    rows = rows[:: -(-len(rows) // PAIR_ROWS)]
    x = np.stack([_scaled(c.numbers[rows]) for c in numbers], axis=1)
    y = _scaled(goal.values[rows])
    chosen: list[int] = []
    left = y
    for _ in range(3):
        fit = np.abs(x.T @ left)
        fit[chosen] = -1
        chosen.append(int(fit.argmax()))
        weights = np.linalg.lstsq(x[:, chosen], y, rcond=None)[0]
        left = y - x[:, chosen] @ weights
        if len(chosen) > 1 and left @ left < 1e-4 * (y @ y):
            names = [numbers[i].name for i in chosen]
            return {name: _made_up_with([n for n in names if n != name]) for name in names}
        if len(chosen) == len(numbers):
            break
    return {}


def _made_up_with(names: list[str]) -> str:
    return f"makes the label up with {' and '.join(map(repr, names))}, by a weighted sum"


def _indicators(goal: Goal, columns: list[Column]) -> dict[str, str]:
    """Finds columns of two values that tell one class of several from all others, as dummies do."""
    if goal.task != "multiclass":
        return {}
    found = {}
    marks = goal.marks[goal.known] > 0
    frequent = np.minimum(marks.sum(axis=0), (~marks).sum(axis=0)) >= SURE_ROWS
    for column in columns:
        if column.n_distinct == 2 and not column.values.null_count:
            first = (column.codes[goal.known] == 0)[:, None]
            exact = frequent & ((marks == first).all(axis=0) | (marks != first).all(axis=0))
            if exact.any():
                name = goal.classes[int(exact.argmax())]
                found[column.name] = f"says exactly which rows are of class {name!r}"
    return found


def _scaled(x: np.ndarray) -> np.ndarray:
    deviation = float(x.std())
    return (x - x.mean()) / deviation if deviation else np.zeros(len(x))


def find_twins(columns: list[Column]) -> Iterator[tuple[str, str, str]]:
    """Yields pairs that say the same: the earlier column, the later one, and how it shows."""
    taken: set[str] = set()
    for first, second in _pairs(columns):
        if second.name in taken:
            continue
        if told := _same(first, second):
            taken.add(second.name)
            yield first.name, second.name, told


def _pairs(columns: list[Column]) -> Iterator[tuple[Column, Column]]:
    """Yields the pairs that may say the same: as many distinct values that repeat, or ranks."""
    columns = columns[:PAIR_COLUMNS]
    close = _close_numbers([c for c in columns if c.is_number and c.n_distinct > 2])
    for i, first in enumerate(columns):
        for second in columns[i + 1 :]:
            same_count = first.n_distinct == second.n_distinct <= first.n_present / 2
            if same_count or (first.name, second.name) in close:
                yield first, second


def _close_numbers(columns: list[Column]) -> set[tuple[str, str]]:
    if len(columns) < 2:
        return set()
    step = -(-len(columns[0].values) // PAIR_ROWS)
    ranked = []
    for column in columns:
        x = column.numbers[::step]
        known = ~np.isnan(x)
        ranks = np.zeros(len(x))
        if known.any():
            ranks[known] = _scaled(_ranks(x[known]))
        ranked.append(ranks)
    close = np.abs(np.corrcoef(np.stack(ranked) + _jitter(len(ranked[0])))) > SAME
    at = zip(*np.nonzero(np.triu(close, 1)), strict=True)
    return {(columns[i].name, columns[j].name) for i, j in at}


def _jitter(n: int) -> np.ndarray:
    """Returns next to nothing, so that no column has deviation 0."""
    return np.where(np.arange(n) == 0, 1e-9, 0.0)


def _same(first: Column, second: Column) -> str | None:
    a, b = levels(first), levels(second)
    n = int(b.max(initial=0)) + 1
    together = len(np.unique(a * n + b))
    repeat = first.n_distinct <= first.n_present / 2
    if repeat and together == len(np.unique(a)) == len(np.unique(b)):
        return "each value of one stands with one value of the other"
    if first.is_number and second.is_number and first.n_distinct > 2 < second.n_distinct:
        known = ~np.isnan(first.numbers) & ~np.isnan(second.numbers)
        if known.sum() > len(known) / 2:
            r = _correlation(_ranks(first.numbers[known]), _ranks(second.numbers[known]))
            return f"their ranks correlate by {r:.4f}" if abs(r) > SAME else None
    return None
