"""Windows of dated files: the whole days before a run's time, in UTC."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import DATED, DAY, Source
from quatrain.components.times import parse_utc

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
"""What Vertex gives as the schedule time of a run that no schedule started."""


def run_time(at: str, clocks: Iterable[str] = ()) -> datetime.datetime:
    """Returns the time of a run in UTC: `at`, or else the first clock that shows one.

    Args:
        at: An ISO date or time, in UTC unless it has an offset; may be empty.
        clocks: When a run was scheduled, and when it was made, as the pipeline's placeholders
            became. One that is empty, still a placeholder, or of 1970 shows nothing.

    Raises:
        SourceError: A text is no time, or there is none.
    """
    if at:
        return _moment(at)
    for clock in clocks:
        if clock and not clock.startswith("{{") and (moment := _moment(clock)) > EPOCH:
            return moment
    raise SourceError("the time of the run is not known; give it as `at`, for example 2013-07-01")


def window_end(source: Source, at: str) -> datetime.datetime | None:
    """Reads where a source's window is asked to end; none when nothing is asked.

    Raises:
        SourceError: It is no time, or the source has no window.
    """
    if not at:
        return None
    if source.window is None:
        raise SourceError(
            f"--at {at} says where source.window ends, and the spec has no window; leave it out"
        )
    return run_time(at)


def days_before(at: datetime.datetime, window: str) -> list[datetime.date]:
    """Returns the days of a window, oldest first.

    It ends with the day before the run's: the run's own day is not over.

    Args:
        at: The time of the run.
        window: As 90d.
    """
    last = at.astimezone(datetime.UTC).date()
    return [last - datetime.timedelta(days=n) for n in range(int(window[:-1]), 0, -1)]


def fill(uri: str, day: datetime.date) -> str:
    """Returns the uri of one day: {date} is 2013-06-30, {date:%Y/%m/%d} is 2013/06/30."""
    return DATED.sub(lambda found: day.strftime(found["form"] or DAY), uri)


def _moment(text: str) -> datetime.datetime:
    try:
        moment = parse_utc(text.strip())
    except ValueError as error:
        raise SourceError(
            f"the run's time {text!r} is not an ISO date or time; write 2013-07-01 or "
            f"2013-07-01T03:00:00Z"
        ) from error
    if moment < EPOCH:
        raise SourceError(f"the run's time {text!r} is before 1970")
    return moment
