"""Times as people, specs and Google write them: ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo


def parse_time(text: str, zone: tzinfo = UTC) -> datetime:
    """Reads a date or time; one without an offset is in `zone`.

    Raises:
        ValueError: It is neither.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=zone)


def parse_utc(text: str) -> datetime:
    """Reads a date or time as UTC; one without an offset is in UTC already.

    Raises:
        ValueError: It is neither, or in UTC it is outside the years 1 to 9999.
    """
    try:
        return parse_time(text).astimezone(UTC)
    except OverflowError as error:  # as 9999-12-31T23:00-12:00
        raise ValueError(f"{text!r} is outside the years 1 to 9999 in UTC") from error
