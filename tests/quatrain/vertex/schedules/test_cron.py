"""A cron in the hour that the clocks skip or repeat has a warning, in every zone that has one."""

import datetime

import pytest

from quatrain.vertex.schedules.cron import ClockChange, clock_changes, read_cron
from quatrain.vertex.schedules.plan import ScheduleRequest
from quatrain.vertex.schedules.status import clock_warning

UTC = datetime.UTC
START, END = datetime.datetime(2027, 1, 1, tzinfo=UTC), datetime.datetime(2028, 1, 1, tzinfo=UTC)


def warning(cron, start=START, end=END):
    return clock_warning(ScheduleRequest("toys", read_cron(cron), {}, start, end))


def test_a_time_that_is_skipped_in_spring_and_repeated_in_autumn_is_named_with_both_nights():
    assert warning("TZ=Europe/Berlin 30 2 * * *") == (
        "the clocks of Europe/Berlin change: on Sun 2027-03-28 they skip 02:00 to 03:00, and the "
        "run comes later or not at all; on Sun 2027-10-31 they repeat 02:00 to 03:00, and the run "
        "may come twice; another hour, such as 4 o'clock, avoids it"
    )


@pytest.mark.parametrize(
    ("zone", "fields", "night", "verb"),
    [
        ("America/New_York", "15 2 * * *", "Sun 2027-03-14", "skip 02:00 to 03:00"),
        ("America/New_York", "15 1 * * *", "Sun 2027-11-07", "repeat 01:00 to 02:00"),
        ("America/Santiago", "0 0 * * *", "Sun 2027-09-05", "skip 00:00 to 01:00"),
        ("Europe/London", "59 1 * * 0", "Sun 2027-03-28", "skip 01:00 to 02:00"),
        ("Australia/Lord_Howe", "45 1 * * *", "Sun 2027-04-04", "repeat 01:30 to 02:00"),
        ("Australia/Sydney", "0 2 * * *", "Sun 2027-10-03", "skip 02:00 to 03:00"),
        ("Africa/Cairo", "0,30 0,12 * * *", "Fri 2027-04-30", "skip 00:00 to 01:00"),
        ("Antarctica/Troll", "30 2 * * *", "Sun 2027-10-31", "repeat 01:00 to 03:00"),
    ],
)
def test_each_zone_has_its_own_nights(zone, fields, night, verb):
    assert f"on {night} they {verb}" in warning(f"TZ={zone} {fields}")


@pytest.mark.parametrize(
    "cron",
    [
        "TZ=Europe/Berlin 30 4 * * *",
        "TZ=Europe/Berlin 0 3 * * *",
        "TZ=Europe/Berlin 30 2 * * 1",
        "TZ=Europe/Berlin */10 * * * *",
        "TZ=America/Sao_Paulo 30 2 * * *",
        "30 2 * * *",
    ],
)
def test_a_time_that_comes_once_each_night_has_no_warning(cron):
    assert warning(cron) == ""


def test_only_the_nights_of_the_schedule_count():
    april, june = (datetime.datetime(2027, month, 1, tzinfo=UTC) for month in (4, 6))
    assert warning("TZ=Europe/Berlin 30 2 * * *", april, june) == ""
    assert "2027-03-28" not in warning("TZ=Europe/Berlin 30 2 * * *", april)


def test_a_change_of_half_an_hour_is_found_to_the_minute():
    zone = read_cron("TZ=Australia/Lord_Howe 0 0 * * *").zone
    assert list(clock_changes(zone, START, END)) == [
        ClockChange(
            datetime.datetime(2027, 4, 4, 1, 30), datetime.datetime(2027, 4, 4, 2), skips=False
        ),
        ClockChange(
            datetime.datetime(2027, 10, 3, 2), datetime.datetime(2027, 10, 3, 2, 30), skips=True
        ),
    ]
