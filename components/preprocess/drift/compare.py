"""Drift: how far the rows of a run are from those of an earlier one, and whether that is too far.

The comparison uses the statistics.json of both runs. Each measure has a noise floor at `Z` standard
deviations: two samples of one distribution differ by more in about seven of a million cases. A
measure is drift only above both its limit and that floor, so a small table does not warn for its
size alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from quatrain.components import history
from quatrain.components.folder import in_shape
from quatrain.components.preprocess.summary.histograms import common
from quatrain.components.specification.schema import Limit
from quatrain.components.wording import counted

VERSION = 1
MANIFEST = "manifest.json"
Z = 4.5
"""A weekly run has about a hundred measures: at 2 deviations several would warn each time."""
EXPECTED = 5
"""Rows a bin needs in the smaller table (Cochran 1954, "Some methods for chi-squared")."""
NUMBERS, CATEGORIES = 1 / 16, 1 / 100
"""The least share of the rows in a bin of numbers, and in a category with a bin of its own."""
TIMES = ("timestamp", "date")
OTHER = "other values"
NAMED = 5

Column = Mapping[str, Any]


@dataclass(frozen=True)
class DriftMeasure:
    """One measure of one column.

    Attributes:
        measure: The name of the measure, as under `drift` in the spec.
        value: The distance between the two runs.
        noise: The distance that chance alone may give two samples of these sizes.
        before: The earlier run's value, as text.
        now: This run's value, as text.
    """

    measure: str
    value: float
    noise: float
    before: str
    now: str

    def check(self, column: str, limit: Limit) -> dict[str, Any]:
        """Returns the measure with its verdict: passed, warn, fail or chance.

        If the value is above a limit, a sentence says so.
        """
        over = [
            (level, bound)
            for level in ("fail", "warn")
            if (bound := getattr(limit, level)) is not None and self.value > bound
        ]
        level, bound = over[0] if over else ("passed", None)
        if over and self.value <= self.noise:
            level = "chance"
        verdict = {"measure": self.measure, "value": self.value, "noise": self.noise}
        verdict |= {"before": self.before, "now": self.now, "verdict": level}
        if bound is not None:
            verdict["sentence"] = (
                f"{column}: {self.measure}={self.value:.3g} is above drift.{self.measure}."
                f"{over[0][0]} {bound:g} ({self.before} before, {self.now} now; chance alone gives "
                f"up to {self.noise:.2g})"
            )
        return verdict


def sentence_of(comparison: Mapping[str, Any], check: Mapping[str, Any]) -> str:
    """Returns the sentence of a measure above its limit, after the name of the earlier run."""
    where = "in the requests served, " if comparison.get("served") else ""
    return f"{where}against {history.ROLES[comparison['against'][0]]}, {check['sentence']}"


def checks_of(comparison: Mapping[str, Any]) -> Iterator[tuple[bool, Mapping[str, Any]]]:
    """Yields the checks against an earlier run: of the table, then of each column.

    The first value says whether the check is of the label.
    """
    yield from ((False, check) for check in comparison["checks"])
    for column in comparison["columns"]:
        yield from ((column["label"], check) for check in column["checks"])


def sentences(drift: Mapping[str, Any], verdict: str) -> list[str]:
    """Returns the sentence of each measure with this verdict, after the name of the earlier run."""
    return [
        sentence_of(comparison, check)
        for comparison in drift["comparisons"]
        for _, check in checks_of(comparison)
        if check["verdict"] == verdict
    ]


def notes_and_warnings(drift: Mapping[str, Any]) -> list[str]:
    """Returns what the log of a task says of drift.json."""
    served = drift.get("served", {}).get("sentence", "")
    return [*filter(None, [drift["note"], served]), *sentences(drift, "warn")]


def compare_all(
    earlier: Mapping[str, Mapping[str, Any]], now: Mapping[str, Any], limits: Mapping[str, Limit]
) -> dict[str, Any]:
    """Returns the content of drift.json.

    The document has a comparison with each distinct earlier run, and a note if a run could not be
    compared or there is none.

    Args:
        earlier: The records of earlier runs, by role.
        now: The statistics of this run.
        limits: The limits, by measure.
    """
    note = ""
    comparisons: list[dict[str, Any]] = []
    for role, record in earlier.items():
        version = record["statistics"].get("version")
        if version != now["version"]:
            note = (
                f"the statistics of {history.ROLES[role]} are of version {version}, these are of "
                f"{now['version']}: not compared"
            )
        elif comparisons and comparisons[-1]["run"] == record["run"]:
            comparisons[-1]["against"].append(role)
        else:
            run = {"against": [role], "run": record["run"], "made": record["made"]}
            with in_shape(f"statistics/{role}.json", "remove it to go on without it"):
                comparison = compare(record["statistics"]["kept"], now["kept"], limits)
            comparisons.append({**run, **comparison})
    if not earlier:
        note = "there is nothing to compare with: no earlier run of this model has passed its gate"
    return {"version": VERSION, "note": note, "comparisons": comparisons}


def compare(
    before: Mapping[str, Any], now: Mapping[str, Any], limits: Mapping[str, Limit]
) -> dict[str, Any]:
    """Compares the kept rows of two runs, column by column.

    Args:
        before: The section `kept` of the earlier statistics.json.
        now: The section `kept` of this run's.
        limits: The limits, by measure.

    Returns:
        The rows of both runs with their check, notes on what cannot be compared, and each column
        with its checks and bins.
    """
    label = now["label"]["column"]
    notes = list(_notes(before, now))
    columns = []
    for name, current in now["columns"].items():
        earlier = before["columns"].get(name)
        if earlier is None or earlier["type"] != current["type"]:
            continue
        measures, bins = _column(earlier, current)
        if name == label:
            measures, bins = _label(before, now, measures, bins)
        checks = [m.check(name, limits[m.measure]) for m in measures]
        columns.append({"column": name, "label": name == label, "checks": checks, "bins": bins})
    rows = {"before": before["rows"], "now": now["rows"]}
    of_table = [_rows(before["rows"], now["rows"]).check("the table", limits["rows"])]
    return {"rows": rows, "checks": of_table, "notes": notes, "columns": columns}


def _rows(before: int, now: int) -> DriftMeasure:
    """Returns the change of the number of rows, as |ln ratio|; the noise is that of two counts."""
    noise = Z * math.sqrt(1 / before + 1 / now)
    return DriftMeasure("rows", abs(math.log(now / before)), noise, f"{before:,}", f"{now:,}")


def _notes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each column, and the label, that cannot be compared in full."""
    was, is_ = before["label"]["column"], now["label"]["column"]
    if was != is_:
        yield f"the label was {was!r}, it is {is_!r}"
    for name, column in now["columns"].items():
        earlier = before["columns"].get(name)
        if earlier is None:
            yield f"column {name!r} was not used before"
        elif earlier["type"] != column["type"]:
            yield f"column {name!r} was {earlier['type']}, it is {column['type']}"
        elif not _is_complete(earlier):
            yield (
                f"column {name!r} had {counted(earlier['distinct'], 'value')}, of which the "
                f"{len(earlier['values']):,} most frequent are known: new ones are not looked for"
            )
    for name in before["columns"]:
        if name not in now["columns"]:
            yield f"column {name!r} is no longer used"


def _column(before: Column, now: Column) -> tuple[list[DriftMeasure], list[dict[str, Any]]]:
    """Returns the measures of a column that both runs have, and its bins for the report."""
    measures = [_missing(before, now)]
    if not before["count"] or not now["count"] or before["type"] in TIMES:
        return measures, []  # times move on by themselves, week after week
    if "values" in before:
        psi, bins = _categories(before, now)
        return [*measures, psi, *_new(before, now)], bins
    psi, bins = _numbers(before, now)
    return [*measures, *_moments(before, now), psi], bins


def _missing(before: Column, now: Column) -> DriftMeasure:
    rows = [c["count"] + c["missing"] for c in (before, now)]
    return _shares("missing", [before["missing"], now["missing"]], rows)


def _shares(measure: str, counts: Sequence[int], rows: Sequence[int]) -> DriftMeasure:
    """Returns the difference of two shares, with the noise of two binomial samples."""
    a, b = (c / n for c, n in zip(counts, rows, strict=True))
    # One more row of each kind, so that a share of 0 has a deviation, too (Agresti & Caffo 2000).
    pooled = (sum(counts) + 1) / (sum(rows) + 2)
    noise = Z * math.sqrt(pooled * (1 - pooled) * (1 / rows[0] + 1 / rows[1]))
    return DriftMeasure(measure, abs(b - a), noise, f"{a:.2%}", f"{b:.2%}")


def _moments(before: Column, now: Column) -> Iterator[DriftMeasure]:
    """Yields the change of the mean, in earlier deviations, and of the deviation, as |ln ratio|."""
    (n, m), (a, b) = ([c[key] for c in (before, now)] for key in ("count", "stddev"))
    if not a > 0:
        return
    means = [c["mean"] for c in (before, now)]
    noise = Z * math.sqrt(1 / n + (b / a) ** 2 / m)
    yield DriftMeasure("mean", abs(means[1] - means[0]) / a, noise, *(f"{v:.4g}" for v in means))
    if b > 0:
        # The variance of ln s is (kurtosis - 1) / 4n, by the delta method on the sample variance.
        tails = [max(c["kurtosis"] - 1, 0) / (4 * c["count"]) for c in (before, now)]
        noise = Z * math.sqrt(sum(tails))
        yield DriftMeasure("stddev", abs(math.log(b / a)), noise, f"{a:.4g}", f"{b:.4g}")


def _numbers(before: Column, now: Column) -> tuple[DriftMeasure, list[dict[str, Any]]]:
    """Compares numbers by the bins of the edges that both runs share."""
    pairs = [(c["histogram"]["edges"], c["histogram"]["counts"]) for c in (before, now)]
    edges, a, b = common(*pairs)
    starts = _bin_starts(a, b)
    a, b = (np.add.reduceat(c, starts) for c in (a, b))
    names = _bin_names([float(edges[s - 1]) for s in starts[1:]], before["type"] in ("int", "bool"))
    return _psi(a, b, before, now), _bins(names, a, b)


def _bin_starts(a: np.ndarray, b: np.ndarray) -> list[int]:
    """Joins neighbouring cells until each bin has its least share; returns where the bins start."""
    share = (a / a.sum() + b / b.sum()) / 2
    least = max(NUMBERS, EXPECTED / min(a.sum(), b.sum()))
    starts, in_bin = [0], 0.0
    for i, part in enumerate(share):
        if in_bin >= least:
            starts.append(i)
            in_bin = 0.0
        in_bin += part
    # A last bin that is too small joins the one before it.
    return starts[:-1] if in_bin < least and len(starts) > 1 else starts


def _bin_names(edges: Sequence[float], whole: bool) -> list[str]:
    """Returns a name for each bin between, below and above its edges, with six digits.

    A bin of one value has that value as its name. It is one integer wide, or reaches to the next
    float.
    """
    if not edges:
        return ["all"]
    inner = []
    for low, high in pairwise(edges):
        last = high - 1 if whole else high
        is_one_value = last == low if whole else high == np.nextafter(low, np.inf)
        inner.append(f"{low:,.6g}" if is_one_value else f"{low:,.6g} to {last:,.6g}")
    return [f"below {edges[0]:,.6g}", *inner, f"from {edges[-1]:,.6g}"]


def _is_complete(column: Column) -> bool:
    """Whether the statistics list every category."""
    return "values" not in column or len(column["values"]) == column["distinct"]


def _categories(before: Column, now: Column) -> tuple[DriftMeasure, list[dict[str, Any]]]:
    """Compares the categories that both runs list, and all others together."""
    common_values = [
        value
        for value in {**before["values"], **now["values"]}
        if all(value in c["values"] or _is_complete(c) for c in (before, now))
    ]
    names, a, b = _frequent(common_values, before, now)
    return _psi(a, b, before, now), _bins(names, a, b)


def _frequent(
    values: Sequence[str], before: Column, now: Column
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Returns the frequent values, and the rows of each in both runs; the others are one value."""
    counts = np.array([[c["values"].get(v, 0) for v in values] for c in (before, now)], np.int64)
    totals = np.array([before["count"], now["count"]])
    share = (counts / totals[:, None]).mean(axis=0)
    least = max(CATEGORIES, EXPECTED / totals.min())
    order = [i for i in np.argsort(-share, kind="stable") if share[i] >= least]
    rest = totals - counts[:, order].sum(axis=1)
    names = [values[i] for i in order]
    a, b = (np.append(counts[i, order], rest[i]) for i in (0, 1))
    return ([*names, OTHER], a, b) if rest.any() else (names, a[:-1], b[:-1])


def _psi(a: np.ndarray, b: np.ndarray, before: Column, now: Column) -> DriftMeasure:
    """Returns the population stability index sum (q - p) ln(q / p) of two tables of counts, `[K]`.

    Half a row is added to every bin, so that an empty one has a logarithm. When both tables come
    from one distribution, the index is (1/n + 1/m) times a chi-squared of K - 1 degrees of freedom
    (Yurdakul & Naranjo 2020, "Statistical properties of the population stability index"). The noise
    is its quantile at Z, by the approximation of Wilson & Hilferty 1931, which is too large by 13 %
    for one degree of freedom, by 4 % for five and by 1 % for twenty. The exact quantile needs
    `scipy.special`, whose import takes 0.2 CPU-s, more than the whole comparison.
    """
    p, q = ((c + 0.5) / (c.sum() + 0.5 * len(c)) for c in (a, b))
    value = float(np.sum((q - p) * np.log(q / p)))
    free, noise = len(a) - 1, 0.0
    if free:
        spread = 2 / (9 * free)
        quantile = free * (1 - spread + Z * math.sqrt(spread)) ** 3
        noise = quantile * (1 / before["count"] + 1 / now["count"])
    return DriftMeasure("psi", value, noise, f"{before['count']:,} rows", f"{now['count']:,} rows")


def _bins(names: Sequence[str], a: np.ndarray, b: np.ndarray) -> list[dict[str, Any]]:
    shares = (a / a.sum()).tolist(), (b / b.sum()).tolist()
    rows = zip(names, *shares, strict=True)
    return [{"bin": name, "before": before, "now": now} for name, before, now in rows]


def _new(before: Column, now: Column) -> Iterator[DriftMeasure]:
    """Yields the share of rows with a new category.

    Without drift, that is about the share of rows whose category occurs once in the earlier run
    (Good 1953, "The population frequencies of species").
    """
    if not _is_complete(before):
        return
    unseen = {v: n for v, n in now["values"].items() if v not in before["values"]}
    rows = [before["count"], now["count"]]
    # One more, so that a run without single rows still expects some new categories.
    once = (sum(n == 1 for n in before["values"].values()) + 1) / rows[0]
    noise = once + Z * math.sqrt(once * (1 / rows[0] + 1 / rows[1]))
    examples = ", ".join(f"{v!r} {n:,}" for v, n in list(unseen.items())[:NAMED])
    share = sum(unseen.values()) / rows[1]
    yield DriftMeasure(
        "new", share, noise, f"{len(before['values']):,} categories", examples or "none"
    )


def _label(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    measures: list[DriftMeasure],
    bins: list[dict[str, Any]],
) -> tuple[list[DriftMeasure], list[dict[str, Any]]]:
    """Returns what is compared of a label: the shares of its classes, or a regression's mean."""
    tables = [t["label"].get("classes") for t in (before, now)]
    if before["label"]["column"] != now["label"]["column"] or None in tables:
        return [_renamed(m) for m in measures if m.measure != "missing"], bins
    rows = [before["rows"], now["rows"]]
    by_class = {
        class_: _shares("label", [t.get(class_, 0) for t in tables], rows)
        for class_ in {**tables[0], **tables[1]}
    }
    most = max(by_class, key=lambda c: by_class[c].value)
    shares = [{c: t.get(c, 0) / n for c in by_class} for t, n in zip(tables, rows, strict=True)]
    bins = [{"bin": c, "before": shares[0][c], "now": shares[1][c]} for c in by_class]
    largest = by_class[most]
    texts = (f"{most} {largest.before}", f"{most} {largest.now}")
    return [DriftMeasure("label", largest.value, largest.noise, *texts)], bins


def _renamed(measure: DriftMeasure) -> DriftMeasure:
    """Returns a measure of a regression's label: its mean has the limit of the label."""
    return replace(measure, measure="label") if measure.measure == "mean" else measure
