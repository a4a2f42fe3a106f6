"""What the evaluation of a run found: its metrics with their intervals, and its gate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from quatrain.components.errors import QuatrainError
from quatrain.components.evaluate.gate import verdict_of
from quatrain.components.evaluate.measures.metrics import MetricEstimate
from quatrain.components.wording import counted
from quatrain.terminal.printouts import align


class UnknownMetric(QuatrainError, KeyError):
    """The run has no metric of this name; the message names those that it has."""

    __str__ = Exception.__str__  # that of a KeyError is in quotes


class Metrics(Mapping[str, MetricEstimate]):
    """The metrics of a model on its test rows, by name, with their 95 % intervals.

    A value or an end of an interval that cannot be computed from the rows is NaN.

    Attributes:
        rows: The number of test rows.
        document: All of metrics.json.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.rows = int(document["rows"])
        self._estimates = {
            name: MetricEstimate(*(_number(metric.get(end)) for end in ("value", "low", "high")))
            for name, metric in document["metrics"].items()
        }

    def __getitem__(self, name: str) -> MetricEstimate:
        if name not in self._estimates:
            raise UnknownMetric(f"no metric {name!r}; choose one of {', '.join(self._estimates)}")
        return self._estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._estimates)

    def __len__(self) -> int:
        return len(self._estimates)

    def __repr__(self) -> str:
        return "\n".join([self._heading, *align(self._cells())])

    def _repr_html_(self) -> str:
        return html_table(self._cells(), self._heading)

    @property
    def _heading(self) -> str:
        return f"{counted(self.rows, 'test row')}, with 95 % intervals"

    def _cells(self) -> list[tuple[str, str, str]]:
        """Returns a row for each metric that has a value."""
        known = {n: e for n, e in self._estimates.items() if not math.isnan(e.value)}
        return [(name, f"{e.value:.4f}", _interval(e)) for name, e in known.items()]


@dataclass(frozen=True)
class GateCheck:
    """A check of the gate.

    Attributes:
        metric: What is checked: a metric, `champion` or `skew`.
        passed: Whether it passed.
        value: The value; None where there is none.
        rows: The number of rows.
        sentence: The value, the bound and the number of rows in words.
    """

    metric: str
    passed: bool
    value: float | None
    rows: int
    sentence: str


@dataclass(frozen=True, repr=False)
class Gate:
    """The verdict on a model.

    Attributes:
        passed: Whether every check passed; a model that is held has passed them, too.
        checks: The checks.
        warnings: Sentences about what is odd, the most harmful first.
        verdict: The verdict in words, with the number of warnings.
        decision: promote, hold or fail; empty for a quick run or one of an earlier version.
    """

    passed: bool
    checks: tuple[GateCheck, ...]
    warnings: tuple[str, ...]
    verdict: str
    decision: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Gate:
        """Returns the gate of metrics.json."""
        gate = document["gate"]
        checks = (
            GateCheck(*(c[key] for key in ("metric", "passed", "value", "rows", "sentence")))
            for c in gate["checks"]
        )
        warnings = (w["sentence"] for w in document.get("warnings", ()))  # 0.1.0 had none
        words = verdict_of(document)
        decision = str(gate.get("decision") or "")
        return cls(bool(gate["passed"]), tuple(checks), tuple(warnings), words, decision)

    def __repr__(self) -> str:
        return "\n".join([f"gate {self.verdict}", *(f"{m}  {s}" for m, s in self._lines())])

    def _repr_html_(self) -> str:
        return html_table(list(self._lines()), f"gate {self.verdict}")

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Yields a mark and a sentence for each check that failed, each warning, and the rest."""
        warned = set(self.warnings)
        yield from (("✕", check.sentence) for check in self.checks if not check.passed)
        yield from (("!", warning) for warning in self.warnings)
        passed = (check.sentence for check in self.checks if check.passed)
        yield from (("✓", sentence) for sentence in passed if sentence not in warned)


CELL = "text-align:left;white-space:pre-wrap;font-variant-numeric:tabular-nums"
CAPTION = "text-align:left;font-weight:600;white-space:nowrap;padding:0.4em 0.3em"


def html_table(rows: Sequence[Sequence[str]], heading: str, titles: Sequence[str] = ()) -> str:
    """Returns rows of cells as a table below a heading, in the colours of the notebook."""
    head = "".join(f'<th style="{CELL}">{escape(title)}</th>' for title in titles)
    cells = ("".join(f'<td style="{CELL}">{escape(cell)}</td>' for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    caption = f'<caption style="{CAPTION}">{escape(heading)}</caption>'
    thead = f"<thead><tr>{head}</tr></thead>" if titles else ""
    return f"<table>{caption}{thead}<tbody>{body}</tbody></table>"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _interval(estimate: MetricEstimate) -> str:
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"{estimate.low:.4f} to {estimate.high:.4f}"
