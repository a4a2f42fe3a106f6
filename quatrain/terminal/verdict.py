"""What a run ends with: the verdict, its warnings, the most harmful first, and what has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quatrain.components.evaluate.gate import verdict_of
from quatrain.components.quick_run import is_quick, sentence
from quatrain.components.wording import counted

MAX_WARNINGS = 8
"""Warnings at the end of a run; the report has all of them."""
MAX_CHANGES = 6
"""Changes that `quatrain report` shows of a section."""
MAX_METRICS = 3
"""Metrics whose change it shows."""


def last_lines(folder: Path) -> Iterator[str]:
    """Yields the verdict of a run and its first warnings.

    Before there is a verdict, these are the warnings about its rows.
    """
    metrics = _read(folder / "metrics.json")
    if metrics and is_quick(metrics):
        yield sentence(metrics["sample"], metrics["run"]["rows"]["read"])
    if metrics:
        yield f"gate {verdict_of(metrics)}"
        if is_quick(metrics):  # its failed checks do not stop it, so no error names them
            yield from failed_checks(metrics)
        sentences = [warning["sentence"] for warning in metrics.get("warnings", ())]
    else:
        sentences = list(_of_rows(folder))
    yield from (f"  ! {sentence}" for sentence in sentences[:MAX_WARNINGS])
    if more := len(sentences[MAX_WARNINGS:]):
        yield f"  and {counted(more, 'more warning')} in the report"


def missed_gate(folder: Path) -> bool:
    """Whether a run was measured, and its model missed a bound of its gate."""
    metrics = _read(folder / "metrics.json") or {}
    return metrics.get("gate", {}).get("passed") is False


def failed_checks(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each check of the gate that the model did not pass."""
    failed = (c for c in metrics["gate"]["checks"] if not c["passed"])
    yield from (f"  MISS {check['sentence']}" for check in failed)


def warning_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yields every warning of a run."""
    yield from (f"  warn {warning['sentence']}" for warning in metrics.get("warnings", ()))


def change_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yields what has changed since the last run, a few lines of each section."""
    from quatrain.components.evaluate.changes import SECTIONS, in_words

    *of_code, metric = SECTIONS
    changes = metrics.get("changes")
    if not changes:  # a run of an earlier version
        return
    if changes["why"]:
        yield changes["why"]
        return
    yield f"since run {changes['run']}:"
    for section in of_code:
        found = changes[section]
        yield from (f"  {section:<8}{in_words(change)}" for change in found[:MAX_CHANGES])
        if more := len(found[MAX_CHANGES:]):
            yield f"  {section:<8}and {counted(more, 'more change')}"
    known = [c for c in changes[metric] if None not in (c["before"], c["now"])]
    if known:
        values = (f"{c['what']} {c['before']:.4f} -> {c['now']:.4f}" for c in known[:MAX_METRICS])
        yield f"  {metric:<8}{', '.join(values)}"
    elif not any(changes[section] for section in SECTIONS):
        yield "  nothing has changed"


def _of_rows(folder: Path) -> Iterator[str]:
    """Yields the warnings of preprocess and of drift, of a run that ended before its verdict."""
    if manifest := _read(folder / "examples/manifest.json"):
        yield from manifest["warnings"]
    if drift := _read(folder / "drift.json"):
        from quatrain.components.preprocess.drift.compare import sentences

        yield from sentences(drift, "warn")


def _read(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
