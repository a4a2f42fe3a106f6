"""The report's sections on the rows: the audit of the splits, and drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from quatrain.components.evaluate.report import plots
from quatrain.components.history import ROLES

CHECKS = {
    "keys": "Keys",
    "identical_rows": "Identical rows",
    "time_order": "Order in time",
    "predictors": "Inputs that give the label away",
    "sizes": "Sizes of the splits",
}
"""The title of each check of the audit."""
MEASURES = (("psi",), ("missing",), ("mean",), ("stddev",), ("new", "label"))
"""The columns of the table of drift, and the measures that each one shows."""
SEVERITY = {"fail": 0, "warn": 1, "chance": 2, "passed": 3}
"""The order of the verdicts, worst first."""
MAX_COLUMNS = 40
"""Columns in the table; the others are counted."""
MAX_FIGURES = 6
MAX_BINS = 16
"""Bins of a column that a plot shows."""


@dataclass(frozen=True)
class ColumnDrift:
    """A line of the table of drift: a column and its checks by measure."""

    column: str
    is_label: bool
    verdict: str
    checks: Mapping[str, Mapping[str, Any]]
    picture: Markup


@dataclass(frozen=True)
class RunDrift:
    """Drift against one earlier run.

    Attributes:
        title: What the earlier run is: the last one, the champion's, or both.
        served: Whether the rows are those of the requests served, and not of the run.
        run: The earlier run's name, and when it was created.
        rows: Rows before and now.
        rows_verdict: Whether their number has changed too much.
        columns: The columns, most drift first; at most `MAX_COLUMNS`.
        n_more: The number of columns that are not shown.
        notes: What could not be compared.
        figures: Title, plot and caption of the label and of the columns that moved too far.
    """

    title: str
    served: bool
    run: tuple[str, str]
    rows: Mapping[str, int]
    rows_verdict: str
    columns: Sequence[ColumnDrift]
    n_more: int
    notes: Sequence[str]
    figures: Sequence[tuple[str, Markup, str]]


def audit_rows(checks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Returns the title, verdict and sentence of each check, findings first."""
    order = ("finding", "note", "passed")
    rows = [(CHECKS[c["check"]], c["verdict"], c["sentence"]) for c in checks]
    return sorted(rows, key=lambda row: order.index(row[1]))


def run_drifts(drift: Mapping[str, Any]) -> Iterator[RunDrift]:
    """Yields the drift against each earlier run of drift.json."""
    for comparison in drift["comparisons"]:
        columns = sorted((_column_drift(c) for c in comparison["columns"]), key=_rank)
        bins = {c["column"]: c["bins"][:MAX_BINS] for c in comparison["columns"]}
        yield RunDrift(
            title=" and ".join(ROLES[role] for role in comparison["against"]),
            served=comparison.get("served", False),
            run=(comparison["run"], comparison["made"]),
            rows=comparison["rows"],
            rows_verdict=comparison["checks"][0]["verdict"],
            columns=columns[:MAX_COLUMNS],
            n_more=len(columns[MAX_COLUMNS:]),
            notes=comparison["notes"],
            figures=[
                (c.column, plots.before_and_now(bins[c.column]), _caption(c))
                for c in columns
                if bins[c.column] and (c.is_label or c.verdict in ("fail", "warn"))
            ][:MAX_FIGURES],
        )


def _column_drift(column: Mapping[str, Any]) -> ColumnDrift:
    """Returns the line of a column; its verdict is the worst one of its checks."""
    checks = {c["measure"]: c for c in column["checks"]}
    verdict = min((c["verdict"] for c in checks.values()), key=SEVERITY.__getitem__)
    picture = plots.before_and_now_small(column["bins"][:MAX_BINS])
    return ColumnDrift(column["column"], column["label"], verdict, checks, picture)


def _rank(column: ColumnDrift) -> tuple[int, bool, float, str]:
    psi = column.checks["psi"]["value"] if "psi" in column.checks else 0.0
    return SEVERITY[column.verdict], not column.is_label, -psi, column.column


def _caption(column: ColumnDrift) -> str:
    sentences = [c["sentence"] for c in column.checks.values() if c["verdict"] in ("fail", "warn")]
    return "; ".join(sentences) or "The label is within its limits."
