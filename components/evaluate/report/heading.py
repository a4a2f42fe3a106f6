"""The top of the report: the verdict with its warnings, the run, and what has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quatrain.components.evaluate import changes
from quatrain.components.evaluate.decision import PROMOTE
from quatrain.components.evaluate.gate import verdict_of
from quatrain.components.evaluate.measures.metrics import METRICS, Metric
from quatrain.components.evaluate.warning import SERIOUS
from quatrain.components.quick_run import is_quick, sentence
from quatrain.components.specification.release import Release

MAX_WARNINGS = 8
"""Warnings in the box; the others unfold."""
MAX_CHANGES = 8
"""Changes of a section that are listed; the others unfold."""
TITLES = {"spec": "Spec", "rows": "Rows", "data": "Data", "code": "Code"}
"""The sections of changes that are lines of text."""


@dataclass(frozen=True)
class Verdict:
    """The box of the verdict.

    Attributes:
        state: passed, warned (passed, with a serious warning) or failed.
        words: The verdict with the number of warnings.
        checks: The sentences of the gate's checks by whether they passed, without those that are
            warnings.
        warnings: The severity and sentence of each warning, the most harmful first.
        more: Those beyond the first `MAX_WARNINGS`.
    """

    state: str
    words: str
    checks: Mapping[bool, Sequence[str]]
    warnings: Sequence[tuple[str, str]]
    more: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """What has changed in a section, the first lines and the others."""

    title: str
    lines: Sequence[str]
    more: Sequence[str]


@dataclass(frozen=True)
class MetricChange:
    """A metric of the last run and of this one."""

    metric: Metric
    before: float | None
    now: float | None


def verdict(metrics: Mapping[str, Any]) -> Verdict:
    """Returns the box of the verdict."""
    passed, words = metrics["gate"]["passed"], verdict_of(metrics)
    warnings = [(w["severity"], w["sentence"]) for w in metrics["warnings"]]
    is_serious = any(severity == SERIOUS for severity, _ in warnings)
    warned = {sentence for _, sentence in warnings}
    others = [c for c in metrics["gate"]["checks"] if c["sentence"] not in warned]
    checks = {k: [c["sentence"] for c in others if c["passed"] is k] for k in (False, True)}
    state = "failed" if not passed else "warned" if is_serious else "passed"
    return Verdict(state, words, checks, warnings[:MAX_WARNINGS], warnings[MAX_WARNINGS:])


def release(metrics: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Returns what Vertex AI gets of a model that is promoted; empty if it gets nothing."""
    if not spec.get("release") or metrics["gate"].get("decision") != PROMOTE:
        return ""
    words = Release(**spec["release"]).in_words(metrics["name"])
    return f"{words[0].upper()}{words[1:]}."


def quick(metrics: Mapping[str, Any]) -> str:
    """Returns what a quick run says of itself; empty for a run of all rows."""
    if not is_quick(metrics):
        return ""
    words = sentence(metrics["sample"], metrics["run"]["rows"]["read"])
    return words[0].upper() + words[1:]


def sections(found: Mapping[str, Any]) -> Iterator[Section]:
    """Yields the sections of `changes` in metrics.json that differ."""
    for name, title in TITLES.items():
        if lines := [changes.in_words(change, "→") for change in found.get(name, ())]:
            yield Section(title, lines[:MAX_CHANGES], lines[MAX_CHANGES:])


def metric_changes(found: Mapping[str, Any], task: str) -> Iterator[MetricChange]:
    """Yields the metrics that differ from those of the last run, in the order of the table."""
    by_name = {change["what"]: change for change in found.get("metrics", ())}
    for metric in METRICS[task]:
        if change := by_name.get(metric.name):
            yield MetricChange(metric, change["before"], change["now"])


def versions(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Returns the versions of the code by name, without the digests."""
    code = metrics["run"]["code"]
    return {name: text for name, text in code.items() if name not in changes.DIGESTS}
