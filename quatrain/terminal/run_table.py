"""The table of `quatrain list`, from the documents that `--json` prints."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from quatrain.components.evaluate.changes import DIGITS
from quatrain.components.evaluate.gate import word_of
from quatrain.components.times import parse_utc
from quatrain.components.wording import counted
from quatrain.terminal.printouts import align

RunDocument = Mapping[str, Any]
MAX_VERDICT, MIN_CHANGED = 20, 7
"""The width beyond which a verdict is cut, and that to which the changes are cut at most."""
DIGESTS = ("spec", "data", "trainer", "image")
"""The digests that tell versions of a model apart."""
_LOCAL_ID = re.compile(r"(\d{8}T\d{6})-\d{6}")
_STEP = re.compile(r"(?:step (?P<step>\S+) failed|task (?P<task>[^:]+)): ")
"""How the error of a run begins that ended before its gate, here and on Vertex AI."""
_TITLES = {
    "name": "model",
    "run": "run",
    "started": "when",
    "rows": "rows",
    "metric": "metric",
    "verdict": "verdict",
    "changed": "changed",
    "wall_s": "wall",
    "cpu_s": "CPU s",
    "usd": "est. USD",
}


def run_table(
    runs: Sequence[RunDocument],
    width: int,
    zone: datetime.tzinfo | None = None,
    *,
    by_model: bool = False,
    year: int = 0,
) -> list[str]:
    """Returns a line for each run, below a line of titles.

    Args:
        runs: Runs as documents.
        width: The columns of the terminal. The changes are cut to fit; a longer id is not.
        zone: The time zone of the times; None for that of this machine.
        by_model: Whether the runs are of several models, so that each line begins with its own.
        year: The year that the times leave out; 0 for this one.
    """
    titles, rows = run_cells(runs, zone, by_model=by_model, year=year)
    lines = align([list(titles.values()), *([row[k] for k in titles] for row in rows)])
    beyond = max(map(len, lines)) - width
    if beyond > 0 and "changed" in titles:
        longest = max(len(row["changed"]) for row in rows)
        for row in rows:
            row["changed"] = _cut(row["changed"], max(longest - beyond, MIN_CHANGED))
        lines = align([list(titles.values()), *([row[k] for k in titles] for row in rows)])
    return lines


def run_cells(
    runs: Sequence[RunDocument],
    zone: datetime.tzinfo | None = None,
    *,
    by_model: bool = False,
    year: int = 0,
) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Returns the titles of the table of runs by their keys, and the cells of each run.

    Args:
        runs: Runs as documents.
        zone: The time zone of the times; None for that of this machine.
        by_model: Whether the runs are of several models, so that each line begins with its own.
        year: The year that the times leave out; 0 for this one.
    """
    ids = short_ids(runs)
    metrics = {run["metric"]["name"] for run in runs if run["metric"]}
    shared = metrics.pop() if len(metrics) == 1 else ""
    rows = [
        {
            "name": run["name"],
            "run": f"{ids[run['run']]}{'*' if run['champion'] else ''}",
            "started": local_time(run["started"], zone, year),
            "rows": f"{run['rows']['read']:,}" if run["rows"] else "",
            "metric": _metric(run["metric"], named=not shared),
            "verdict": _cut(outcome(run), MAX_VERDICT),
            "changed": ",".join(run["changed"]),
            "wall_s": duration(run["wall_s"]),
            "cpu_s": "" if run["cpu_s"] is None else f"{run['cpu_s']:,.0f}",
            "usd": usd(run["usd"]),
        }
        for run in runs
    ]
    always = ("run", "started", "verdict")
    titles = {**_TITLES, "metric": shared or _TITLES["metric"]}
    titles = {k: t for k, t in titles.items() if k in always or any(row[k] for row in rows)}
    if not by_model:
        del titles["name"]
    return titles, rows


def champion_table(
    entries: Sequence[Mapping[str, Any]], zone: datetime.tzinfo | None = None, year: int = 0
) -> list[str]:
    """Returns a line for each time that a model took the champion's place, below one of titles.

    Args:
        entries: As `quatrain.models` returns them.
        zone: The time zone of the times; None for that of this machine.
        year: The year that the times leave out; 0 for this one.
    """
    looks = any("serves" in entry for entry in entries)
    titles = ["model", "run", "since", "metric", *["serves"] * looks, *DIGESTS, "by", "reason"]
    rows = [
        [
            entry["name"],
            f"{entry['run']}{'*' if entry['champion'] else ''}",
            local_time(entry["at"], zone, year),
            _metric(entry["metric"], named=True),
            *[_served(entry.get("serves"))] * looks,
            *(_short_digest((entry["digests"] or {}).get(name)) for name in DIGESTS),
            entry["by"],
            entry["reason"],
        ]
        for entry in entries
    ]
    return [*align([titles, *rows]), "* the champion"] if rows else []


def _served(shares: Mapping[str, int] | None) -> str:
    """Returns the share of each endpoint, a dash for none, or a question mark if unknown."""
    if shares is None:
        return "?"
    return ", ".join(f"{endpoint} {share} %" for endpoint, share in shares.items()) or "-"


def collected_lines(items: Sequence[Mapping[str, Any]], applied: bool) -> list[str]:
    """Returns a line for each item that goes, for each that stays, and one with the sums.

    Args:
        items: As `quatrain gc --json` prints them.
        applied: Whether they were deleted.
    """
    going = [item for item in items if not item["why"]]
    word = "deleted" if applied else "may go"
    rows = [
        [
            "stays" if item["why"] else word,
            item["kind"],
            "/".join(filter(None, (item["name"], item["id"]))),
            _size(item["bytes"]),
            item["why"],
        ]
        for item in sorted(items, key=lambda item: bool(item["why"]))
    ]
    total = _size(sum(item["bytes"] for item in going))
    sums = f"{counted(len(going), 'item')} of {total} {word}"
    return [
        *(align(rows) if rows else []),
        sums if applied or not going else f"{sums}; add --apply to delete",
    ]


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"


def _short_digest(digest: str | None) -> str:
    """Returns the first digits of a digest, the tag of an image without one, or a dash."""
    return (digest or "").rpartition(":")[2][:DIGITS] or "-"


def short_ids(runs: Sequence[RunDocument]) -> dict[str, str]:
    """Returns ids without what all runs share, each still a part of one id alone.

    An id here ends in microseconds, and one on Vertex AI begins with the model or the pipeline.
    """
    short = {run["run"]: _without_shared_parts(run) for run in runs}
    return {
        run: text if sum(text in other for other in short) == 1 else run
        for run, text in short.items()
    }


def _without_shared_parts(run: RunDocument) -> str:
    if match := _LOCAL_ID.fullmatch(run["run"]):
        return match[1]
    for begin in (f"{run['name']}-", "quatrain-training-"):
        if (rest := run["run"].removeprefix(begin)) != run["run"]:
            return str(rest)
    return str(run["run"])


def outcome(run: RunDocument) -> str:
    """Returns the verdict of the gate with what it missed, or what became of a run without one."""
    return f"quick, {_outcome(run)}" if run["quick"] else _outcome(run)


def _outcome(run: RunDocument) -> str:
    gate = run["gate"]
    if gate and gate["passed"]:
        n_warnings = len(run["warnings"])
        word = word_of(gate)
        passed = f"{word}, {n_warnings} warn" if n_warnings else word
        return passed if run["status"] == "succeeded" else f"{run['status']}, {passed}"
    if gate:
        return f"failed: {', '.join(gate['failed'])}"
    if run["status"] == "failed" and (match := _STEP.match(run["error"] or "")):
        return f"failed in {match['step'] or match['task']}"
    return str(run["status"])


def local_time(text: str | None, zone: datetime.tzinfo | None = None, year: int = 0) -> str:
    """Returns a time with its weekday, in a zone or in that of this machine.

    Args:
        text: The time, in ISO 8601; None or empty for none.
        zone: The time zone; None for that of this machine.
        year: The year that is left out; 0 for this one.
    """
    if not text:
        return ""
    moment = parse_utc(text).astimezone(zone)
    is_shown = moment.year != (year or datetime.datetime.now(zone).year)
    of_year = f" {moment.year}" if is_shown else ""
    return f"{moment:%a %d %b}{of_year} {moment:%H:%M}"


def duration(seconds: float | None) -> str:
    """Returns a duration in the unit that suits it."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"


def decimals(value: float) -> int:
    """Returns with how many decimals a metric is shown: as for five digits, and four at most."""
    return 4 - min(4, max(0, math.floor(math.log10(abs(value))))) if value else 4


def footnotes(runs: Sequence[RunDocument], more: int, counts: str = "") -> list[str]:
    """Returns the lines below a table.

    Args:
        runs: The runs of the table.
        more: How many earlier runs are not in it.
        counts: What the estimated cost counts.
    """
    notes = ["* the champion"] if any(run["champion"] for run in runs) else []
    if any(run["usd"] for run in runs):
        notes.append(f"est. USD: {counts}")
    if more:
        notes.append(f"{counted(more, 'earlier run')}: --last 0 lists all")
    return notes


def _metric(metric: Mapping[str, Any] | None, named: bool) -> str:
    if metric is None:
        return ""
    value, low, high = metric["value"], metric["low"], metric["high"]
    digits = decimals(value)
    text = f"{metric['name']} {value:,.{digits}f}" if named else f"{value:,.{digits}f}"
    return text if None in (low, high) else f"{text} ±{(high - low) / 2:,.{digits}f}"


def usd(cost: Mapping[str, float] | None) -> str:
    """Returns a cost, as a range if it has one; empty if it is not known."""
    if cost is None:
        return ""
    low, high = f"{cost['low']:.2f}", f"{cost['high']:.2f}"
    return low if low == high else f"{low}-{high}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
