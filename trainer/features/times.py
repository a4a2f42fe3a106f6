"""Transforms of times: their position in a cycle, and parts of the calendar as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from .base import (
    NUMBERS,
    TIMES,
    Engineered,
    Feature,
    Raw,
    Tensors,
    tensorflow_arithmetic,
)
from .numbers import Scaled
from .statistics import ColumnStatistics

if TYPE_CHECKING:
    import tensorflow as tf

DAY_S = 86_400.0
FIRST_S, LAST_S = -62_135_596_800.0, 253_402_300_800.0
"""Seconds since 1970 of the start of year 1 and of the end of year 9999, UTC."""
Part = Literal["hour", "day_of_week", "month"]
CalendarPart = Literal[
    "year", "month", "day", "hour", "minute", "second", "day_of_week", "day_of_year"
]


@dataclass(frozen=True, kw_only=True)
class Cyclic(Feature):
    """Sine and cosine of a position in a cycle; both are 0 where the value is missing.

    The cycle of a number is its `period`, which starts at 0. The cycle of a time is a `part` in
    UTC: the hour with its minutes (0 to 24), the day of the week (Monday is 0) or the month
    (January is 0).
    """

    accepts = NUMBERS
    transform: Literal["cyclic"] = "cyclic"
    period: float | None = None
    part: Part | None = None

    def check(self) -> str | None:
        """Checks that a number has a period, and a time a part."""
        is_time = bool(self.types) and self.types[0] in TIMES
        if is_time and (self.part is None or self.period is not None):
            return "a time takes `part`: hour, day_of_week or month"
        if not is_time and (self.period is None or self.part is not None or self.period <= 0):
            return "a number takes `period`, the length of the cycle, above 0"
        return None

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Returns the feature as it is: nothing is fitted."""
        return self

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """Two numbers in [-1, 1]."""
        return (Engineered(f"{self.name}_sin"), Engineered(f"{self.name}_cos"))

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Returns sine and cosine, `[N] float32` each."""
        pair = self._on_circle(raw[self.columns[0]], np)
        return {name: column.astype(np.float32) for name, column in pair.items()}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same with tensors."""
        import tensorflow as tf

        pair = self._on_circle(raw[self.columns[0]], tensorflow_arithmetic())
        return {name: tf.cast(column, tf.float32) for name, column in pair.items()}

    def _on_circle(self, x: Any, xp: Any) -> dict[str, Any]:
        known = xp.isfinite(x)
        angle = self._turns(xp.where(known, x, 0.0), xp) * (2 * np.pi)
        return {
            f"{self.name}_sin": xp.where(known, xp.sin(angle), 0.0),
            f"{self.name}_cos": xp.where(known, xp.cos(angle), 0.0),
        }

    def _turns(self, x: Any, xp: Any) -> Any:
        """Returns the position as a share of the cycle, in [0, 1)."""
        if self.part == "hour":
            x, period = x / 3600.0, 24.0
        elif self.part == "day_of_week":
            x, period = _day_of_week(xp.floor(x / DAY_S), xp), 7.0
        elif self.part == "month":
            x, period = civil(xp.floor(x / DAY_S), xp)[1] - 1.0, 12.0
        else:
            period = cast(float, self.period)
        turns = x / period
        return turns - xp.floor(turns)


@dataclass(frozen=True, kw_only=True)
class Calendar(Scaled):
    """A part of a time as a number, in UTC, standardized.

    The parts are year, month (1-12), day (1-31), hour (0-23), minute, second (with its fraction),
    day of the week (Monday is 0) and day of the year (1-366). A time outside the years 1 to 9999
    counts as missing.
    """

    accepts = TIMES
    is_column = False
    transform: Literal["calendar"] = "calendar"
    part: CalendarPart

    def value(self, raw: Any, xp: Any) -> Any:
        """Returns the part of each time, `[N] float64`, NaN where missing."""
        x = raw[self.columns[0]]
        known = (x >= FIRST_S) & (x < LAST_S)
        return xp.where(known, self._part(xp.where(known, x, 0.0), xp), np.nan)

    def _part(self, x: Any, xp: Any) -> Any:
        """Returns the part of finite times, `[N] float64`."""
        day = xp.floor(x / DAY_S)
        if self.part in ("hour", "minute", "second"):
            return _of_clock(self.part, x - day * DAY_S, xp)
        if self.part == "day_of_week":
            return _day_of_week(day, xp)
        year, month, day_of_month = civil(day, xp)
        if self.part == "day_of_year":
            return day - _new_year(year, xp) + 1.0
        return {"year": year, "month": month, "day": day_of_month}[self.part]


def _of_clock(part: str, of_day: Any, xp: Any) -> Any:
    """Returns the hour, minute or second of a time of day in seconds since midnight."""
    unit, count = {"hour": (3600.0, 24.0), "minute": (60.0, 60.0), "second": (1.0, 60.0)}[part]
    if part == "second":
        return of_day - xp.floor(of_day / count) * count
    whole = xp.floor(of_day / unit)
    return whole - xp.floor(whole / count) * count


def _day_of_week(day: Any, xp: Any) -> Any:
    """Returns the day of the week, Monday is 0, of a day since 1970-01-01, which was a Thursday."""
    return day + 3.0 - xp.floor((day + 3.0) / 7.0) * 7.0


def _new_year(year: Any, xp: Any) -> Any:
    """Returns the first day of a year, in days since 1970-01-01."""
    before = year - 1.0
    leaps = xp.floor(before / 4.0) - xp.floor(before / 100.0) + xp.floor(before / 400.0)
    return before * 365.0 + leaps - 719_162.0  # days of the 1969 years before 1970


def civil(day: Any, xp: Any) -> tuple[Any, Any, Any]:
    """Returns year, month (1-12) and day (1-31) of a day since 1970-01-01.

    Howard Hinnant's `civil_from_days` ("chrono-compatible low-level date algorithms", 2013), in
    whole float64 numbers, which numpy and TensorFlow compute alike. Its years start in March, so
    the leap day is their last.
    """
    day = day + 719_468.0  # days since 0000-03-01
    era = xp.floor(day / 146_097.0)  # 400 years
    of_era = day - era * 146_097.0
    leap = xp.floor(of_era / 1_460.0) - xp.floor(of_era / 36_524.0) + xp.floor(of_era / 146_096.0)
    year = xp.floor((of_era - leap) / 365.0)
    of_year = of_era - (365.0 * year + xp.floor(year / 4.0) - xp.floor(year / 100.0))
    from_march = xp.floor((5.0 * of_year + 2.0) / 153.0)
    of_month = of_year - xp.floor((153.0 * from_march + 2.0) / 5.0) + 1.0
    turned = xp.floor((from_march + 2.0) / 12.0)  # 1 in January and February
    return year + era * 400.0 + turned, from_march + 3.0 - 12.0 * turned, of_month
