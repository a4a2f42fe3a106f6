"""The part of the report that says which inputs matter: a bar and an interval for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

N_INPUTS = 15
"""Inputs that are shown; the others unfold."""
DECIMALS = 4
"""Decimals of a rise. One that vanishes in them is shown as zero, unless all of them are small."""

Effect = Literal["seen", "none", "worse", "unknown"]


@dataclass(frozen=True)
class InputLine:
    """An input with its importance. All places are in per cent of the width of the plot.

    Attributes:
        name: The input.
        rise: How much the loss rises when it is shuffled.
        low: The lower end of the interval.
        high: The upper end.
        effect: `none` if the interval includes 0, `worse` if the model is better without the
            input's own values, `unknown` if it gave no answer to shuffled rows.
        bar: Start and width of the bar.
        whisker: Start and width of the interval.
    """

    name: str
    rise: float | None
    low: float | None
    high: float | None
    effect: Effect
    bar: tuple[float, float]
    whisker: tuple[float, float]


def lines(importance: Sequence[Mapping[str, Any]]) -> tuple[list[InputLine], float]:
    """Returns a line for each input, on one scale, and the place of its zero."""
    known = [e[key] for e in importance for key in ("rise", "low", "high") if e[key] is not None]
    low, high = min([0.0, *known]), max([0.0, *known])
    unit = 100 / ((high - low) or 1.0)
    is_rounded = max(-low, high) >= 100 * 10**-DECIMALS

    def shown(value: float | None) -> float | None:
        # Adding 0.0 turns a negative zero into a plain one.
        return round(value, DECIMALS) + 0.0 if is_rounded and value is not None else value

    def span(a: float | None, b: float | None) -> tuple[float, float]:
        if a is None or b is None:
            return 0.0, 0.0
        return (min(a, b) - low) * unit, abs(b - a) * unit

    listed = [
        InputLine(
            e["input"],
            shown(e["rise"]),
            shown(e["low"]),
            shown(e["high"]),
            effect_of(e),
            span(0.0, e["rise"]),
            span(e["low"], e["high"]),
        )
        for e in importance
    ]
    return listed, -low * unit


def effect_of(entry: Mapping[str, Any]) -> Effect:
    """Returns what an entry of `importance` in metrics.json says of its input."""
    if entry["rise"] is None:
        return "unknown"
    if entry["low"] is None or entry["low"] <= 0 <= entry["high"]:
        return "none"
    return "seen" if entry["low"] > 0 else "worse"


def strongest(importance: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the inputs whose effect is beyond chance, the strongest first."""
    return [e["input"] for e in importance if effect_of(e) == "seen"]
