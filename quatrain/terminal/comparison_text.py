"""The lines of `quatrain compare`, from the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quatrain.components.evaluate.changes import in_words
from quatrain.components.evaluate.gate import LEVEL, word_of
from quatrain.components.wording import counted
from quatrain.terminal.printouts import align
from quatrain.terminal.run_table import decimals, local_time

SECTIONS = ("spec", "rows", "data", "code")
MAX_CHANGES, MAX_SLICES = 12, 8
"""Changes of a section, and slices, that are shown; `--json` has all."""


def comparison_lines(compared: Mapping[str, Any]) -> Iterator[str]:
    """Yields the two runs, what they are made of, their metrics and their slices."""
    before, now = compared["before"], compared["now"]
    rows = [("", "before", "now")]
    rows += [("run", before["run"], now["run"])]
    if before["name"] != now["name"]:
        rows += [("model", before["name"], now["name"])]
    rows += [("started", local_time(before["started"]), local_time(now["started"]))]
    if before["quick"] or now["quick"]:
        rows += [("quick run", _yes_or_no(before["quick"]), _yes_or_no(now["quick"]))]
    rows += [("gate", _gate(before), _gate(now))]
    rows += [("test rows", f"{before['test_rows']:,}", f"{now['test_rows']:,}")]
    yield from align(rows)
    yield ""
    if before["quick"] != now["quick"]:
        yield "one was a quick run: a sample of the rows, and a few epochs"
    yield from _changes(compared)
    yield ""
    yield from align(
        [("metric", "before", "now", "difference"), *map(_metric, compared["metrics"])]
    )
    yield ""
    yield _paired(compared["paired"])
    if slices := compared["slices"]:
        yield ""
        yield from align(list(_slices(slices)))
        if more := len(slices[MAX_SLICES:]):
            yield f"and {counted(more, 'more slice')}: --json has all"


def _yes_or_no(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _gate(run: Mapping[str, Any]) -> str:
    verdict = word_of({"passed": run["gate"], "decision": run["decision"]})
    return f"{verdict}, {counted(run['warnings'], 'warning')}" if run["warnings"] else verdict


def _changes(compared: Mapping[str, Any]) -> Iterator[str]:
    """Yields what differs, a few lines of each section."""
    if not any(compared[section] for section in SECTIONS):
        yield "spec, rows, data and code are the same"
    for section in SECTIONS:
        found = compared[section]
        yield from (f"{section:<7} {in_words(change)}" for change in found[:MAX_CHANGES])
        if more := len(found[MAX_CHANGES:]):
            yield f"{section:<7} and {counted(more, 'more change')}: --json has all"


def _metric(pair: Mapping[str, Any]) -> tuple[str, str, str, str]:
    difference = pair["difference"]
    digits = decimals(max((abs(m["value"]) for m in _known(pair)), default=1.0))
    change = "" if difference is None else f"{difference:+,.{digits}f}"
    return pair["name"], _estimate(pair["before"]), _estimate(pair["now"]), change


def _known(pair: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    both = (pair["before"], pair["now"])
    return [metric for metric in both if metric and metric.get("value") is not None]


def _estimate(metric: Mapping[str, Any] | None) -> str:
    """Returns a metric with its 95 % interval."""
    if not metric or metric.get("value") is None:
        return "none"
    value, low, high = metric["value"], metric.get("low"), metric.get("high")
    digits = decimals(value)
    shown = f"{value:,.{digits}f}"
    return shown if None in (low, high) else f"{shown} ({low:,.{digits}f} to {high:,.{digits}f})"


def _paired(paired: Mapping[str, Any]) -> str:
    """Returns the difference row by row in a sentence, or why there is none."""
    worse, name = paired["worse"], paired["metric"]
    if worse is None:
        return f"not compared row by row: {paired['why']}"
    rows = f"on the same {counted(paired['rows'], 'test row')}"
    if worse["value"] is None:
        return f"{rows}, the one before makes no error that {name} could be compared by"
    if worse["low"] == worse["high"] == 0:
        return f"{rows}, {name} is the same on every row"
    interval = "" if worse["low"] is None else f" ({worse['low']:+.1%} to {worse['high']:+.1%})"
    if abs(worse["value"]) < LEVEL:
        return f"{rows}, {name} is level{interval}"
    kind = "higher, so worse" if worse["value"] > 0 else "lower, so better"
    is_sure = worse["low"] is not None and not worse["low"] <= 0 <= worse["high"]
    chance = "" if is_sure else ", which may be chance"
    return f"{rows}, {name} is {abs(worse['value']):.1%} {kind}{interval}{chance}"


def _slices(slices: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    yield "slice", "rows", f"{slices[0]['metric']} before", "now"
    for each in slices[:MAX_SLICES]:
        before, now = _estimate(each["before"]), _estimate(each["now"])
        yield f"{each['column']} = {each['value']}", f"{each['now']['rows']:,}", before, now
