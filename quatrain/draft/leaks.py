"""Finds columns that give the label away, and pairs of columns that hold the same information."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.evaluate.measures import histogram
from quatrain.components.evaluate.measures.baseline import PRIOR_ROWS
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.trainer.features import Task

BINS = 64
BIN_ROWS = 20
"""The mean number of rows in a bin when a column is tested for a leak."""
ALMOST_SURE = 0.995
"""The AUC or accuracy above which a column is suspected of giving the label away.

It is only a suspicion: the draft comments the column out and says why, so a reader who knows better
can take it back.
"""
SURE_ROWS = 20
"""The fewest rows of a class in a test for leaks: with fewer, a value may match it by chance."""
ALL_VARIANCE = 0.999
"""The same for the share of a number's variance, of which an honest column may explain 99 %."""
LIKELY_AUC, LIKELY_VARIANCE, LIKELY_SPARED = 0.95, 0.9, 0.9
"""From these on, the draft asks whether a column is known when the prediction is made.

The last is the share of the errors of always answering the largest class that a column spares.
"""
SAME = 0.999
"""The correlation of ranks above which two columns of numbers hold the same information."""
PAIR_ROWS = 5000
"""About how many rows pairs of columns are compared on, and the words of texts with the classes."""
MOST_LETTERS = 10_000
"""The most letters of classes that are sought in texts."""
PAIR_COLUMNS = 400
"""Only the first columns are compared, as the pairs grow with the square of their number."""


@dataclass(frozen=True)
class Goal:
    """What the model is to predict, and its value in each row of the sample.

    Attributes:
        label: The name of the label in the spec: the target's, or that of a column derived from it.
        task: binary, multiclass or regression.
        values: The class index, or the number, `[N] float64`; NaN is missing.
        classes: The names of the classes, in the order of the spec.
        sql: The SQL expression of a derived label.
        reject: Rules that reject the rows whose label is none, by name.
        strays: The labels that these rules reject, with their rows in the sample.
        remarks: What a reader of the spec should know about the label.
    """

    label: str
    task: Task
    values: np.ndarray
    classes: tuple[str, ...] = ()
    sql: str | None = None
    remarks: tuple[str, ...] = ()
    reject: Mapping[str, str] = field(default_factory=dict)
    strays: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def known(self) -> np.ndarray:
        """Marks the rows that have a label, `[N] bool`."""
        return ~np.isnan(self.values)

    @cached_property
    def marks(self) -> np.ndarray:
        """The values that a bin averages: one-hot classes, `[N, C]`, or numbers, `[N, 1]`."""
        if self.task == "regression":
            return self.values[:, None]
        return (self.values[:, None] == np.arange(len(self.classes))).astype(np.float64)


def levels(column: ColumnProfile) -> np.ndarray:
    """Returns bins of one distinct value each, `[N] int64`; 0 is missing."""
    return column.codes + 1


def bins(column: ColumnProfile, n: int = BINS) -> np.ndarray:
    """Returns up to `n` bins of about equally many rows, `[N] int64`; 0 is missing.

    Text, and numbers of at most `n` distinct values, have a bin for each value.
    """
    if column.type in ("string", "bool") or column.n_distinct <= n:
        return levels(column)
    x = column.numbers
    known = ~np.isnan(x)
    edges = np.unique(np.quantile(x[known], np.arange(1, n) / n))
    return np.where(known, np.searchsorted(edges, x, side="right") + 1, 0)


def halves(n: int) -> np.ndarray:
    """Marks about half of `n` rows, `[N] bool`, scattered but the same each time.

    A row is marked by one bit of its index times 2**64 over the golden ratio (Fibonacci hashing:
    Knuth, TAOCP vol. 3, section 6.4). Taking every second row would fail on tables that alternate.
    """
    return (np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)) % 2 == 0


@dataclass(frozen=True)
class ColumnModels:
    """Models of one column each, fitted to some rows of the sample and measured on others.

    A model is a lookup table: for each bin the mean of its marks, with ten rows of the prior added.

    Attributes:
        goal: The label.
        train: The rows to fit to, `[N] bool`.
        test: The rows to measure on, `[N] bool`.
    """

    goal: Goal
    train: np.ndarray
    test: np.ndarray

    @property
    def metric(self) -> str:
        """The metric that `measure` returns: auc, log_loss or r2."""
        return {"binary": "auc", "multiclass": "log_loss", "regression": "r2"}[self.goal.task]

    @cached_property
    def prior(self) -> np.ndarray:
        """The mean of the marks of the train rows, `[C]`."""
        return np.asarray(self.goal.marks[self.train].mean(axis=0))

    @cached_property
    def trivial(self) -> float:
        """The metric of a model that predicts the prior for every row."""
        answers = np.repeat(self.prior[None], self.test.sum(), axis=0)
        return self._measured(answers)

    @cached_property
    def rarest(self) -> int:
        """The test rows of the second most frequent class; with two classes, the rarer one."""
        return int(np.sort(self.goal.marks[self.test].sum(axis=0))[-2])

    def answers(self, codes: np.ndarray) -> np.ndarray:
        """Returns the predictions of a binned column's model for the M test rows, `[M, C]`."""
        n, marks = int(codes.max(initial=0)) + 1, self.goal.marks
        train_codes = codes[self.train]
        mass = np.bincount(train_codes, minlength=n) + PRIOR_ROWS
        sums = [np.bincount(train_codes, marks[self.train, k], n) for k in range(marks.shape[1])]
        rates = (np.stack(sums, axis=1) + PRIOR_ROWS * self.prior) / mass[:, None]
        return np.asarray(rates[codes[self.test]])

    def measure(self, codes: np.ndarray) -> float:
        """Returns the metric of a binned column's model."""
        return self._measured(self.answers(codes))

    def accuracy(self, codes: np.ndarray) -> float:
        """Returns the share of test rows whose most likely class is right."""
        truth = self.goal.values[self.test]
        return float(np.mean(self.answers(codes).argmax(axis=1) == truth))

    def gain(self, codes: np.ndarray) -> float:
        """Returns by how much a column's model beats the prior, in units of the metric."""
        sign = -1 if self.metric == "log_loss" else 1
        return sign * (self.measure(codes) - self.trivial)

    def _measured(self, answers: np.ndarray) -> float:
        """Returns the metric of predictions for the M test rows, `[M, C]`."""
        truth = self.goal.marks[self.test]
        if self.goal.task == "regression":
            spread = np.sum((truth - truth.mean()) ** 2)
            return float(1 - np.sum((truth - answers) ** 2) / spread) if spread else 0.0
        if self.goal.task == "multiclass":
            of_truth = np.sum(answers * truth, axis=1)
            return float(-np.mean(np.log(np.maximum(of_truth, 1e-7))))
        return area(answers[:, 1], truth[:, 1])


def area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Returns the area under the ROC curve, where ties count half; 0.5 if a class is absent."""
    _, place = np.unique(scores, return_inverse=True)
    exact = histogram.auc(np.bincount(place, positive), np.bincount(place, 1 - positive))
    return 0.5 if math.isnan(exact) else exact


@dataclass(frozen=True)
class Leaks:
    """Columns that predict the label alone, by name, with the evidence.

    Attributes:
        sure: Those that almost surely give it away.
        likely: Those that predict it so well that a reader should say whether they may.
    """

    sure: dict[str, str]
    likely: dict[str, str]


def find_leaks(goal: Goal, columns: list[ColumnProfile]) -> Leaks:
    """Returns the columns that give the label away, surely or perhaps."""
    # A column is tested on rows that it was not fitted to, or an identifier would look perfect.
    half = halves(len(goal.values))
    models = ColumnModels(goal, goal.known & half, goal.known & ~half)
    if not models.train.any() or not models.test.any():
        return Leaks({}, {})
    evidence = {}
    for column in columns:
        found = [e for e in (_evidence(models, column), _told(models, column)) if e]
        if found:
            evidence[column.name] = max(found, key=lambda e: e[0])
    sure = {name: how for name, (_, how, is_sure) in evidence.items() if is_sure}
    rest = [c for c in columns if c.name not in sure]
    sure |= {**_sums(goal, rest), **_indicators(goal, rest)}
    likely = sorted(evidence.items(), key=lambda item: -item[1][0])
    return Leaks(sure, {n: how for n, (_, how, _) in likely if n not in sure})


def _evidence(models: ColumnModels, column: ColumnProfile) -> tuple[float, str, bool] | None:
    """Returns how well a column alone predicts the label, and whether it is too good to be true.

    The first value is its score, the second says it in words. None if it predicts no better than
    honest columns do.
    """
    # More bins for more rows: each needs about BIN_ROWS rows for its mean to be worth something.
    codes = bins(column, int(np.clip(models.train.sum() / BIN_ROWS, 16, 256)))
    if models.goal.task == "regression":
        share = max(models.measure(codes), _same_order(models.goal.values, column))
        how = f"explains {share:.2%} of the label's variance"
        return (share, how, share > ALL_VARIANCE) if share >= LIKELY_VARIANCE else None
    if models.rarest < SURE_ROWS and column.n_distinct > 2 * len(models.goal.classes):
        return None  # a few rows of a class may share a value by chance
    if models.goal.task == "binary":
        auc = max(models.measure(codes), _order_auc(models.goal, column))
        how = f"alone has an AUC of {auc:.4f}"
        return (auc, how, auc > ALMOST_SURE) if auc >= LIKELY_AUC else None
    accuracy, largest_class = models.accuracy(codes), float(models.prior.max())
    # Where one class has 99.6 % of the rows, always answering it is as accurate and tells nothing.
    spared = 1 - (1 - accuracy) / max(1 - largest_class, 1e-9)
    how = f"alone predicts the class of {accuracy:.2%} of the rows"
    is_sure = accuracy > ALMOST_SURE and spared > 0.95
    return (accuracy, how, is_sure) if spared >= LIKELY_SPARED else None


def _told(models: ColumnModels, column: ColumnProfile) -> tuple[float, str, bool] | None:
    """Returns how well the classes that the texts of a column name predict the label, or None.

    The score and the words are those of `_evidence`. A text such as '1887 - 1893 (Death)' differs
    from row to row, so that as a whole it predicts nothing.
    """
    letters = len("".join(models.goal.classes))
    if not 0 < letters <= MOST_LETTERS or column.type != "string":
        return None
    n = len(models.train)
    some = np.arange(n) % -(-n // PAIR_ROWS) == 0
    named = np.full(n, -1)
    named[some] = named_classes(column.values.filter(pa.array(some)), models.goal.classes)
    told = ColumnProfile(column.name, "int", "code", pa.array(named))
    few = replace(models, train=models.train & some, test=models.test & some)
    found = _evidence(few, told) if told.n_distinct > 1 else None
    return (found[0], f"names a class, which {found[1]}", found[2]) if found else None


def named_classes(texts: pa.Array, classes: Sequence[str]) -> np.ndarray:
    """Returns the class that each text names last, as whole words in any case; -1 is none."""
    lower = [name.strip().lower() for name in classes]
    either = "|".join(re.escape(name) for name in sorted(lower, key=len, reverse=True) if name)
    edge = r"[^\pL\pN_]"
    pattern = rf"(?s)(?:.*{edge}|^)(?P<name>{either})(?:{edge}|$)"
    found = pc.extract_regex(pc.utf8_lower(texts), pattern).field("name")
    places = pc.index_in(found, pa.array(lower))
    return np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False), np.int64)


def _same_order(values: np.ndarray, column: ColumnProfile) -> float:
    """Returns the squared correlation of a number with the label: of values or of ranks.

    The larger of the two counts. It is 0 for a column that is not a number, or shares fewer than
    ten rows, or less than half of them, with the label.
    """
    if not column.is_number:
        return 0.0
    known = ~np.isnan(values) & ~np.isnan(column.numbers)
    if known.sum() < 10 or known.sum() < 0.5 * (~np.isnan(values)).sum():
        return 0.0
    a, b = values[known], column.numbers[known]
    return max(_correlation(a, b) ** 2, _correlation(_ranks(a), _ranks(b)) ** 2)


def _order_auc(goal: Goal, column: ColumnProfile) -> float:
    """Returns the AUC of a number by its order alone, up or down, which bins would blur.

    It is 0 for a column that is not a number, or is missing in more than half of the rows.
    """
    known = goal.known & ~np.isnan(column.numbers) if column.is_number else np.zeros(0, bool)
    if 2 * known.sum() < goal.known.sum() or not known.any():
        return 0.0
    auc = area(column.numbers[known], goal.marks[known, 1])
    return max(auc, 1 - auc)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(_scaled(a) @ _scaled(b) / len(a))


def _ranks(x: np.ndarray) -> np.ndarray:
    """Returns the rank of each value, `[N] float64`; equal values share their mean rank."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _sums(goal: Goal, columns: list[ColumnProfile]) -> dict[str, str]:
    """Finds two or three columns whose weighted sum is the label of a regression or binary task.

    It uses orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad 1993): the column that fits
    the residual best is added, and all weights are fitted again.
    """
    numbers = [c for c in columns if c.is_number and not c.values.null_count]
    if goal.task == "multiclass" or len(numbers) < 2:
        return {}
    rows = np.flatnonzero(goal.known)
    # Evenly spaced rows: an exact sum shows in a few thousand as well as in all of them.
    rows = rows[:: -(-len(rows) // PAIR_ROWS)]
    x = np.stack([_scaled(c.numbers[rows]) for c in numbers], axis=1)
    y = _scaled(goal.values[rows])
    chosen: list[int] = []
    residual = y
    for _ in range(3):
        fit = np.abs(x.T @ residual)
        fit[chosen] = -1
        chosen.append(int(fit.argmax()))
        weights = np.linalg.lstsq(x[:, chosen], y, rcond=None)[0]
        residual = y - x[:, chosen] @ weights
        # A residual of 1e-4: the columns then explain 99.99 % of the label's variance.
        if len(chosen) > 1 and residual @ residual < 1e-4 * (y @ y):
            names = [numbers[i].name for i in chosen]
            return {name: _sum_sentence([n for n in names if n != name]) for name in names}
        if len(chosen) == len(numbers):
            break
    return {}


def _sum_sentence(names: list[str]) -> str:
    return f"gives the label as a weighted sum with {' and '.join(map(repr, names))}"


def _indicators(goal: Goal, columns: list[ColumnProfile]) -> dict[str, str]:
    """Finds columns of two values that mark exactly the rows of one class, as dummy columns do."""
    if goal.task != "multiclass":
        return {}
    indicators = {}
    marks = goal.marks[goal.known] > 0
    frequent = np.minimum(marks.sum(axis=0), (~marks).sum(axis=0)) >= SURE_ROWS
    for column in columns:
        if column.n_distinct == 2 and not column.values.null_count:
            first = (column.codes[goal.known] == 0)[:, None]
            exact = frequent & ((marks == first).all(axis=0) | (marks != first).all(axis=0))
            if exact.any():
                name = goal.classes[int(exact.argmax())]
                indicators[column.name] = f"marks exactly the rows of class {name!r}"
    return indicators


def _scaled(x: np.ndarray) -> np.ndarray:
    """Returns the numbers with mean 0 and deviation 1; zeros if all are equal."""
    if not np.ptp(x):
        return np.zeros(len(x))
    x = x - x.mean()
    x /= np.abs(x).max()  # the squares of numbers such as 1e-310 are all zero
    return np.asarray(x / x.std())


def find_twins(columns: list[ColumnProfile]) -> Iterator[tuple[str, str, str]]:
    """Yields pairs of columns with the same information, the earlier first, and the evidence."""
    twins: set[str] = set()
    for first, second in _pairs(columns):
        if second.name in twins:
            continue
        if how := _sameness(first, second):
            twins.add(second.name)
            yield first.name, second.name, how


def _pairs(columns: list[ColumnProfile]) -> Iterator[tuple[ColumnProfile, ColumnProfile]]:
    """Yields the pairs to compare: equally many distinct values, or highly correlated ranks."""
    columns = columns[:PAIR_COLUMNS]
    close = _close_numbers([c for c in columns if c.is_number and c.n_distinct > 2])
    for i, first in enumerate(columns):
        for second in columns[i + 1 :]:
            # Above half, most values occur once, and two such columns match each other trivially.
            same_count = first.n_distinct == second.n_distinct <= first.n_present / 2
            if same_count or (first.name, second.name) in close:
                yield first, second


def _close_numbers(columns: list[ColumnProfile]) -> set[tuple[str, str]]:
    """Returns the names of pairs of numbers whose ranks correlate; missing counts as the mean."""
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
    """Returns a tiny number in one row, so that a constant column has a deviation above 0."""
    return np.where(np.arange(n) == 0, 1e-9, 0.0)


def _sameness(first: ColumnProfile, second: ColumnProfile) -> str | None:
    """Returns how two columns hold the same information, or None."""
    a, b = levels(first), levels(second)
    n = int(b.max(initial=0)) + 1
    together = len(np.unique(a * n + b))
    repeat = first.n_distinct <= first.n_present / 2
    if repeat and together == len(np.unique(a)) == len(np.unique(b)):
        return "each value of one occurs with a single value of the other"
    if first.is_number and second.is_number and first.n_distinct > 2 < second.n_distinct:
        known = ~np.isnan(first.numbers) & ~np.isnan(second.numbers)
        if known.sum() > len(known) / 2:
            r = _correlation(_ranks(first.numbers[known]), _ranks(second.numbers[known]))
            return f"their ranks have a correlation of {r:.4f}" if abs(r) > SAME else None
    return None
