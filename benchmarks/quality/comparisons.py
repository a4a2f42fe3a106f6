"""Our results beside another system's on one table, with the intervals of the difference.

The intervals need the losses of each test row, which are not committed. So they are kept in a file
of their own, by what both results were measured from: the page needs the committed files alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.quality.intervals import Interval, calibration, cut
from benchmarks.quality.lines import append_line, read_lines
from benchmarks.quality.measure import scores_path
from benchmarks.quality.results import Result
from benchmarks.quality.scores import Scores
from benchmarks.quality.splits import split_rows, units_of_test
from benchmarks.quality.systems import OURS
from benchmarks.quality.tables import N_SPLITS, QualityTable

Latest = Mapping[tuple[str, int, str], Result]


def error_name(task: str) -> str:
    """Returns the metric that counts."""
    return "rmse" if task == "regression" else "log_loss"


@dataclass(frozen=True)
class Comparison:
    """Ours beside another system on one table, on the splits that both were measured on.

    Attributes:
        table: The table.
        system: The other system's name.
        ours: Our results, by split.
        theirs: Its results, by split.
    """

    table: QualityTable
    system: str
    ours: tuple[Result, ...]
    theirs: tuple[Result, ...]

    @classmethod
    def of(cls, table: QualityTable, system: str, latest: Latest) -> Comparison | None:
        """Returns the comparison, or None if no split has results of both."""
        found = [
            (latest.get((table.name, split, OURS.name)), latest.get((table.name, split, system)))
            for split in range(N_SPLITS)
        ]
        pairs = [(a, b) for a, b in found if a and b and a.metrics and b.metrics]
        if not pairs:
            return None
        return cls(table, system, tuple(a for a, _ in pairs), tuple(b for _, b in pairs))

    @property
    def errors(self) -> tuple[float, float]:
        """Our mean error over the splits, and theirs."""
        name = error_name(self.table.task)
        ours, theirs = (
            statistics.mean(r.metrics[name] for r in side) for side in (self.ours, self.theirs)
        )
        return ours, theirs

    @property
    def key(self) -> str:
        """What both sides were measured from, and what the bootstrap draws."""
        drawn = {"random": "", "group": "groups/", "time": "days/"}[self.table.split]
        return drawn + "/".join(
            f"{a.split}:{a.inputs}:{b.inputs}" for a, b in zip(self.ours, self.theirs, strict=True)
        )

    def units(self) -> list[np.ndarray] | None:
        """Returns the unit of each test row that a bootstrap draws whole; None: the row."""
        if self.table.split == "random":
            return None
        rows, how = self.table.rows(), (self.table.split, self.table.by)
        places = [split_rows(rows, *how, result.split) for result in self.ours]
        return [units_of_test(rows, one, *how) for one in places]


class Intervals:
    """The intervals of comparisons, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = {(d["table"], d["system"], d["key"]): d for d in read_lines(path)}

    def complete(self, comparisons: Sequence[Comparison]) -> None:
        """Adds what is missing, of the comparisons whose losses of rows are on this machine."""
        for one in comparisons:
            if (one.table.name, one.system, one.key) in self._known:
                continue
            paths = [
                [scores_path(r.cell, r.inputs) for r in pair]
                for pair in zip(one.ours, one.theirs, strict=True)
            ]
            if all(p.exists() for pair in paths for p in pair):
                self._add(one, [(Scores.load(a), Scores.load(b)) for a, b in paths])

    def _add(self, one: Comparison, pairs: list[tuple[Scores, Scores]]) -> None:
        units = one.units()
        document = {"table": one.table.name, "system": one.system, "key": one.key}
        document |= {"cut": _as_list(cut(pairs, units))}
        if pairs[0][0].is_class:
            document |= {"ece": _as_list(calibration(pairs, units))}
        append_line(self._path, document)
        self._known[one.table.name, one.system, one.key] = document

    def cut(self, one: Comparison) -> Interval | None:
        """Returns how far our error lies below theirs, as a share; None if it is not known."""
        return self._found(one, "cut")

    def ece(self, one: Comparison) -> Interval | None:
        """Returns how far our calibration error lies below theirs; None for a regression."""
        return self._found(one, "ece")

    def _found(self, one: Comparison, name: str) -> Interval | None:
        known = self._known.get((one.table.name, one.system, one.key), {})
        return Interval(*known[name]) if name in known else None


def _as_list(interval: Interval) -> list[float]:
    return [round(x, 5) for x in (interval.value, interval.low, interval.high)]


def comparisons(
    tables: Sequence[QualityTable], systems: Sequence[str], latest: Latest
) -> Iterator[Comparison]:
    """Yields the comparisons of the tables with the systems that have results of both."""
    for table in tables:
        for system in systems:
            if one := Comparison.of(table, system, latest):
                yield one


def best(table: QualityTable, systems: Sequence[str], latest: Latest) -> Comparison | None:
    """Returns the comparison with the system that has the least error on a table.

    A system that failed there does not count. None if another was not measured on a split that we
    were measured on.
    """
    found = list(comparisons([table], systems, latest))
    failed = [s for s in systems if is_failed(latest, table, s)]
    splits = {len(one.ours) for one in found}
    if len(found) + len(failed) < len(systems) or len(splits) != 1:
        return None
    return min(found, key=lambda one: one.errors[1])


def is_failed(latest: Latest, table: QualityTable, system: str) -> bool:
    """Whether a system failed on the first split of a table."""
    found = latest.get((table.name, 0, system))
    return bool(found and found.error)
