"""Times: ISO 8601, in UTC unless they say otherwise."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from quatrain.components.errors import SourceError
from quatrain.components.times import parse_time, parse_utc, run_time

NINE = datetime(2013, 7, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2013-07-01T09:00", "2013-07-01T09:00:00Z", "2013-07-01 18:00+09:00"]
)
def test_one_moment_in_several_texts(text: str) -> None:
    assert parse_utc(text) == NINE
    assert parse_utc(text).utcoffset() == timedelta(0)


def test_a_time_without_an_offset_is_in_the_zone_that_is_named() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert parse_time("2013-07-01T18:00", tokyo) == NINE
    assert parse_time("2013-07-01T09:00Z", tokyo) == NINE


@pytest.mark.parametrize("text", ["", "yesterday", "9999-12-31T23:00:00-12:00"])
def test_a_text_that_is_no_time_in_utc_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|within the years"):
        parse_utc(text)


def test_the_option_precedes_the_schedule_and_the_schedule_the_creation() -> None:
    scheduled, created = "2013-07-01T03:00:00Z", "2013-07-02T00:00:00.123456789Z"
    assert run_time("2013-06-01", (scheduled, created)) == datetime(2013, 6, 1, tzinfo=UTC)
    assert run_time("", (scheduled, created)) == datetime(2013, 7, 1, 3, tzinfo=UTC)
    for blank in ("", "1970-01-01T00:00:00Z", "{{$.pipeline_job_schedule_time_utc}}"):
        assert run_time("", (blank, created)).date() == date(2013, 7, 2)


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        ("yesterday", "'yesterday' is not an ISO date or time; write 2013-07-01"),
        ("0001-01-01", "must be from 1970 on"),
        ("9999-12-31T23:00:00-12:00", "is not an ISO date"),
        ("", "the time of the run is not known"),
    ],
)
def test_a_time_of_a_run_that_cannot_be_read_is_one_sentence(at: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        run_time(at, ("",))
