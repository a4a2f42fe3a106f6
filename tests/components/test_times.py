"""Times: ISO 8601, in UTC unless they say otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from quatrain.components.times import parse_time, parse_utc

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
def test_what_is_no_time_in_utc_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|outside the years"):
        parse_utc(text)
