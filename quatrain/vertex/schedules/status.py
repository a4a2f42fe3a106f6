"""How a schedule is doing: its last run, its last start, the runs it missed and those to come."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quatrain.components.table.files import days_before
from quatrain.components.wording import counted
from quatrain.vertex.schedules.cron import ScheduleError
from quatrain.vertex.schedules.plan import UTC, Schedule, ScheduleRequest, from_json, in_words

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex

MOST_MISSED = 1000
"""Missed runs are counted up to here: a cron of every minute misses as many in 17 hours."""

_ERROR = re.compile(
    r"\b(ABORTED|ALREADY_EXISTS|CANCELLED|DATA_LOSS|DEADLINE_EXCEEDED|FAILED_PRECONDITION|INTERNAL|"
    r"INVALID_ARGUMENT|NOT_FOUND|OUT_OF_RANGE|PERMISSION_DENIED|RESOURCE_EXHAUSTED|"
    r"UNAUTHENTICATED|UNAVAILABLE|UNIMPLEMENTED|UNKNOWN)\b"
)
"""The name of an error of Google's APIs (google/rpc/code.proto)."""


@dataclass(frozen=True)
class ScheduleStatus:
    """A schedule, and how its last run and its last start went.

    Attributes:
        schedule: The schedule.
        last_run: The last job that it started, in the API's JSON form; empty before the first.
    """

    schedule: Schedule
    last_run: Mapping[str, Any]

    @classmethod
    def of(cls, vertex: Vertex, schedule: Schedule) -> ScheduleStatus:
        """Reads the status; of a failed run also why it failed."""
        last_run = vertex.last_run(schedule.name)
        if _state(last_run) == "FAILED":  # the list has no errors
            last_run = vertex.get_job(last_run["name"].rsplit("/", 1)[1])
        return cls(schedule, last_run)

    @property
    def failed(self) -> bool:
        """Whether the last run failed."""
        return _state(self.last_run) == "FAILED"

    @property
    def refusal(self) -> str:
        """Why the last run that came due was not started; empty if it was.

        The reference leaves the form of the service's answer open. So an answer is a refusal if it
        names an error of the APIs, or if no run has been made since the time that it is about.
        """
        answer = self.schedule.value.get("lastScheduledRunResponse", {})
        text = str(answer.get("runResponse", "")).strip()
        due = answer.get("scheduledRunTime")
        if not text or not due:
            return ""
        created = self.last_run.get("createTime")
        started = created and from_json(created) >= from_json(due)
        if (started and not _ERROR.search(text)) or text == "OK":
            return ""
        return f"the run due at {in_words(from_json(due))} was not started: {text}"

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look at the schedule."""
        return self.failed or bool(self.refusal)

    def lines(self) -> Iterator[str]:
        """Yields the lines that `quatrain schedule list` prints."""
        value = self.schedule.value
        following = value.get("nextRunTime")
        is_active = self.schedule.state == "ACTIVE"
        cells = [
            f"{self.schedule.model:<20}",
            f"{self.schedule.state.lower():<9}",
            str(value["cron"]),
            f"next {in_words(from_json(following))}"
            if is_active and following
            else "no run to come",
            counted(int(value.get("startedRunCount", 0)), "run"),
            f"spec {self.schedule.labels.get('spec', '')[:12]}",
            f"id {self.schedule.number}",
        ]
        yield "  ".join(cells)
        if self.last_run:
            yield f"  last run: {self._last_run()}"
        if self.refusal:
            yield f"  last start: {self.refusal}"

    def as_document(self) -> dict[str, Any]:
        """Returns what `quatrain schedule list --json` prints of a schedule."""
        value, run = self.schedule.value, self.last_run
        return {
            "model": self.schedule.model,
            "id": self.schedule.number,
            "state": self.schedule.state,
            "cron": value["cron"],
            "next_run": value.get("nextRunTime") if self.schedule.state == "ACTIVE" else None,
            "runs": int(value.get("startedRunCount", 0)),
            "spec": self.schedule.labels.get("spec"),
            "last_run": {
                "job": run["name"].rsplit("/", 1)[1],
                "state": _state(run),
                "created": run["createTime"],
                "ended": run.get("endTime"),
                "error": run.get("error", {}).get("message"),
            }
            if run
            else None,
            "refusal": self.refusal or None,
        }

    def _last_run(self) -> str:
        """Returns the last run in words."""
        job_id = self.last_run["name"].rsplit("/", 1)[1]
        state = _state(self.last_run).lower()
        moment = from_json(self.last_run.get("endTime") or self.last_run["createTime"])
        since = "at" if "endTime" in self.last_run else "since"
        reason = self.last_run.get("error", {}).get("message", "")
        words = f"{job_id} {state} {since} {in_words(moment)}"
        return f"{words}: {reason}" if self.failed and reason else words


def check_catch_up(schedule: Schedule, now: datetime.datetime) -> None:
    """Checks that a schedule can start all the runs that it missed while it was paused.

    Raises:
        ScheduleError: It starts some and skips the others. An update would not help, since Vertex
            then forgets all runs that were due before it.
    """
    value = schedule.value
    at_once = int(value.get("maxConcurrentActiveRunCount", 0))
    if value.get("allowQueueing") or not at_once or "lastPauseTime" not in value:
        return
    paused = from_json(value["lastPauseTime"])
    times = itertools.islice(schedule.cron.following(paused), MOST_MISSED)
    missed = [t.astimezone(UTC) for t in itertools.takewhile(lambda t: t <= now, times)]
    if len(missed) <= at_once:
        return
    more = "at least " if len(missed) == MOST_MISSED else ""
    raise ScheduleError(
        f"schedule {schedule.number} of {schedule.model} missed "
        f"{more}{counted(len(missed), 'run')}; it starts {at_once} and skips the others, as it was "
        f"applied without --queue; resume it without --catch-up, then start the missed runs by "
        f"`quatrain submit SPEC --at TIME`, the first with --at {missed[0]:%Y-%m-%dT%H:%MZ} and "
        f"the last with {missed[-1]:%Y-%m-%dT%H:%MZ}; without a window, one "
        f"`quatrain schedule run {schedule.model}` does"
    )


def next_times(request: ScheduleRequest, n: int = 5) -> list[datetime.datetime]:
    """Returns the next `n` times of a schedule, in its zone; fewer if it ends before."""
    now = datetime.datetime.now(UTC)
    times = itertools.islice(request.cron.following(max(request.start or now, now)), n)
    return [t for t in times if request.end is None or t < request.end]


def window_in_words(moment: datetime.datetime, window: str) -> str:
    """Returns the days that the run of a moment reads."""
    days = days_before(moment.astimezone(UTC), window)
    return f"{days[0]:%a %Y-%m-%d} to {days[-1]:%a %Y-%m-%d}, in UTC"


def window_warning(times: list[datetime.datetime]) -> str:
    """Returns a warning if a run is on one day in its zone and on another in UTC, or ''."""
    for moment in times:
        utc = moment.astimezone(UTC)
        if utc.date() != moment.date():
            side = "earlier" if utc.date() < moment.date() else "later"
            return (
                f"the run of {moment:%a %Y-%m-%d %H:%M %Z} is at {utc:%a %Y-%m-%d %H:%M} UTC, and "
                f"windows have UTC days: it reads to {days_before(utc, '1d')[0]:%a %Y-%m-%d}, a "
                f"day {side} than in its zone; choose an hour at which both have the same date"
            )
    return ""


def clock_warning(request: ScheduleRequest) -> str:
    """Returns a warning if the clocks skip or repeat the time of a run within a year, or ''."""
    now = datetime.datetime.now(UTC)
    start = max(request.start or now, now)
    year = start + datetime.timedelta(days=366)
    changes = list(request.cron.clock_changes(start, min(request.end or year, year)))
    if not changes:
        return ""
    nights = []
    for change in changes:
        hours = f"{change.begin:%H:%M} to {change.end:%H:%M}"
        verb, outcome = ("skip", "comes later or not at all")
        if not change.skips:
            verb, outcome = ("repeat", "may come twice")
        nights.append(f"on {change.begin:%a %Y-%m-%d} they {verb} {hours}, and the run {outcome}")
    free = max(change.end.hour for change in changes) + 1
    return (
        f"the clocks of {request.cron.zone} change: {'; '.join(nights)}; another hour, such as "
        f"{free} o'clock, avoids it"
    )


def _state(job: Mapping[str, Any]) -> str:
    return str(job.get("state", "")).removeprefix("PIPELINE_STATE_")
