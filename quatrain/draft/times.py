"""What looks like a time and is not read as one: the reader of a draft is asked what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from quatrain.components.wording import counted
from quatrain.draft.draft import Entry, Question, TableProfile
from quatrain.draft.profile.column_names import names_something, quoted
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.profile.kinds import EPOCH, EPOCH_S, FEW_ROWS, counts_rows
from quatrain.draft.profile.time_formats import find_formats, what_comes_first
from quatrain.draft.sample.sample import TOLERATED
from quatrain.draft.write import scalar

FAR_DAYS, AHEAD = 3 * 365, 0.1
"""By how many days the times of at most so large a share of the rows lie after all others."""
TRIED = 50
"""How many distinct texts are looked at."""
_MONTHS = (
    "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mär|mrz|mai|okt|dez|jän|fév|avr|jui|aoû|déc|"
    "ene|abr|ago|dic|gen|mag|giu|lug|set|ott|maa|mei|kwi|cze|lip|sie|wrz|paź|lis|gru|sty|lut|fev|"
    "янв|фев|мар|апр|май|июн|июл|авг|сен|окт|ноя|дек"
)
"""How the names of months begin in English and in several other languages."""
_YEAR, _SHORT = r"(?:19|20)\d\d", r"(?:(?:19|20)\d\d|'?\d\d)"
_WORD = rf"(?:(?:{_MONTHS})[^\W\d_]*)\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th|er|\.|º)?"
_MONTH, _NUMBER = r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}
_TIME = re.compile(
    rf"[^\w]*(?:{_YEAR}[-/. ]?(?:Q[1-4]|W\d\d?(?:-?[1-7])?|[0-3]\d\d)"  # quarter, week, ordinal day
    rf"|Q[1-4][-/. ]?{_YEAR}|{_YEAR}[-/.](?:0?[1-9]|1[0-2])|(?:0?[1-9]|1[0-2])[-/.]{_YEAR}"
    rf"|{_WORD}[-/. ,]*{_SHORT}|{_YEAR}[-/. ]{_WORD}"
    rf"|(?:[^\W\d_]+\.?,? )?{_DAY}(?: of| de)?[-/. ]+{_WORD}(?: de)?[-/. ,]+{_SHORT}\b.*"
    rf"|(?:[^\W\d_]+\.?,? )?{_WORD} +{_DAY},?(?: +{_SHORT}\b.*| +\d\d?:\d\d.*)"
    rf"|{_YEAR}\D{{1,3}}{_MONTH}\D{{1,3}}{_NUMBER}(?:\D.*)?"  # a day, and what is no time
    rf"|(?:{_NUMBER}\D{{1,3}}{_MONTH}|{_MONTH}\D{{1,3}}{_NUMBER})\D{{1,3}}{_YEAR}(?:\D.*)?"
    rf"|.*(?<!\d)(?:[01]?\d|2[0-3])[:h.][0-5]\d[:m.][0-5]\d.*|(?:[01]?\d|2[0-3]):[0-5]\d"
    rf"(?: ?[ap]\.?m\.?)?|(?:0?\d|1[0-2]) ?[ap]\.?m\.?)[^\w]*",
    re.IGNORECASE,
)
"""Parts of a time, a day in words, and the hour of a clock, alone or after a day."""


def time_questions(table: TableProfile, features: list[Entry]) -> Iterator[Question]:
    """Asks about columns that may be times: in which form, or how to write them."""
    for column in table.columns.values():
        if column.name == table.target or column.kind in ("empty", "constant"):
            continue
        if column.type in ("timestamp", "date"):
            yield from _far_ahead(table, column)
        elif column.type == "string":
            yield from _of_texts(column)
        elif column.is_number and column.kind != "code":
            yield from _of_numbers(column, features)


def _far_ahead(table: TableProfile, column: ColumnProfile) -> Iterator[Question]:
    """Asks about a few rows whose times lie years after all others, as of 1946 read as 2046.

    No clock says what is still to come: the same table gives the same draft on any day.
    """
    x = np.sort(column.numbers[~np.isnan(column.numbers)]) / 86_400e6
    gaps = np.diff(x)
    if len(x) < FEW_ROWS or not gaps.any():
        return
    at = int(gaps.argmax())
    n_ahead, others = len(x) - 1 - at, np.delete(gaps, at)
    is_far = gaps[at] > FAR_DAYS and gaps[at] > 10 * np.quantile(others[others > 0], 0.95)
    if is_far and n_ahead <= AHEAD * len(x):
        before, first = (np.datetime64(int(day), "D") for day in x[at : at + 2])
        rule = {"far_ahead": f"{quoted(column.name)} >= TIMESTAMP '{first}'"}
        yield Question(
            f"{column.name!r} has {counted(n_ahead, 'row')} from {first} on, and none in the years "
            f"since {before}: are these times right? If not, reject the rows",
            (clean_line(table, "reject", rule),),
        )


def _of_texts(column: ColumnProfile) -> Iterator[Question]:
    values = column.encoded.dictionary.cast(pa.string())
    example = values[0].as_py()
    if column.kind == "time":  # several formats read it
        formats = find_formats(values, TOLERATED)
        yield Question(
            f"{column.name!r} holds times, which are not used: {example!r} may have "
            f"{what_comes_first(formats)} first, and the sample does not show which. Replace its "
            f"line with the one that is right",
            tuple(_declared(column, {"format": form}) for form in formats),
        )
    elif column.n_distinct > 2 and all(map(_TIME.fullmatch, values[:TRIED].to_pylist())):
        yield Question(
            f"{column.name!r} looks like times, as {example!r}, but no format reads them as such. "
            f"Written into the table like 2024-03-01 or 2024-03-01T09:30, they could split the "
            f"rows, and be features by hour, weekday or month"
        )


def _of_numbers(column: ColumnProfile, features: list[Entry]) -> Iterator[Question]:
    """Asks whether a number counts since 1970, under a name that does not say so."""
    x = column.numbers[~np.isnan(column.numbers)]
    if column.n_distinct < FEW_ROWS or names_something(column.name):
        return
    for unit, factor in EPOCH.items():
        start, end = (second * 1e6 / factor for second in EPOCH_S)
        if start > x.min() or x.max() >= end or (column.type == "int" and counts_rows(x)):
            continue
        first, last = (
            (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value * factor)).date()
            for value in (x.min(), x.max())
        )
        text = f"{column.name!r} may count {_UNITS[unit]} since 1970, from {first} to {last}"
        if column.type == "float":
            yield Question(f"{text}: as whole numbers with an epoch, they would be times")
            return
        of_column = [f.value for f in features if f.value["from"] == column.name and f.is_active]
        hour = {"name": f"{of_column[0]['name']}_hour"} if of_column else {"name": "hour"}
        hour |= {"from": column.name, "transform": "cyclic", "part": "hour"}
        yield Question(
            f"{text}: if it does, replace its lines with these, and split by it",
            (
                _declared(column, {"epoch": unit}),
                *(f"# - {scalar(value)}" for value in of_column),
                f"- {scalar(hour)}",
            ),
        )


def clean_line(table: TableProfile, key: str, entry: dict[str, str]) -> str:
    """Returns the line that adds an entry to a key of `clean`; a spec has one such section."""
    goal, is_often_missing = table.goal, bool(np.mean(~table.goal.known) > 0.05)
    if goal.sql or goal.reject or table.sample.headers or table.untrained or is_often_missing:
        return f"{key}: {scalar(entry)}  # below clean"
    return f"clean: {scalar({key: entry})}"


def _declared(column: ColumnProfile, form: dict[str, str]) -> str:
    """Returns the line that declares a column of times."""
    text = form.get("format", "%H")
    type_ = "timestamp" if "%H" in text or "%I" in text else "date"
    return f"{scalar({column.name: {'type': type_, **form}})[1:-1]}  # below columns"
