"""What a notice says: how a run ended and why, or who became the champion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from quatrain.components import history
from quatrain.components.errors import DriftFailed, GateFailed
from quatrain.components.notify import failures
from quatrain.components.preprocess.drift.compare import sentences
from quatrain.components.storage import list_names, read_file

VERSION = 1
MAX_TEXT = 1000
"""The longest reason or advice, in characters; chat services cut a message at about 4,000."""
MAX_WARNINGS = 5
FAILED, GATE, DRIFT, CANCELLED = "failed", "gate", "drift", "cancelled"
PROMOTED, HELD, ROLLED_BACK, SUCCEEDED = "promoted", "held", "rolled back", "succeeded"
PREDICTED = "predicted"
_EVENTS = {GateFailed.__name__: GATE, DriftFailed.__name__: DRIFT}
_WORDS = {
    FAILED: "failed",
    GATE: "was measured, and its gate said no",
    DRIFT: "stopped, since its rows have drifted",
    CANCELLED: "was cancelled",
    PROMOTED: "is the champion",
    HELD: "passed its bounds and is held",
    ROLLED_BACK: "is the champion again",
    SUCCEEDED: "succeeded; nothing is promoted",
    PREDICTED: "has predicted its window",
}
_DRIFT = "/drift/drift.json"
"""Where a task that compares rows leaves how far they moved, below its own folder."""
_BEFORE_OURS = (
    "read the log of the task by `quatrain logs`: it may have run out of memory, or its image "
    "could not be pulled"
)


@dataclass(frozen=True)
class Notice:
    """A notice, without a row of the data.

    Attributes:
        event: failed, gate, drift, cancelled, promoted, held, rolled back, succeeded or predicted.
        model: The name of the model.
        run: The name of the run.
        step: The step that failed; else empty.
        phase: What the step was at.
        reason: Why.
        advice: The way out.
        warnings: The first warnings of the run.
        drift: The first sentences on how far its rows have moved from those of an earlier run.
        link: Where to look.
    """

    event: str
    model: str
    run: str
    step: str = ""
    phase: str = ""
    reason: str = ""
    advice: str = ""
    warnings: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    link: str = ""

    @property
    def text(self) -> str:
        """The notice for people."""
        where = f" in step {self.step}" if self.step else ""
        if self.phase not in ("", self.step):
            where += f" ({self.phase})"
        head = f"{self.model or 'quatrain'}: run {self.run} {_WORDS[self.event]}{where}"
        lines = [f"{head}: {self.reason}" if self.reason else head]
        lines += [f"To do: {self.advice}"] if self.advice else []
        if self.event != DRIFT:  # whose reason quotes them
            lines += [f"Drift: {sentence}" for sentence in self.drift]
        lines += [f"! {warning}" for warning in self.warnings]
        return "\n".join([*lines, *filter(None, [self.link])])

    def as_json(self) -> dict[str, Any]:
        """Returns the fields of the notice."""
        lists = {"warnings": list(self.warnings), "drift": list(self.drift)}
        return {"version": VERSION, **asdict(self), **lists}


def of_run(
    folder: str,
    root: str,
    model: str,
    run: str,
    state: str,
    message: str,
    link: str = "",
    predicts: bool = False,
) -> Notice:
    """Returns the notice of a run that has ended, from what its tasks have left.

    Args:
        folder: The folder of the run's tasks.
        root: The folder of all runs; if empty, no verdict is recorded.
        model: The name of the model.
        run: The name of the run.
        state: SUCCEEDED, FAILED or CANCELLED.
        message: The error of the pipeline, which names the tasks that failed.
        link: Where to look.
        predicts: Whether the run is one of the prediction pipeline.

    Raises:
        ArtifactError: A record exists but cannot be read.
    """
    if state == "CANCELLED":
        return Notice(CANCELLED, model, run, link=link)
    drift = _drift(folder)
    if state != "SUCCEEDED":
        return replace(_of_failure(folder, model, run, message), drift=drift, link=link)
    if predicts:
        return Notice(PREDICTED, model, run, drift=drift, link=link)
    record = history.measured_run(root, model, run) if root and model else None
    if record is None:  # a quick run
        return Notice(SUCCEEDED, model, run, drift=drift, link=link)
    gate = record["gate"]
    others = (_cut(w) for w in record.get("warnings", ()))
    warnings = tuple(islice((w for w in others if w not in drift), MAX_WARNINGS))
    # The decision of the evaluation may have been overtaken by another run's promotion.
    event = PROMOTED if gate.get("decision") == "promote" else HELD
    why = _cut(gate.get("why", ""))
    return Notice(event, model, run, reason=why, warnings=warnings, drift=drift, link=link)


def _of_failure(folder: str, model: str, run: str, message: str) -> Notice:
    steps = failures.failed_steps(message)
    failure = failures.find(folder, steps)
    if failure is None:  # the step ended before our code ran, or was killed
        step = ", ".join(steps)
        return Notice(FAILED, model, run, step, "", _cut(message), _BEFORE_OURS if steps else "")
    event = _EVENTS.get(failure.kind, FAILED)
    reason, advice = _cut(failure.reason), _cut(failure.advice).replace("RUN", run)
    return Notice(event, model, run, failure.step, failure.phase, reason, advice)


def _drift(folder: str) -> tuple[str, ...]:
    """Returns the first sentences of the job's own drift.json, those of a failure first."""
    files = sorted(name for name in list_names(folder) if name.endswith(_DRIFT))
    found: list[str] = []
    for name in files:
        document = json.loads(read_file(f"{folder}/{name}"))
        found += (s for level in ("fail", "warn") for s in sentences(document, level))
    return tuple(_cut(sentence) for sentence in found[:MAX_WARNINGS])


def of_move(model: str, move: Mapping[str, Any], event: str) -> Notice:
    """Returns the notice of a champion that a person has chosen.

    Args:
        model: The name of the model.
        move: The move, as `history.moves` lists it.
        event: PROMOTED or ROLLED_BACK.
    """
    before = f", in place of run {move['before']}" if move["before"] else ""
    return Notice(
        event, model, move["run"], reason=_cut(f"by {move['by']}{before}: {move['reason']}")
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 4]} ..."
