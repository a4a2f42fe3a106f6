"""Cron expressions and times as the command line takes them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from quatrain.components.errors import QuatrainError
from quatrain.components.wording import counted

_CRON = re.compile(r"(?:(?:CRON_)?TZ=(?P<zone>\S+)\s+)?(?P<fields>\S+(?:\s+\S+)*)")
_FIELD = re.compile(r"[0-9A-Za-z*/,-]+")


class ScheduleError(QuatrainError):
    """The schedule is wrong or cannot be applied; the message says what to do."""


@dataclass(frozen=True)
class ClockChange:
    """A night in which the clocks of a zone skip or repeat times.

    Attributes:
        begin: The first local time that they skip or repeat, without a zone.
        end: The first local time after it that is again once a day.
        skips: Whether the times are skipped; otherwise they come twice.
    """

    begin: datetime.datetime
    end: datetime.datetime
    skips: bool


@dataclass(frozen=True)
class Cron:
    """A checked cron expression.

    Attributes:
        text: The expression with its zone, in Vertex's form.
        fields: Minute, hour, day of month, month and day of week.
        zone: The time zone; UTC when the expression names none.
    """

    text: str
    fields: str
    zone: ZoneInfo

    def following(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        """Yields the scheduled times after a moment, in the zone of the expression."""
        from cronsim import CronSim

        yield from CronSim(self.fields, after.astimezone(self.zone))

    def clock_changes(
        self, start: datetime.datetime, end: datetime.datetime
    ) -> Iterator[ClockChange]:
        """Yields the nights between two moments in which a scheduled time is skipped or repeated.

        A schedule of every hour has none: it goes on from hour to hour.
        """
        from cronsim import CronSim

        if self.fields.split()[1] == "*":
            return
        for change in clock_changes(self.zone, start, end):
            before = change.begin - datetime.timedelta(minutes=1)
            if next(CronSim(self.fields, before)) < change.end:
                yield change


def clock_changes(
    zone: datetime.tzinfo, start: datetime.datetime, end: datetime.datetime
) -> Iterator[ClockChange]:
    """Yields the changes of a zone's clocks between two moments."""
    step, moment = datetime.timedelta(hours=6), start.astimezone(datetime.UTC)
    moment = moment.replace(second=0, microsecond=0)
    while moment < end:
        before, after = _offset(zone, moment), _offset(zone, moment + step)
        if before != after:
            low, high = moment, moment + step
            while high - low > datetime.timedelta(minutes=1):
                middle = low + datetime.timedelta(minutes=(high - low).seconds // 60 // 2)
                low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
            local = high.replace(tzinfo=None)
            first, last = sorted((local + before, local + after))
            yield ClockChange(first, last, skips=after > before)
        moment += step


def _offset(zone: datetime.tzinfo, moment: datetime.datetime) -> datetime.timedelta:
    return moment.astimezone(zone).utcoffset() or datetime.timedelta()


def read_cron(text: str) -> Cron:
    """Reads a cron expression as Vertex does: five fields after an optional TZ=ZONE.

    Raises:
        ScheduleError: A field is wrong, or the zone is unknown.
    """
    from cronsim import CronSim, CronSimError

    match = _CRON.fullmatch(text.strip())
    example = "write it as 'TZ=Europe/Berlin 0 3 * * 1': minute, hour, day, month, weekday"
    fields = match["fields"].split() if match else []
    if not match or len(fields) != 5:
        raise ScheduleError(
            f"--cron {text!r} has {counted(len(fields), 'field')}, not 5; {example}"
        )
    try:
        zone = ZoneInfo(match["zone"] or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            f"--cron {text!r}: unknown time zone {match['zone']!r}; choose a name of the IANA "
            f"database, for example Europe/Berlin"
        ) from error
    try:
        # CronSim also accepts L and #, which Vertex refuses.
        bad = next((f for f in fields if not _FIELD.fullmatch(f) or f.startswith("L")), None)
        if bad is not None:
            raise CronSimError(f"Bad field {bad!r}")
        CronSim(" ".join(fields), datetime.datetime.now(zone))
    except CronSimError as error:
        raise ScheduleError(f"--cron {text!r}: {str(error).lower()}; {example}") from error
    prefix = f"TZ={match['zone']} " if match["zone"] else ""
    return Cron(prefix + " ".join(fields), " ".join(fields), zone)


def read_time(option: str, text: str, zone: datetime.tzinfo) -> datetime.datetime | None:
    """Reads a date or a time, in the schedule's zone unless it has an offset.

    Returns:
        None when the text is empty.

    Raises:
        ScheduleError: The text is neither a date nor a time.
    """
    if not text:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ScheduleError(
            f"{option} {text!r} is no date or time; write 2027-01-31 or 2027-01-31T06:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
