"""Finds the format in which a column of text writes times, as the tools of people write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.specification.time_format import DIRECTIVE, DIRECTIVES
from quatrain.components.table.values.conversion import from_text
from quatrain.trainer.features.text_format import Spelling

_WEEKDAYS = ("", "%a, ", "%a ", "%A, ", "%A ")
_LONG_DAYS = (
    *(f"%Y{s}%m{s}%d" for s in "-/. :"),
    *("%Y年%m月%d日", "%Y년 %m월 %d일", "%Y. %m. %d.", "%Y. %m. %d"),
    *(f"{a}{s}{b}{s}%Y" for s in "/.-" for a, b in (("%d", "%m"), ("%m", "%d"))),
)
"""Days of numbers, with four digits for the year."""
_DAYS = (
    *_LONG_DAYS,
    *(f"{a}{s}{b}{s}%y" for s in "/.-" for a, b in (("%d", "%m"), ("%m", "%d"))),
    *(f"%y{s}%m{s}%d" for s in "/.-"),
    *(
        f"%d{s}{m}{s}{y}"
        for m in ("%b", "%B")
        for s in ("-", " ", "/", ".", "")
        for y in ("%Y", "%y")
    ),
    *(f"{m} %d{c} %Y" for m in ("%b", "%B") for c in (",", "")),
    *(f"%d{c} %Y" for m in ("%b", "%B") for c in (f". {m}", f" {m},")),
    *(f"{m}-%d-%Y" for m in ("%b", "%B")),
    *("%Y-%b-%d", "%Y %b %d", "%Y/%b/%d", "%Y%m%d"),
)
_JOINERS = (" ", "T", ", ", ":", "-", "_", ";", " | ", " - ", " at ", " um ", " à ")
_HOURS = (
    *("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%H:%M:%S,%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p"),
    *("%I:%M:%S%p", "%I:%M:%S.%f %p", "%I %p", "%I%p", "%H.%M", "%H.%M.%S", "%Hh%M", "%H%M%S"),
    *("%Hh", "%H時%M分", "%H時%M分%S秒", "%H-%M-%S", "%H_%M_%S"),
    *("%H.%M.%S.%f", "%I.%M.%S.%f %p", "%I.%M.%S %p", "%I.%M %p", "%H:%M:%S:%f"),
)
_ZONES = ("", " Uhr", " UTC", " GMT", "UTC", "%z", " %z", " %z (UTC)", " %z UTC", " GMT%z", " %Z")
_OTHERS = (
    *("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %Z %Y", "%a %b %d %H:%M:%S %z %Y"),
    *(f"{hour} {day}" for hour in _HOURS[:2] for day in _LONG_DAYS),
    *(f"{day} %H" for day in _LONG_DAYS),
    *("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d %H%M", "%Y%m%dT%H%M", "%Y%m%dT%H%M%z"),
)
"""Formats that do not begin with the day: of ctime and date, of Twitter, and the hour first."""
_FIRST = 5
"""How many values must suggest a format before all are tried: the first may be an odd one."""
_APART = 3
"""How many times wider than the other reading days must lie apart to be no years, or no days."""
_MANY = 20
"""In fewer values, nothing proves that a first number is a year."""
_AROUND = re.compile(
    r"(?P<first>[\[({<'\"|]*)(?P<time>\w.*?\w)(?P<last>[\])}>'\"|,;.]*| \([^)]*\))"
)
"""Brackets or quotes around a time, or the name of its zone after it."""
_NUMERIC = re.compile(r"%[ymdY]")


def find_formats(values: pa.Array, tolerated: float) -> list[str]:
    """Returns formats in which nearly all texts are times, each of which means other times.

    A point between numbers is taken for day.month.year, and otherwise the first format that people
    use most often stands for those that mean the same.

    Args:
        values: Distinct texts.
        tolerated: The share of texts that may be no time.
    """
    candidates = dict.fromkeys(
        f for value in values.slice(0, _FIRST).to_pylist() for f in _candidates(value)
    )
    meanings: list[tuple[str, pa.Array]] = []
    for form in candidates:
        first, n_first = _read(values.slice(0, 50), form)
        if n_first < (1 - tolerated) * len(first) - 1:
            continue
        times, n_times = _read(values, form)
        if n_times >= (1 - tolerated) * len(values) and not any(
            times.equals(t) for _, t in meanings
        ):
            meanings.append((form, times))
    formats = [form for form, _ in _by_year(meanings)]
    pointed = [form for form in formats if "%d.%m." in form]
    return pointed or formats


def _by_year(meanings: list[tuple[str, pa.Array]]) -> list[tuple[str, pa.Array]]:
    """Returns the formats whose years are close together: days read as years lie decades apart.

    In a few values, days may be close together by chance, so no other reading gives way to years
    that stand first, which are rare.
    """
    begins_with_year = [form.lstrip("%aA, ").startswith("y") for form, _ in meanings]
    if not any(begins_with_year):
        return meanings
    spans = []
    for _, times in meanings:
        bounds = pc.min_max(times.cast(pa.int64())).as_py()
        spans.append(bounds["max"] - bounds["min"])
    is_few = len(meanings[0][1]) < _MANY
    return [
        meaning
        for meaning, span, is_first in zip(meanings, spans, begins_with_year, strict=True)
        if span <= _APART * min(spans) or (is_few and not is_first)
    ]


def _read(values: pa.Array, form: str) -> tuple[pa.Array, int]:
    """Returns the times of texts as the pipeline reads them, and how many there are."""
    times, _ = from_text("", values.cast(pa.binary()), "timestamp", Spelling(form))
    return times, len(times) - times.null_count


def _candidates(value: str) -> Iterator[str]:
    """Yields the formats that a text fits, letter by letter, without what stands around it."""
    value = re.sub(" {2,}", " ", value.strip(" \t"))
    if not 6 <= len(value) <= 60 or not re.search(r"\d", value):
        return
    around = _AROUND.fullmatch(value)
    if around and around["time"] != value:
        first, last = (around[side].replace("%", "%%") for side in ("first", "last"))
        yield from (f"{first}{form}{last}" for form in _candidates(around["time"]))
    yield from (form for form in _OTHERS if _matched(form, value) == len(value))
    for weekday in _WEEKDAYS:
        for day in _DAYS:
            end = _matched(weekday + day, value)
            if not end:
                continue
            for hour in ("", *(joiner + hour for joiner in _JOINERS for hour in _HOURS)):
                after = _matched(hour, value[end:])
                if after is None:
                    continue
                rest = value[end + after :]
                for zone in _ZONES if hour else ("",):
                    if _matched(zone, rest) == len(rest):
                        yield weekday + day + hour + zone


def _matched(form: str, text: str) -> int | None:
    """Returns how many characters at the start of a text fit a format; None if it does not fit."""
    match = _compiled(form).match(text)
    return match.end() if match else None


@cache
def _compiled(form: str) -> re.Pattern[str]:
    pattern, at = "", 0
    for found in DIRECTIVE.finditer(form):
        pattern += re.escape(form[at : found.start()]) + DIRECTIVES[found[1]]
        at = found.end()
    return re.compile(pattern + re.escape(form[at:]))


def what_comes_first(formats: list[str]) -> str:
    """Returns the parts of a day with which formats begin, in words."""
    names = {"d": "the day", "m": "the month", "y": "the year", "Y": "the year"}
    firsts = (_NUMERIC.search(form) for form in formats)
    parts = list(dict.fromkeys(names[first[0][1]] for first in firsts if first))
    return " or ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def is_epoch_in_nanoseconds(values: pa.Array, start_s: int, end_s: int) -> bool:
    """Whether all texts are whole numbers of nanoseconds between two times."""
    if not len(values) or not pc.all(pc.match_substring_regex(values, r"^\d{18,19}$")).as_py():
        return False
    seconds = np.array([int(v) for v in values.to_pylist()], np.float64) / 1e9
    return bool(seconds.min() >= start_s and seconds.max() < end_s)
