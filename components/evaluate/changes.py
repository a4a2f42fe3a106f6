"""What has changed since the last run of a model: its spec, rows, data, code and metrics.

The gate's task writes the record of a run that was measured, passed or not, beside the model's
other records below the root, and the next run compares itself with it. A measurement that is
retried does not meet its own record, since the gate comes after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import yaml

from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.trainer.settings import Hyperparameters

FIRST = "this is the first run of this model that was measured"
VISIBLE = 0.01
"""Smaller metrics are shown with more decimals, so any difference counts."""
SECTIONS = ("spec", "rows", "data", "code", "metrics")
"""What is compared, in the order in which it is shown."""
MAX_TEXT = 120
"""Characters of a value that are shown."""
DIGITS = 12
"""Digits of a sha256 that are shown."""
DIGESTS = {"digest", "trainer", "pipeline"}
"""What of a run's data and code is a sha256."""
_AUTOMATIC = {
    f"train.{f.name}" for f in fields(Hyperparameters) if f.metadata["help"].endswith("automatic")
}
"""The settings of which 0 means that the trainer chooses a value."""


def record_of(spec: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the next run compares itself with.

    Args:
        spec: The spec, as a document.
        metrics: metrics.json, or as much of it as is known before the changes.
    """
    run = metrics["run"]
    values = {name: metric["value"] for name, metric in metrics["metrics"].items()}
    return {
        "run": run["id"],
        "made": run["created"],
        "spec": dict(spec),
        **{section: run[section] for section in ("rows", "data", "code")},
        "metrics": values,
    }


def since_last_run(root: str, name: str, now: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the changes of metrics.json: the last run, and what differs in each section.

    Without a last run, `why` says why there is none; a record that cannot be read stops no run.

    Args:
        root: The folder of all runs, local or gs://; if empty, there is no last run.
        name: The name of the model.
        now: The record of this run.
    """
    try:
        before = history.last_run(root, name)
    except ArtifactError as error:
        return not_compared(str(error))
    if before is None:
        return not_compared(FIRST)
    found: dict[str, Any] = {"run": before["run"], "made": before["made"], "why": ""}
    for section in SECTIONS:
        found[section] = list(differences(before[section], now[section]))
    found["metrics"] = [c for c in found["metrics"] if not _looks_equal(c["before"], c["now"])]
    return found


def not_compared(why: str) -> dict[str, Any]:
    """Returns the changes of metrics.json of a run that is compared with no other."""
    return {"run": "", "made": "", "why": why}


def in_words(change: Mapping[str, Any], arrow: str = "->") -> str:
    """Returns a change as a line, such as `train.epochs: 10 -> 20`."""
    what, before, now = change["what"], change["before"], change["now"]
    if before is None:
        return f"{what}: added ({_shown(what, now)})"
    if now is None:
        return f"{what}: removed ({_shown(what, before)})"
    return f"{what}: {_shown(what, before)} {arrow} {_shown(what, now)}"


def differences(before: Any, now: Any, where: str = "") -> Iterator[dict[str, Any]]:
    """Yields the keys at which two documents differ; None stands for a key that is absent.

    Args:
        before: The earlier document.
        now: The later one.
        where: The place of both in a larger document.
    """
    before, now = _by_name(before), _by_name(now)
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        if before != now:
            yield {"what": where, "before": before, "now": now}
        return
    for key in {**before, **now}:
        place = f"{where}.{key}" if where else key
        if key in before and key in now:
            yield from differences(before[key], now[key], place)
        elif before.get(key, now.get(key)) is not None:
            yield {"what": place, "before": before.get(key), "now": now.get(key)}


def _looks_equal(before: float | None, now: float | None) -> bool:
    """Returns whether two metrics are the same in the four decimals that pages show."""
    if before is None or now is None:
        return before is now
    return f"{before:.4f}" == f"{now:.4f}" and abs(now) >= VISIBLE


def _by_name(value: Any) -> Any:
    """Returns a list of named entries, such as features, as a mapping; other values as they are."""
    if not (isinstance(value, list) and value):
        return value
    if not all(isinstance(entry, Mapping) and "name" in entry for entry in value):
        return value
    return {e["name"]: {k: v for k, v in e.items() if k != "name"} for e in value}


def _shown(what: str, value: Any) -> str:
    """Returns a value in one line: of YAML, or the first digits of a digest."""
    if what in DIGESTS:
        return str(value)[:DIGITS]
    if what in _AUTOMATIC and value == 0:
        return "0 (automatic)"
    if isinstance(value, bool | Mapping | list):
        dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
        value = dumped.removesuffix("\n").removesuffix("\n...")
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
