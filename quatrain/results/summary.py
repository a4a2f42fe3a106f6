"""What is known of a run without opening its artifacts, wherever it ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from quatrain.components.evaluate.measures.metrics import METRICS
from quatrain.components.tiers.prices import Interval
from quatrain.components.times import parse_utc

DAMAGED = "damaged"
"""The status of a run whose record cannot be read; another file may still say that it is there."""


@dataclass(frozen=True)
class RunSummary:
    """A run of a model.

    Attributes:
        name: The model.
        run: The id of the run.
        place: Its folder, or `gs://ROOT/NAME/RUN`.
        status: running, succeeded, failed, cancelled, interrupted, killed or damaged.
        started: When it was created, as an ISO time in UTC; empty if that is not known.
        wall_s: How long it took by the clock, or has taken so far; None if that is not known.
        cpu_s: Its CPU time with that of its children; None for a run on Vertex AI.
        cost: Its estimated cost in USD; None for a run here, or where it cannot be estimated.
        error: Why it failed.
        measured: The record that its gate left, with `spec`, `rows`, `metrics`, `gate`,
            `warnings`, `changes` and `artifacts`; None if the run did not get that far.
        is_champion: Whether its model is the champion.
        quick: Whether it was a quick run, of a sample of the rows and a few epochs.
    """

    name: str
    run: str
    place: str
    status: str
    started: str = ""
    wall_s: float | None = None
    cpu_s: float | None = None
    cost: Interval | None = None
    error: str = ""
    measured: Mapping[str, Any] | None = field(default=None, repr=False)
    is_champion: bool = False
    quick: bool = False

    @property
    def metric(self) -> dict[str, Any] | None:
        """The main metric with its interval: the first that the gate bounds, or the task's."""
        if self.measured is None:
            return None
        metrics, task = self.measured["metrics"], self.measured["task"]
        bounds = self.measured["spec"].get("evaluate", {}).get("gate", {})
        for name in (*bounds, *(m.name for m in METRICS[task])):
            if metrics.get(name, {}).get("value") is not None:
                interval = {end: metrics[name].get(end) for end in ("low", "high")}
                return {"name": name, "value": metrics[name]["value"], **interval}
        return None

    @property
    def changed(self) -> list[str]:
        """What differs from the run before, in words: spec, columns, trainer, code, rows."""
        changes = (self.measured or {}).get("changes") or {}
        return list(dict.fromkeys(_words(changes)))

    def as_document(self) -> dict[str, Any]:
        """Returns the run as `quatrain list --json` prints it; unknown values are None."""
        measured: Mapping[str, Any] = self.measured or {}
        return {
            "name": self.name,
            "run": self.run,
            "place": self.place,
            "status": self.status,
            "started": self.started or None,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "usd": self.cost and self.cost.model_dump(),
            "error": self.error or None,
            "champion": self.is_champion,
            "quick": self.quick,
            "rows": measured.get("rows"),
            "test_rows": measured.get("test_rows"),
            "metric": self.metric,
            "metrics": measured.get("metrics"),
            "gate": measured.get("gate"),
            "warnings": measured.get("warnings"),
            "changed": self.changed,
        }


class Listing(NamedTuple):
    """Some runs.

    Attributes:
        runs: The runs.
        problems: A line for each record that could not be read.
        more: How many earlier runs there are; 0 also where that is not known.
    """

    runs: list[RunSummary]
    problems: list[str]
    more: int = 0


def of_record(record: Mapping[str, Any], place: str) -> RunSummary:
    """Returns a run by the record that its gate left.

    Raises:
        KeyError, TypeError, ValueError: The record has another shape.
    """
    passed = record["gate"]["passed"]
    summary = RunSummary(
        str(record["name"]),
        str(record["run"]),
        place,
        "succeeded" if passed else "failed",
        started=_utc(str(record["made"])),
        wall_s=_between(record["made"], record["decided"]),
        error="; ".join(record["gate"]["failed"].values()),
        measured=record,
    )
    summary.as_document()  # a damaged record is found here
    return summary


def joined(run: RunSummary, measured: RunSummary | None) -> RunSummary:
    """Returns a run that its folder or job describes, with what its gate recorded."""
    if measured is None:
        return run
    started = run.started or measured.started
    return replace(run, measured=measured.measured, started=started)


def newest_first(run: RunSummary) -> tuple[str, str]:
    """Returns the key by which runs are sorted, in descending order."""
    return run.started, run.run


def _utc(text: str) -> str:
    """Returns a time in UTC, or an empty text for one that cannot be read."""
    try:
        return parse_utc(text).isoformat(timespec="seconds")
    except ValueError:
        return ""


def _between(start: str, end: str) -> float | None:
    try:
        return (parse_utc(end) - parse_utc(start)).total_seconds()
    except ValueError:
        return None


def _words(changes: Mapping[str, Any]) -> Iterator[str]:
    for change in changes.get("spec", ()):
        yield "columns" if change["what"].partition(".")[0] == "columns" else "spec"
    for change in changes.get("code", ()):
        yield "trainer" if change["what"] == "trainer" else "code"
    if changes.get("rows") or changes.get("data"):  # last: new rows are the rule
        yield "rows"
