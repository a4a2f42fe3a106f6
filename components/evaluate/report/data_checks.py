"""What the report says of the rows: the audit of their splits, and their drift."""

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
    "predictors": "Inputs that tell the label",
    "sizes": "Sizes of the splits",
}
"""Titles of the checks of the audit."""
MEASURES = (("psi",), ("missing",), ("mean",), ("stddev",), ("new", "label"))
"""Measures of each column of the table of drift."""
SEVERITY = {"fail": 0, "warn": 1, "chance": 2, "passed": 3}
MAX_COLUMNS = 40
MAX_FIGURES = 6
MAX_BINS = 16


@dataclass(frozen=True)
class Moved:
    """A line of the table of drift: a column and its checks by measure."""

    column: str
    is_label: bool
    verdict: str
    checks: Mapping[str, Mapping[str, Any]]
    picture: Markup


@dataclass(frozen=True)
class Comparison:
    """Drift against one earlier run.

    Attributes:
        title: Whose run it was.
        run: Its name, and when it was made.
        rows: Rows before and now.
        moved: The columns, the most moved first; at most `MAX_COLUMNS`.
        n_more: How many columns are not shown.
        notes: What could not be compared.
        figures: Title, plot and sentence of the columns that moved too far, and of the label.
    """

    title: str
    run: tuple[str, str]
    rows: Mapping[str, int]
    moved: Sequence[Moved]
    n_more: int
    notes: Sequence[str]
    figures: Sequence[tuple[str, Markup, str]]


def audit_rows(checks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Returns title, verdict and sentence of each check, findings first."""
    order = ("finding", "note", "passed")
    rows = [(CHECKS[c["check"]], c["verdict"], c["sentence"]) for c in checks]
    return sorted(rows, key=lambda row: order.index(row[1]))


def comparisons(drift: Mapping[str, Any]) -> Iterator[Comparison]:
    """Yields what drift.json says of each earlier run."""
    for found in drift["comparisons"]:
        moved = sorted((_moved(c) for c in found["columns"]), key=_rank)
        bins = {c["column"]: c["bins"][:MAX_BINS] for c in found["columns"]}
        yield Comparison(
            title=" and ".join(ROLES[role] for role in found["against"]),
            run=(found["run"], found["made"]),
            rows=found["rows"],
            moved=moved[:MAX_COLUMNS],
            n_more=len(moved[MAX_COLUMNS:]),
            notes=found["notes"],
            figures=[
                (m.column, plots.before_and_now(bins[m.column]), _said(m))
                for m in moved
                if bins[m.column] and (m.is_label or m.verdict in ("fail", "warn"))
            ][:MAX_FIGURES],
        )


def _moved(column: Mapping[str, Any]) -> Moved:
    checks = {c["measure"]: c for c in column["checks"]}
    verdict = min((c["verdict"] for c in checks.values()), key=SEVERITY.__getitem__)
    picture = plots.before_and_now_small(column["bins"][:MAX_BINS])
    return Moved(column["column"], column["label"], verdict, checks, picture)


def _rank(moved: Moved) -> tuple[int, bool, float, str]:
    size = moved.checks["psi"]["value"] if "psi" in moved.checks else 0.0
    return SEVERITY[moved.verdict], not moved.is_label, -size, moved.column


def _said(moved: Moved) -> str:
    told = [c["sentence"] for c in moved.checks.values() if c["verdict"] in ("fail", "warn")]
    return "; ".join(told) or "The label, within its limits."
