"""The decision on a model: promote it, hold it while the champion stays, or fail the run.

A model is compared with R, the better one, on today's test rows, of the champion and the best
earlier model of its name. Against the champion alone, models that are each a little worse than the
one before, within the margin, would slide down without an end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quatrain.components import history
from quatrain.components.evaluate.gate import BEST, against_rival, rival_of
from quatrain.components.specification.schema import ChampionLimit
from quatrain.components.times import parse_utc
from quatrain.components.wording import counted

PROMOTE, HOLD, FAIL = "promote", "hold", "fail"
STAYS = "so this model is held and the champion stays"


@dataclass(frozen=True)
class Decision:
    """What becomes of a model, as the gate of metrics.json has it.

    Attributes:
        decision: promote, hold or fail.
        why: Why it is held; else empty.
        rows_to_decide: About how many test rows would end the doubt; None where rows alone do not.
    """

    decision: str
    why: str = ""
    rows_to_decide: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns the decision as metrics.json and the record of a run have it."""
        return asdict(self)


def decide(passed: bool, measured: Mapping[str, Any], limit: ChampionLimit) -> Decision:
    """Returns the decision on a model.

    Args:
        passed: Whether it passed every check of the gate; the first model of a name needs no more.
        measured: The measurements, as in metrics.json.
        limit: `evaluate.champion` of the spec.
    """
    if not passed:
        return Decision(FAIL)
    return held(measured, limit) or Decision(PROMOTE)


def held(measured: Mapping[str, Any], limit: ChampionLimit) -> Decision | None:
    """Returns why a model within its bounds would be held; None if it would be promoted."""
    champion = measured["champion"]
    if not champion:
        return None
    if champion.get("newer"):
        return Decision(HOLD, f"{champion['newer']}, {STAYS}")
    if champion["why"]:
        sentence = f"not compared with the champion, run {champion['run']}: {champion['why']}"
        return Decision(HOLD, f"{sentence}, {STAYS}")
    best = measured.get("best")
    if best and best["why"]:
        sentence = f"not compared with {BEST}, run {best['run']}: {best['why']}"
        return Decision(HOLD, f"{sentence}, {STAYS}")
    rival = rival_of(measured)
    if rival is None:  # it is compared, or `why` says why not
        return None
    worse, sentence = rival["worse"], against_rival(measured)
    if worse["value"] is None or worse["high"] is None:
        return Decision(HOLD, f"{sentence}, {STAYS}")
    if worse["high"] <= limit.margin:
        return None
    rows = rows_to_decide(worse, measured["rows"], limit)
    sentence += f", not within the margin of {limit.margin:.1%} beyond chance, {STAYS}"
    if rows is not None:
        return Decision(HOLD, f"{sentence}; about {counted(rows, 'test row')} would decide", rows)
    return Decision(HOLD, f"{sentence}; more test rows alone would not decide")


def is_best(measured: Mapping[str, Any]) -> bool:
    """Returns whether a promoted model takes the role of the best earlier one from its holder.

    It must be better on the same rows beyond chance. If a model that only looks better took it,
    the role would itself slide down by the luck of each week's rows.

    Args:
        measured: The measurements, as in metrics.json.
    """
    holder = measured.get("best") or measured["champion"]
    if not holder:
        return True
    high = None if holder["why"] else holder["worse"]["high"]
    return high is not None and high <= 0


def best_after(
    champion: Mapping[str, Any] | None, measured: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Returns the best earlier model once a model is promoted; None if that model is the best.

    Args:
        champion: The record of the champion whose place it takes; None without one.
        measured: The measurements of the promoted model, as in metrics.json.
    """
    if champion is None or is_best(measured):
        return None
    return champion.get("best") or {key: champion.get(key) for key in history.RIVAL}


def rows_to_decide(
    worse: Mapping[str, float | None], rows: int, limit: ChampionLimit
) -> int | None:
    """Returns about how many test rows would decide, or None where no number of them would.

    The half-width of an interval shrinks with the root of the number of rows. With the value
    within the margin, enough rows promote; with the value above `fail`, enough rows fail.

    Args:
        worse: The relative loss with its 95 % interval.
        rows: The test rows that gave it.
        limit: `evaluate.champion` of the spec.
    """
    value, low, high = worse["value"], worse["low"], worse["high"]
    if value is None or low is None or high is None:
        return None
    if value < limit.margin:
        ratio = (high - value) / (limit.margin - value)
    elif limit.fail is not None and value > limit.fail:
        ratio = (value - low) / (value - limit.fail)
    else:
        return None
    needed = rows * ratio**2
    if not needed < 1e12:  # as good as never
        return None
    digits = max(0, math.floor(math.log10(needed)) - 1)
    return math.ceil(needed / 10**digits) * 10**digits


def why_newer(champion: Mapping[str, Any], window: Mapping[str, Any] | None, created: str) -> str:
    """Returns why a run is older than the champion, so that it cannot take its place; else empty.

    Args:
        champion: The champion's record, with `run`, `made` and `window`.
        window: The days that the run has read, `first` and `last`; None without a window.
        created: When the run was created, as an ISO time; if empty, that is not known.
    """
    theirs = champion.get("window")
    if window and theirs and str(window["last"]) < str(theirs["last"]):
        return (
            f"its rows end on {window['last']}, those of the champion, run {champion['run']}, on "
            f"{theirs['last']}"
        )
    ours, made = (next(_times(text), None) for text in (created, str(champion["made"])))
    if ours and made and ours < made:
        return (
            f"it was created on {created[:19]}, before the champion, run {champion['run']}, on "
            f"{str(champion['made'])[:19]}"
        )
    return ""


def _times(text: str) -> Iterator[Any]:
    try:
        yield parse_utc(text)
    except ValueError:
        return
