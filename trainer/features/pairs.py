"""Transforms of two numbers or two times: their difference and their ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .base import NUMBERS, TIMES
from .numbers import Scaled, SmoothlyClipped

Unit = Literal["second", "minute", "hour", "day", "week"]
SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0, "week": 604_800.0}


@dataclass(frozen=True, kw_only=True)
class Difference(Scaled):
    """The first column minus the second, standardized; the difference of two times has a `unit`.

    Missing where either column is missing.
    """

    accepts = NUMBERS
    n_columns = (2, 2)
    is_column = False
    transform: Literal["difference"] = "difference"
    unit: Unit | None = None

    def check(self) -> str | None:
        """Checks for two times and a unit, or two numbers and none."""
        n_times = sum(t in TIMES for t in self.types)
        if n_times == 1:
            kinds = " and ".join(self.types)
            return f"a difference is one of two times or of two numbers, not of {kinds}"
        if n_times and self.unit is None:
            return f"the difference of two times takes `unit`: {', '.join(SECONDS)}"
        if not n_times and self.unit is not None:
            return "the difference of two numbers takes no `unit`"
        return super().check()

    def value(self, raw: Any, xp: Any) -> Any:
        """Returns the difference in each row, `[N] float64`, NaN where missing."""
        first, second = (raw[c] for c in self.columns)
        return (first - second) / SECONDS[self.unit or "second"]


@dataclass(frozen=True, kw_only=True)
class Ratio(SmoothlyClipped):
    """The first column divided by the second, on a robust scale.

    Missing where either column is missing, and where the second is 0. It is scaled by quartiles:
    a few small divisors make such large ratios that a standard deviation would say little of the
    other rows.
    """

    accepts = NUMBERS - TIMES
    n_columns = (2, 2)
    is_column = False
    transform: Literal["ratio"] = "ratio"

    def value(self, raw: Any, xp: Any) -> Any:
        """Returns the ratio in each row, `[N] float64`; a division by 0 is not finite."""
        first, second = (raw[c] for c in self.columns)
        return first / second
