"""The formats of times: what init finds, the pipeline reads, and it reads the same times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quatrain.components.specification.columns import Column
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.profile.columns import profile_columns
from quatrain.draft.profile.nulls import find_nulls
from quatrain.draft.profile.time_formats import find_formats
from quatrain.draft.sample.sampling import draw_sample
from tests.components.conftest import Read

TIMES = [datetime(2024, 5, 10, 10, 15, 19) + timedelta(days=i, seconds=4001 * i) for i in range(25)]


def profile_of(folder: Path, values: list[str], name: str = "made") -> ColumnProfile:
    path = folder / "t.csv"
    path.write_text(f"{name};x\n" + "".join(f"{value};1\n" for value in values), encoding="utf-8")
    sample = draw_sample(str(path))
    return profile_columns(sample, find_nulls(sample, "x").spellings)[name]


@pytest.mark.parametrize(
    ("written", "declared"),
    [
        ("%Y-%m-%d %H:%M:%S UTC", None),
        ("%Y-%m-%d %H:%M:%S GMT", None),
        ("%Y-%m-%d %H:%M:%S CEST", "%Y-%m-%d %H:%M:%S %Z"),
        ("%Y-%m-%d %H:%M:%S +0200", "%Y-%m-%d %H:%M:%S %z"),
        ("%d-%b-%y", None),
        ("%d-%b-%Y %H:%M", None),
        ("%d %B %Y", None),
        ("%B %d, %Y", None),
        ("%d/%m/%y", None),
        ("%m/%d/%y %I:%M %p", None),
        ("%d.%m.%y %H:%M", None),
        ("%m/%d/%Y %I:%M:%S %p", None),
        ("%d/%b/%Y:%H:%M:%S +0000", "%d/%b/%Y:%H:%M:%S %z"),
        ("%a, %d %b %Y %H:%M:%S +0000", "%a, %d %b %Y %H:%M:%S %z"),
        ("%a, %d %b %Y %H:%M:%S GMT", None),
        ("%a %b %d %H:%M:%S %Y", None),
        ("%a %b %d %H:%M:%S +0000 %Y", "%a %b %d %H:%M:%S %z %Y"),
        ("%Y/%m/%d %H:%M:%S,%f", None),
        ("%Y%m%dT%H%M%SZ", "%Y%m%dT%H%M%S%z"),
        ("%Y%m%d%H%M%S", None),
        ("%H:%M:%S %d.%m.%Y", None),
        ("%d.%m.%Y, %H:%M", None),
        ("[%d/%b/%Y:%H:%M:%S +0000]", "[%d/%b/%Y:%H:%M:%S %z]"),  # Apache, with its brackets
        ("%Y:%m:%d %H:%M:%S", None),  # EXIF
        ("%Y-%m-%d-%H.%M.%S.%f", None),  # DB2
        ("%d-%b-%y %I.%M.%S.%f %p", None),  # Oracle
        ("%Y-%m-%d %H:%M:%S.%f +0000 UTC", "%Y-%m-%d %H:%M:%S.%f %z UTC"),  # Go
        ("%a %b %d %Y %H:%M:%S GMT+0000 (UTC)", "%a %b %d %Y %H:%M:%S GMT%z (UTC)"),  # JavaScript
        ("%Y年%m月%d日", None),
        ("%Y年%m月%d日 %H時%M分%S秒", None),
        ("%Y년 %m월 %d일", None),
        ("%Y. %m. %d.", None),
        ("%d.%m.%Y %H:%M Uhr", None),
        ("%d.%m.%Y um %H:%M", None),
        ("%d.%m.%Y | %H:%M:%S", None),
        ("%Y%m%d %H%M", None),
        ("%Y%m%dT%H%MZ", "%Y%m%dT%H%M%z"),
        ("%Y-%m-%d_%H-%M-%S", None),
        ("%Y-%m-%d %Hh%M", None),
        ("'%Y-%m-%d'", None),
    ],
)
def test_a_format_is_found_and_read_as_the_same_times(
    tmp_path: Path, written: str, declared: str | None
) -> None:
    values = [time.strftime(written) for time in TIMES]
    column = profile_of(tmp_path, values)
    has_hour = "%H" in written or "%I" in written
    type_ = "timestamp" if has_hour else "date"
    assert column.declared == {"type": type_, "format": declared or written}
    offset = timedelta(hours=2 if written.endswith(("CEST", "+0200")) else 0)
    expected = [
        (time - offset).replace(second=time.second if "%S" in written else 0) for time in TIMES
    ]
    assert column.values.to_pylist() == (expected if has_hour else [t.date() for t in TIMES])
    # What init declares is a column of a spec, and the pipeline reads the same values by it.
    spelling = Column.model_validate(column.declared).spelling
    source = draw_sample(str(tmp_path / "t.csv")).source
    result = Read(source, {"made": type_}, spellings={"made": spelling})
    assert ([r[0] for r in result.rows], result.rejected) == (column.values.to_pylist(), [])


@pytest.mark.parametrize(
    ("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]
)
def test_an_epoch_of_any_unit_is_found(tmp_path: Path, unit: str, factor: int) -> None:
    values = [str(int(time.replace(tzinfo=UTC).timestamp()) * factor) for time in TIMES]
    column = profile_of(tmp_path, values, "created_at")
    assert column.declared == {"type": "timestamp", "epoch": unit}
    assert column.values.to_pylist() == TIMES


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["03/04/2013", "01/02/2014"], "the day or the month first"),
        (["03-04-13", "01-02-14"], "the day, the month or the year first"),
        (["03-04-13", "01-31-14"], ""),
        ([f"{day}-03-13" for day in range(1, 29)], ""),
        ([f"{13 + day // 28}-03-{day % 28 + 1}" for day in range(56)], ""),
        (["3.4.13", "1.2.14"], ""),
    ],
)
def test_what_the_sample_does_not_show_is_left_open(
    tmp_path: Path, values: list[str], note: str
) -> None:
    column = profile_of(tmp_path, values)
    assert column.kind == "time"
    assert note in column.note
    assert (column.declared == "string") == bool(note)


def test_two_digit_years_in_the_name_of_a_month_are_a_time_and_no_crash(tmp_path: Path) -> None:
    column = profile_of(tmp_path, [f"{i}-Jan-15" for i in range(10, 30)], "d")
    assert column.declared == {"type": "date", "format": "%d-%b-%y"}
    assert column.values[0].as_py().isoformat() == "2015-01-10"


@pytest.mark.parametrize(
    "values", [["10-x-15", "11-y-16"], ["99/99/2013", "98/97/2014"], ["1.2.3.4", "5.6.7.8"]]
)
def test_what_no_cell_of_converts_is_no_time(tmp_path: Path, values: list[str]) -> None:
    assert profile_of(tmp_path, values * 10).kind != "time"


FORMATS = st.sampled_from(
    [
        *(
            "%Y-%m-%d %H:%M:%S UTC",
            "%d-%b-%Y %H:%M:%S",
            "%d %B %Y %H:%M:%S",
            "%b %d, %Y %I:%M:%S %p",
        ),
        *("%d/%m/%y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%a, %d %b %Y %H:%M:%S %z"),
        *("%a %b %d %H:%M:%S %Y", "%Y/%m/%d %H:%M:%S,%f", "%d.%m.%Y %H:%M:%S %z"),
    ]
)


@settings(max_examples=60, deadline=None)
@example(
    form="%d/%m/%y %H:%M:%S", times=[datetime(2001, 1, 31)], hours=0
)  # as years, the days lie closer together
@given(
    form=FORMATS,
    times=st.lists(
        st.datetimes(datetime(1970, 1, 2), datetime(2068, 1, 1)), min_size=1, max_size=9
    ),
    hours=st.integers(-12, 14),
)
def test_any_times_are_read_in_the_format_that_is_found(
    form: str, times: list[datetime], hours: int
) -> None:
    if "%f" not in form:
        times = [time.replace(microsecond=0) for time in times]
    zone = timezone(timedelta(hours=hours)) if "%z" in form else UTC
    telling = datetime(2001, 11, 30, 23, 59, 58)  # no day of it can be a month
    times = [telling, *times]
    values = [time.replace(tzinfo=zone).strftime(form) for time in times]
    distinct = pa.array(list(dict.fromkeys(values)))
    formats = find_formats(distinct, 0.0)
    # Of two digits, the day may be a year as well; the others leave nothing open.
    assert form in formats if "%y" in form else formats == [form]
    column: Any = Column.model_validate({"type": "timestamp", "format": form})
    from quatrain.components.table.values.conversion import from_text

    read, faults = from_text(
        "a", pa.array([v.encode() for v in values]), "timestamp", column.spelling
    )
    assert not any(len(fault.rows) for fault in faults)
    expected = [t.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None) for t in times]
    assert read.to_pylist() == expected
