"""docs/quality.md, from the committed results and intervals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.measuring import machine, table
from benchmarks.quality.comparisons import (
    Comparison,
    Intervals,
    Latest,
    best,
    comparisons,
    is_failed,
)
from benchmarks.quality.intervals import Interval
from benchmarks.quality.systems import BOOSTED, HIGH, MEDIUM, OURS, SYSTEMS, TUNED, WORDS
from benchmarks.quality.tables import LISTS, QualityTable

LEVEL = 0.01
"""Up to this share behind counts as level."""
WORDS_OF = {1: "win", 0: "tie", -1: "loss"}
HEAD = """\
# Quality out of the box

This page compares the default model, trained on the spec that `init` writes, with gradient-boosted
trees that stop early, with tuned defaults and with AutoGluon. The command below measures what is
missing and writes the page, so do not edit it by hand:

    make bench PART=quality

The error is the log-loss, or the RMSE for a regression, as a mean over the splits. The cut is how
far our error lies below the opponent's, as a share of the opponent's. A win or a loss is beyond
chance: the 95 % interval of the cut, by a paired bootstrap of the test rows, leaves out zero. It
draws whole days where a table is split by time, and whole groups where it is split by group. The
best of the trees is the one of the four with the least error on the test rows, which favours them.
The tables are in two lists, fixed before anything was tuned
([tables.toml](../benchmarks/quality/tables.toml)): settings are chosen by the first, and the claim
rests on the second."""
METHOD = """\
## Method

- Every system gets the same train, validation and test rows, 64 : 16 : 20, and the columns that are
  features in the spec that `init` wrote. The newest rows are the test rows where a table is split
  by time, and no group is in two splits where it is split by group. Other tables have three
  random splits below 100 000 rows. Test rows are used once, to measure.
- **Quatrain** runs its own steps: preprocess, `python -m trainer.task` of the sdist, and answers of
  the exported model to the raw test rows, in an Arrow table. Only the section `split` of the spec
  is replaced.
- **LightGBM, XGBoost, CatBoost, HistGradientBoosting**: up to 2 000 rounds at a rate of .05, which
  stop after 50 rounds without gain on the validation rows; categories native; one thread. CatBoost
  also reads free text, the others do without, and answer
  a constant where nothing else is left. A time is its seconds, hour, weekday and month.
- **TF-IDF and linear**: words and pairs of words with one linear model, on tables with free text.
- **LGBM-TD, XGB-TD, CatBoost-TD, RealMLP-TD, TabM-D**: pytabkit's tuned defaults, on ten tables
  of at most 20 000 train rows, one split.
- **AutoGluon** 1.6.3 with LightGBM, XGBoost and CatBoost, without its neural networks; `medium` on
  one split of each table, `high` on six tables with ten times our CPU-seconds. One core.
- Imports of libraries and building the sdist do not count as CPU-seconds, preprocessing does."""


@dataclass(frozen=True)
class Page:
    """What the page is made from.

    Attributes:
        tables: The tables of both lists.
        latest: The last result of each cell.
        intervals: The intervals of the comparisons.
    """

    tables: Sequence[QualityTable]
    latest: Latest
    intervals: Intervals

    def text(self) -> str:
        """Returns the page."""
        sections = [HEAD, "## What it comes to", *self._claims()]
        for purpose in reversed(LISTS):
            sections += [f"## Tables for {purpose}", *self._list(self._of(purpose))]
        sections += ["## By opponent, on the tables for reporting", self._by_opponent()]
        sections += ["## Calibration", CALIBRATION, self._calibration()]
        sections += ["## Cost", COST, self._cost(), ANSWERING, self._answering()]
        sections += ["## Beside TabArena", TABARENA, self._tabarena()]
        sections += [METHOD, "## What is missing", self._missing(), f"On {machine()}."]
        return "\n\n".join(s for s in sections if s) + "\n"

    def _of(self, purpose: str) -> list[QualityTable]:
        return [t for t in self.tables if t.purpose == purpose]

    def _best(self, tables: Iterable[QualityTable], names: Sequence[str]) -> list[Comparison]:
        return [one for t in tables if (one := best(t, names, self.latest))]

    def _share(self, one: Comparison) -> float:
        ours, theirs = one.errors
        return 1 - ours / theirs if theirs else 0.0

    def _verdict(self, one: Comparison) -> int | None:
        found = self.intervals.cut(one)
        return found.verdict if found else None

    def _claims(self) -> list[str]:
        tables = self._of("reporting")
        trees = self._best(tables, BOOSTED)
        in_time = [one for one in trees if one.table.split == "time"]
        worse = [one for one in trees if self._is_worse(one)]
        lost = [one for one in in_time if self._verdict(one) == -1]
        medium = list(comparisons(tables, [MEDIUM.name], self.latest))
        high = list(comparisons(tables, [HIGH.name], self.latest))
        tuned = self._best(tables, TUNED)
        rows = [
            *self._goals("the best of four boosted trees", trees, 0.005, 0.80),
            [
                "more than 2 % behind the trees, beyond chance",
                "none",
                _named(worse),
                _met(trees, not worse),
            ],
            [
                "lost to the trees beyond chance, split by time",
                "none",
                _named(lost),
                _met(in_time, not lost),
            ],
            *self._goals("the best of five tuned defaults", tuned, 0.0, 0.80),
            self._ahead("AutoGluon medium", medium),
            *self._goals("AutoGluon high", high, None, 0.67),
        ]
        said = (
            f"Of {len(tables)} tables for reporting, {len(trees)} have ours and all of the trees."
        )
        return [said, table(["on the tables for reporting", "goal", "measured", "met"], rows)]

    def _is_worse(self, one: Comparison) -> bool:
        found = self.intervals.cut(one)
        return found is not None and found.value < -0.02 and found.verdict == -1

    def _goals(
        self, whom: str, found: list[Comparison], median: float | None, level: float
    ) -> list[list[str]]:
        shares = [self._share(one) for one in found]
        held = sum(s >= -LEVEL for s in shares)
        n, share = len(shares), held / len(shares) if shares else 0.0
        rows = []
        if median is not None:
            middle = statistics.median(shares) if shares else 0.0
            said = f"{middle:+.1%} ({n} {'table' if n == 1 else 'tables'})"
            is_met = _met(found, middle >= median)
            rows.append([f"median cut against {whom}", f"at least {median:.1%}", said, is_met])
        cells = [
            f"level or ahead of {whom}",
            f"at least {level:.0%}",
            f"{held} of {n} ({share:.0%})",
        ]
        return [*rows, [*cells, _met(found, share >= level)]]

    def _ahead(self, whom: str, found: list[Comparison]) -> list[str]:
        ahead = sum(self._share(one) > 0 for one in found)
        share = ahead / len(found) if found else 0.0
        measured = f"{ahead} of {len(found)} ({share:.0%})"
        return [f"ahead of {whom}", "at least 67%", measured, _met(found, share >= 2 / 3)]

    def _list(self, tables: list[QualityTable]) -> list[str]:
        found = self._best(tables, BOOSTED)
        verdicts = [self._verdict(one) for one in found]
        counts = {word: verdicts.count(n) for n, word in WORDS_OF.items()}
        rows = [self._row(one) for one in found]
        header = [
            "table",
            "split",
            "train rows",
            "Quatrain",
            "best of the trees",
            "cut",
            "95 %",
            "",
        ]
        said = f"Of {len(tables)} tables, {len(found)} are measured: " + ", ".join(
            f"{n} {_plural(word, n)}" for word, n in counts.items()
        )
        losses = [one for one in found if self._verdict(one) == -1]
        named = f"Lost beyond chance: {_named(losses)}." if losses else ""
        return [f"{said}.", table(header, rows) if rows else "", named]

    def _row(self, one: Comparison) -> list[object]:
        ours, theirs = one.errors
        split = one.table.split if len(one.ours) == 1 else f"{one.table.split}, {len(one.ours)}"
        return [
            one.table.name,
            split,
            f"{one.ours[0].rows['train']:,}",
            _number(ours),
            f"{_number(theirs)} {one.system}",
            f"{self._share(one):+.1%}",
            _range(self.intervals.cut(one), "+.1%"),
            WORDS_OF.get(self._verdict(one) or 0, "") if self._verdict(one) is not None else "?",
        ]

    def _by_opponent(self) -> str:
        tables, rows = self._of("reporting"), []
        for name in (*BOOSTED, WORDS.name, *TUNED, MEDIUM.name, HIGH.name):
            found = list(comparisons(tables, [name], self.latest))
            if found:
                shares = [self._share(one) for one in found]
                verdicts = [self._verdict(one) for one in found]
                counts = [verdicts.count(n) for n in WORDS_OF]
                lost = _named([one for one in found if self._verdict(one) == -1])
                middle = f"{statistics.median(shares):+.1%}"
                rows.append([name, len(found), middle, *counts, lost])
        return table(["opponent", "tables", "median cut", "wins", "ties", "losses", "lost"], rows)

    def _calibration(self) -> str:
        rows = []
        for one in self._best(self.tables, BOOSTED):
            found = self.intervals.ece(one)
            if found:
                ours, theirs = (
                    _mean(s, lambda r: r.metrics["ece"]) for s in (one.ours, one.theirs)
                )
                verdict = WORDS_OF[found.verdict]
                cells = [one.table.name, f"{ours:.4f}", f"{theirs:.4f} {one.system}"]
                rows.append([*cells, _range(found, "+.4f"), verdict])
        return table(["table", "Quatrain", "best of the trees", "95 % of the difference", ""], rows)

    def _cost(self) -> str:
        rows = []
        names = (OURS.name, "LightGBM", "CatBoost", MEDIUM.name)
        for one in self.tables:
            found = [self.latest.get((one.name, 0, name)) for name in names]
            if found[0] and found[0].cpu_s:
                done = [r if r and r.cpu_s else None for r in found]
                costs = [_cost_of(r, part) for part in ("train", "answer") for r in done]
                rows.append([one.name, *costs, f"{found[0].peak_mb:,}", found[0].load])
        header = ["table", *(f"{n}, train" for n in names), *(f"{n}, answer" for n in names)]
        return table([*header, "Quatrain, MiB", "load"], rows)

    def _answering(self) -> str:
        pairs = []
        for one in self.tables:
            ours, theirs = (self.latest.get((one.name, 0, s.name)) for s in (OURS, MEDIUM))
            if ours and theirs and STEPS.keys() <= ours.cpu_s.keys() & theirs.cpu_s.keys():
                pairs.append((ours.cpu_s, theirs.cpu_s))
        rows = []
        for part, said in STEPS.items():
            sums = [sum(cost[part] for cost in side) for side in zip(*pairs, strict=True)]
            ratios = [ours[part] / max(theirs[part], SHORTEST_S) for ours, theirs in pairs]
            if pairs:
                middle = f"{statistics.median(ratios):.2f}"
                rows.append([said, *(f"{s:.2f}" for s in sums), middle])
        n = f"{len(pairs)} {_plural('table', len(pairs))}"
        header = [f"sum over {n}", OURS.name, MEDIUM.name, "median ratio"]
        return table(header, rows) if rows else "No table has both with these figures."

    def _tabarena(self) -> str:
        rows = []
        for one in (t for t in self.tables if t.tabarena):
            published = {k: v for k, v in one.tabarena.items() if k != "metric"}
            found = Comparison.of(one, "CatBoost", self.latest)
            ratio = "-"
            if found:
                ours, theirs = (
                    _mean(side, lambda r, m=one.tabarena["metric"]: _metric(r.metrics, m))
                    for side in (found.ours, found.theirs)
                )
                ratio = f"{ours / theirs:.3f}"
            base = published.pop("CatBoost")
            ratios = [f"{value / base:.3f}" for value in published.values()]
            rows.append([one.name, one.tabarena["metric"], ratio, *ratios])
        header = ["LightGBM", "XGBoost", "TabM", "AutoGluon best, 4 h"]
        return table(["table", "metric", "Quatrain here", *header], rows)

    def _missing(self) -> str:
        lines = []
        for system in SYSTEMS:
            takers = [t for t in self.tables if system.takes(t, 0)]
            absent = [t.name for t in takers if (t.name, 0, system.name) not in self.latest]
            failed = [t for t in takers if is_failed(self.latest, t, system.name)]
            said = [f"{t.name} failed" for t in failed]
            if system.name == WORDS.name:
                absent = []
            if absent:
                said.append(f"not measured on {len(absent)} of {len(takers)}: {', '.join(absent)}")
            if said:
                lines.append(f"- {system.name}: {'; '.join(said)}")
        ours = [r for r in self.latest.values() if r.system == OURS.name]
        commits = sorted({r.versions.get("commit", "?") for r in ours})
        several = sum(split > 0 for _, split, _ in self.latest)
        lines.append(f"- {several} results are of a second or third split.")
        lines.append(f"- Quatrain's results are of the commits {', '.join(commits) or '-'}.")
        return "\n".join(lines)


CALIBRATION = """\
The calibration error (ECE, 15 bins of equal width) of the positive class, or with more than two
classes of the likeliest one. A win is a lower error than that of the best of the trees."""
COST = """\
CPU-seconds of the first split: of training, and of answering all test rows. They grow with the
load of the machine, which is the last column; other work ran beside most of these."""
ANSWERING = """\
CPU-seconds of answering, beside AutoGluon medium, on the first split of the tables that have these
figures of both. Loading is from disk to a model that is ready to answer: ours checks its digests
and replays its golden rows, AutoGluon's is `TabularPredictor.load` and `persist`. The first answer
is the first call for all test rows, which are in memory: an Arrow table for ours, a data frame for
AutoGluon. Answering again is the second call for the same rows. Results from before this was
measured counted loading and reading the rows as our answering; only the table above has them."""
STEPS = {"load": "loading", "answer": "the first answer", "again": "answering again"}
"""What the record of a cost calls each, and how the page says it."""
SHORTEST_S = 0.001
"""The resolution of a recorded cost."""
TABARENA = """\
Errors as ratios to those of CatBoost's default, as published for TabArena v0.1 (one fold, mean of
eight bagged models), and ours here to those of CatBoost with early stopping. Rows and protocol are
not the same: compare the ratios roughly."""


def _met(found: Sequence[Comparison], is_met: bool) -> str:
    return "not measured" if not found else "yes" if is_met else "**no**"


def _named(found: Sequence[Comparison]) -> str:
    return ", ".join(f"{one.table.name} ({one.system})" for one in found) or "none"


def _plural(word: str, n: int) -> str:
    return word if n == 1 else f"{word}{'es' if word.endswith('s') else 's'}"


def _number(value: float) -> str:
    return f"{value:.4f}" if value < 100 else f"{value:,.1f}"


def _range(interval: Interval | None, form: str) -> str:
    return f"{interval.low:{form}} to {interval.high:{form}}" if interval else "-"


def _mean(results: Sequence[object], of: Callable[..., float]) -> float:
    return statistics.mean(of(r) for r in results)


def _metric(metrics: dict[str, float], name: str) -> float:
    return 1 - metrics["auc"] if name == "1 - auc" else metrics[name]


def _cost_of(result: object, part: str) -> str:
    return f"{result.cpu_s[part]:.3g}" if result else "-"  # type: ignore[attr-defined]
