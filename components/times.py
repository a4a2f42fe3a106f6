"""Times as people, specs and Google write them, and the time of a run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

from quatrain.components.errors import SourceError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The schedule time that Vertex fills in for a run that no schedule started."""


def parse_time(text: str, zone: tzinfo = UTC) -> datetime:
    """Reads an ISO 8601 date or time; one without an offset is in `zone`.

    Raises:
        ValueError: The text is neither.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=zone)


def parse_utc(text: str) -> datetime:
    """Reads an ISO 8601 date or time as UTC; one without an offset is in UTC already.

    Raises:
        ValueError: The text is neither, or its time in UTC is outside the years 1 to 9999.
    """
    try:
        return parse_time(text).astimezone(UTC)
    except OverflowError as error:  # for example 9999-12-31T23:00-12:00
        raise ValueError(f"{text!r} must be within the years 1 to 9999 in UTC") from error


def run_time(at: str, clocks: Iterable[str] = ()) -> datetime:
    """Returns the time of a run in UTC: `at`, or else the first clock that shows a time.

    Args:
        at: An ISO date or time, in UTC unless it has an offset; may be empty.
        clocks: When the run was scheduled and when it was created, as Vertex fills in the
            pipeline's placeholders. A clock that is empty, still a placeholder, or at 1970 does
            not show a time.

    Raises:
        SourceError: A text is not a time, or no clock shows one.
    """
    if at:
        return _run_time(at)
    for clock in clocks:
        if clock and not clock.startswith("{{") and (moment := _run_time(clock)) > EPOCH:
            return moment
    raise SourceError("the time of the run is not known; give it as `at`, for example 2013-07-01")


def window_end(window: str | None, at: str) -> datetime | None:
    """Returns the end of a source's window, from the option `--at`; None if that is empty.

    Raises:
        SourceError: The option is not a time, or the source has no window.
    """
    if not at:
        return None
    if window is None:
        raise SourceError(
            f"--at {at} says where source.window ends, and the spec has no window; leave it out"
        )
    return run_time(at)


def _run_time(text: str) -> datetime:
    """Reads the time of a run; one without an offset is in UTC.

    Raises:
        SourceError: The text is not a time, or is before 1970.
    """
    try:
        moment = parse_utc(text.strip())
    except ValueError as error:
        raise SourceError(
            f"the run's time {text!r} is not an ISO date or time; write 2013-07-01 or "
            f"2013-07-01T03:00:00Z"
        ) from error
    if moment < EPOCH:
        raise SourceError(f"the run's time {text!r} must be from 1970 on")
    return moment
