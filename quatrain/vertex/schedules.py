"""Schedules: what should be, what is there, and the calls between the two, make before break.

Vertex gives a schedule neither an id of ours nor labels nor an etag. So a schedule is found by its
display name, and the digest of what it runs stands in the labels of its job. `plan` is a pure
function from what is there to the next calls; `apply` makes one, looks again, and plans again,
until nothing is left to do. A crash between any two calls is therefore mended by the next apply,
and a second apply does nothing.

A changed spec gets a new schedule, as the old one's runs must stay what they were. Two schedules
cannot be switched by one call, but a clock can switch them: the new one is created parked (it
starts in 2100), looked at, and then given the start at which the old one is given its end. Until
that moment only the old one runs, from it on only the new one.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from quatrain.components.artifacts import canonical_json
from quatrain.components.errors import QuatrainError
from quatrain.components.times import parse_time
from quatrain.vertex.cloud_file import Cloud, CloudError

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex

UTC = datetime.UTC
PARKED = datetime.datetime(2100, 1, 1, tzinfo=UTC)
"""The start of a schedule that is not to run yet; no user's schedule starts there."""
HANDOVER = datetime.timedelta(seconds=90)
"""From the calls to the moment of the switch: enough for both to arrive."""
LONGEST_WAIT = datetime.timedelta(minutes=5)
"""A switch that is farther away is left to the clock; the next apply removes the old schedule."""
CLOCKS = datetime.timedelta(seconds=45)
"""How far this clock may be from Vertex's: half of the time before a switch, and what is waited
after one before the old schedule is deleted."""
MAX_ROUNDS = 30

_CRON = re.compile(r"(?:(?:CRON_)?TZ=(?P<zone>\S+)\s+)?(?P<fields>\S+(?:\s+\S+)*)")
_FIELD = re.compile(r"[0-9A-Za-z*/,-]+")


class ScheduleError(QuatrainError):
    """The schedule is wrong, or cannot be what was asked; the message says what to do."""


@dataclass(frozen=True)
class Cron:
    """A checked cron expression.

    Attributes:
        text: As Vertex takes it, with its zone.
        fields: Minute, hour, day of month, month and day of week.
        zone: The time zone; UTC when none was given.
    """

    text: str
    fields: str
    zone: ZoneInfo

    def following(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        """Yields the times after a moment, in the zone."""
        from cronsim import CronSim

        yield from CronSim(self.fields, after.astimezone(self.zone))


def read_cron(text: str) -> Cron:
    """Reads a cron expression as Vertex does: five fields after an optional TZ=ZONE.

    Raises:
        ScheduleError: A field is wrong, or the zone unknown.
    """
    from cronsim import CronSim, CronSimError

    found = _CRON.fullmatch(text.strip())
    example = "write it as 'TZ=Europe/Berlin 0 3 * * 1': minute, hour, day, month, weekday"
    fields = found["fields"].split() if found else []
    if not found or len(fields) != 5:
        raise ScheduleError(f"--cron {text!r} has {len(fields)} fields, not 5; {example}")
    try:
        zone = ZoneInfo(found["zone"] or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            f"--cron {text!r}: unknown time zone {found['zone']!r}; choose a name of the IANA "
            f"database, for example Europe/Berlin"
        ) from error
    try:
        strange = next((f for f in fields if not _FIELD.fullmatch(f) or f.startswith("L")), None)
        if strange is not None:
            raise CronSimError(f"Bad field {strange!r}")
        CronSim(" ".join(fields), datetime.datetime.now(zone))
    except CronSimError as error:
        raise ScheduleError(f"--cron {text!r}: {str(error).lower()}; {example}") from error
    prefix = f"TZ={found['zone']} " if found["zone"] else ""
    return Cron(prefix + " ".join(fields), " ".join(fields), zone)


@dataclass(frozen=True)
class Wanted:
    """What a schedule should be.

    Attributes:
        name: The model's; the display name says whose it is.
        cron: When it starts a run.
        job: The PipelineJob of each run, in the API's JSON form.
        start: No run before; None is at once.
        end: No run after.
        max_runs: Runs in all.
        max_active: Runs at the same time.
    """

    name: str
    cron: Cron
    job: Mapping[str, Any]
    start: datetime.datetime | None = None
    end: datetime.datetime | None = None
    max_runs: int | None = None
    max_active: int = 1

    def check(self, now: datetime.datetime) -> None:
        """Checks the times.

        Raises:
            ScheduleError: It ends before it starts, or has ended, or would never run.
        """
        begin = max(self.start or now, now)
        if self.end and self.end <= begin:
            word = "its start" if self.start and self.start > now else "now"
            raise ScheduleError(f"--end {self.end.isoformat()} is not after {word}")
        first = next(self.cron.following(begin))
        if self.end and first >= self.end:
            raise ScheduleError(
                f"--end {self.end.isoformat()} is before the first run at {first.isoformat()}"
            )

    @property
    def digest(self) -> str:
        """The sha256 of what every run is."""
        return hashlib.sha256(canonical_json(self.job).encode()).hexdigest()[:40]

    def settings(self) -> dict[str, Any]:
        """Returns the fields that can be changed in place."""
        settings: dict[str, Any] = {
            "cron": self.cron.text,
            "maxConcurrentRunCount": "1",
            "maxConcurrentActiveRunCount": str(self.max_active),
        }
        if self.end:
            settings["endTime"] = _written(self.end)
        if self.max_runs:
            settings["maxRunCount"] = str(self.max_runs)
        return settings

    def as_schedule(self, cloud: Cloud, start: datetime.datetime | None) -> dict[str, Any]:
        """Returns the Schedule to create."""
        job = {**self.job, "labels": {**self.job["labels"], "request": self.digest}}
        schedule = {
            "displayName": display_name(self.name),
            **self.settings(),
            "createPipelineJobRequest": {"parent": cloud.parent, "pipelineJob": job},
        }
        return {**schedule, "startTime": _written(start)} if start else schedule


@dataclass(frozen=True)
class Found:
    """A schedule as Vertex has it."""

    value: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The resource name."""
        return str(self.value["name"])

    @property
    def number(self) -> str:
        """The last part of the resource name."""
        return self.name.rsplit("/", 1)[1]

    @property
    def job(self) -> dict[str, Any]:
        """The PipelineJob of each run."""
        return dict(self.value["createPipelineJobRequest"]["pipelineJob"])

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the job."""
        return dict(self.job.get("labels", {}))

    @property
    def state(self) -> str:
        """ACTIVE, PAUSED or COMPLETED."""
        return str(self.value["state"])

    @property
    def start(self) -> datetime.datetime:
        """No run before."""
        return parse_time(self.value.get("startTime") or self.value["createTime"])

    @property
    def end(self) -> datetime.datetime | None:
        """No run from here on."""
        return parse_time(self.value["endTime"]) if "endTime" in self.value else None

    def lives(self, now: datetime.datetime) -> bool:
        """Tells whether a run that is due now would be started by this one."""
        return self.state == "ACTIVE" and self.start <= now and not self.ended(now)

    def ended(self, now: datetime.datetime) -> bool:
        """Tells whether it will never start a run again."""
        return self.state == "COMPLETED" or (self.end is not None and self.end <= now)


@dataclass(frozen=True)
class Action:
    """One call, in words; `until` is a moment to wait for instead of a call."""

    verb: str
    words: str
    name: str = ""
    changes: Mapping[str, Any] | None = None
    start: datetime.datetime | None = None
    until: datetime.datetime | None = None


def plan(wanted: Wanted, found: Sequence[Found], now: datetime.datetime) -> list[Action]:
    """Returns what is to be done, in order; nothing when all is as wanted.

    Only the first action is sure: what comes after it is planned again when it is done.

    Args:
        wanted: What should be.
        found: What has the display name, oldest first.
        now: The present, by Vertex's clock.
    """
    target = _target(wanted, found)
    others = [f for f in found if f is not target]
    paused = any(o.state == "PAUSED" for o in others) and not any(o.lives(now) for o in others)
    if target is None:
        return _make(wanted, others, now)
    actions = []
    if changes := _differences(wanted, target, None if others else now):
        told = (f"{_WORDS[k]} {target.value.get(k, 'none')} -> {v}" for k, v in changes.items())
        actions.append(Action("update", f"change {', '.join(told)}", target.name, changes))
    if paused and target.state == "ACTIVE":
        actions.append(Action("pause", "pause it, as the old one is", target.name))
    if target.start > now:
        living = [o for o in others if o.lives(now)]
        actions += (
            _hand_over(wanted, target, living, others, now)
            if living
            else _begin(wanted, target, now)
        )
    elif now < target.start + CLOCKS and any(o.end == target.start for o in others):
        actions.append(_wait(target.start))
    actions += [Action("delete", f"delete the old schedule {o.number}", o.name) for o in others]
    return actions


def _target(wanted: Wanted, found: Sequence[Found]) -> Found | None:
    """Returns the schedule that is, or can be made, what is wanted: the longest living one."""
    fit = [f for f in found if f.labels.get("request") == wanted.digest and _can_become(wanted, f)]
    return min(fit, key=lambda f: (f.start, f.value["createTime"]), default=None)


def _can_become(wanted: Wanted, found: Found) -> bool:
    """Tells whether an update is enough: it cannot unset a field, nor change what has ended."""
    unset = (wanted.end is None and found.end) or (
        not wanted.max_runs and int(found.value.get("maxRunCount", 0))
    )
    if unset:
        return False
    settings = wanted.settings()
    return found.state != "COMPLETED" or all(_same(found, k, v) for k, v in settings.items())


def _make(wanted: Wanted, others: Sequence[Found], now: datetime.datetime) -> list[Action]:
    rest = [o for o in others if not o.ended(now)]
    if not rest:
        later = wanted.start if wanted.start and wanted.start > now else None
        make = Action("create", "create it", start=later)
    else:
        words = "create a new schedule, parked: the runs are to be others than those there are"
        make = Action("create", words, start=PARKED)
    hand = [Action("switch", f"switch from {rest[0].number} to the new one")] if rest else []
    drop = [Action("delete", f"delete the old schedule {o.number}", o.name) for o in others]
    return [make, *hand, *drop]


def _differences(wanted: Wanted, target: Found, now: datetime.datetime | None) -> dict[str, Any]:
    """Returns the settings to change; the start only at a `now`, without a switch under way."""
    changes = {k: v for k, v in wanted.settings().items() if not _same(target, k, v)}
    if now and wanted.start and now < wanted.start != target.start:
        changes["startTime"] = _written(wanted.start)
    return changes


def _begin(wanted: Wanted, target: Found, now: datetime.datetime) -> list[Action]:
    """Returns the call that lets a waiting schedule start where nothing else runs."""
    begin = max(wanted.start or now, _switch_time(now))
    if target.start <= begin:
        return []
    words = f"start it at {_shown(begin)}"
    return [Action("update", words, target.name, {"startTime": _written(begin)})]


def _hand_over(
    wanted: Wanted,
    target: Found,
    living: Sequence[Found],
    others: Sequence[Found],
    now: datetime.datetime,
) -> list[Action]:
    """Returns the calls that let the clock switch from the living schedules to the target."""
    actions = []
    switch = target.start
    if switch == PARKED:
        switch = max(wanted.start or now, _switch_time(now))
        switch = min([switch, *(o.end for o in living if o.end)])
        words = f"start the new schedule at {_shown(switch)}"
        actions.append(Action("update", words, target.name, {"startTime": _written(switch)}))
    for other in others:
        if other not in living and other.state == "ACTIVE" and not other.ended(now):
            words = f"delete schedule {other.number}, which was to follow"
            actions.append(Action("delete", words, other.name))
    for old in living:
        if old.end is None or old.end > switch:
            words = f"end the old schedule {old.number} at {_shown(switch)}"
            actions.append(Action("update", words, old.name, {"endTime": _written(switch)}))
    return [*actions, _wait(switch)]


def _wait(switch: datetime.datetime) -> Action:
    words = f"wait: at {_shown(switch)} the new one takes over"
    return Action("wait", words, until=switch + CLOCKS)


def _switch_time(now: datetime.datetime) -> datetime.datetime:
    """Returns a moment soon, at half a minute: no run is ever due there."""
    later = now + HANDOVER
    return later.replace(second=30, microsecond=0) + datetime.timedelta(minutes=later.second >= 30)


_WORDS = {
    "cron": "cron",
    "startTime": "start",
    "endTime": "end",
    "maxRunCount": "maximum runs",
    "maxConcurrentRunCount": "runs started at once",
    "maxConcurrentActiveRunCount": "runs at the same time",
}


def _same(found: Found, field: str, wanted: Any) -> bool:
    has = found.value.get(field)
    if field.endswith("Time"):
        return has is not None and parse_time(has) == parse_time(wanted)
    return has == wanted


class Applying:
    """Brings a schedule to what is wanted.

    Args:
        vertex: The service.
        wanted: What should be.
        say: Takes each thing that is done, in words.
        now: The clock.
        sleep: How to wait.
    """

    def __init__(
        self,
        vertex: Vertex,
        wanted: Wanted,
        say: Callable[[str], None],
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._vertex, self._wanted, self._say = vertex, wanted, say
        self._now, self._sleep = now, sleep

    def plan(self) -> list[Action]:
        """Returns what is to be done, from what is there now."""
        self._wanted.check(self._now())
        return plan(self._wanted, find(self._vertex, self._wanted.name), self._now())

    def apply(self) -> int:
        """Does what is to be done and returns how many calls it took.

        Raises:
            ScheduleError: What was created is not what was sent, or it does not come to rest.
            CloudError: A call was refused; the next apply goes on from there.
        """
        from quatrain.vertex.client import Absent

        calls = 0
        for _ in range(MAX_ROUNDS):
            actions = self.plan()
            if not actions:
                return calls
            if actions[0].until and actions[0].until - self._now() > LONGEST_WAIT:
                self._say(f"the old one ends by itself at {_shown(actions[0].until)}")
                return calls
            self._say(actions[0].words)
            try:
                self._do(actions[0])
            except Absent:
                self._say("it was deleted meanwhile; looking again")
            calls += actions[0].until is None
        raise ScheduleError(
            f"schedule {self._wanted.name} is still not as asked after {calls} calls: someone "
            f"else changes it; see `quatrain schedule list`, then apply again"
        )

    def _do(self, action: Action) -> None:
        if action.until:
            self._sleep(max(0.0, (action.until - self._now()).total_seconds()) + 1)
        elif action.verb == "create":
            made = self._vertex.create_schedule(
                self._wanted.as_schedule(self._vertex.cloud, action.start)
            )
            self._check_clock(parse_time(made["createTime"]))
            self._verify(made["name"])
        elif action.verb == "update":
            self._vertex.update_schedule(action.name, action.changes or {})
        elif action.verb == "pause":
            self._vertex.pause_schedule(action.name)
        elif action.verb == "delete":
            delete(self._vertex, action.name, self._sleep)

    def _check_clock(self, theirs: datetime.datetime) -> None:
        """Checks that this clock is Vertex's: the switch is told to both."""
        off = self._now() - theirs
        if abs(off) > CLOCKS:
            raise ScheduleError(
                f"this machine's clock is {off.total_seconds():+.0f} s off Google's; set it right, "
                f"then apply again (the new schedule is parked and starts nothing)"
            )

    def _verify(self, name: str) -> None:
        """Reads a new schedule back; one that is not what was sent is deleted."""
        made = Found(self._vertex.get_schedule(name))
        sent = self._wanted.as_schedule(self._vertex.cloud, None)
        job = sent["createPipelineJobRequest"]["pipelineJob"]
        wrong = [k for k, v in job.items() if not _holds(made.job.get(k), v)]
        wrong += [k for k, v in self._wanted.settings().items() if not _same(made, k, v)]
        if made.state != "ACTIVE" or wrong:
            delete(self._vertex, name, self._sleep)
            what = ", ".join(wrong) or f"its state is {made.state}"
            raise ScheduleError(
                f"the new schedule is not what was sent ({what}) and was deleted; "
                f"the one before is unchanged"
            )


def _holds(has: Any, sent: Any) -> bool:
    """Tells whether what was sent came back; the service may add to it."""
    if isinstance(sent, Mapping) and isinstance(has, Mapping):
        return all(_holds(has.get(key), value) for key, value in sent.items())
    return bool(has == sent)


def display_name(name: str) -> str:
    """Returns the display name of a model's schedule."""
    return f"quatrain {name}"


def find(vertex: Vertex, name: str) -> list[Found]:
    """Returns the schedules of a model, oldest first.

    Raises:
        ScheduleError: One of this display name was made by someone else.
    """
    found = [Found(s) for s in vertex.list_schedules(display_name(name))]
    for foreign in (f for f in found if "request" not in f.labels):
        raise ScheduleError(
            f"schedule {foreign.number} is named {display_name(name)!r} but was not made by "
            f"Quatrain; rename it or the model"
        )
    return found


def find_one(vertex: Vertex, name: str) -> Found:
    """Returns the schedule of a model that is in force.

    Raises:
        ScheduleError: There is none, or an apply was cut off.
    """
    now = datetime.datetime.now(UTC)
    found = find(vertex, name)
    if not found:
        names = sorted({s["displayName"].removeprefix("quatrain ") for s in listed(vertex)})
        there = f"there are {', '.join(names)}" if names else "there is none at all"
        raise ScheduleError(f"no schedule of {name!r} in {vertex.cloud.location}; {there}")
    rest = [f for f in found if not f.ended(now)] or found[-1:]
    if len(rest) > 1:
        raise ScheduleError(
            f"{name} has {len(rest)} schedules: an apply was cut off; "
            f"mend it with `quatrain schedule apply`"
        )
    return rest[0]


def listed(vertex: Vertex) -> list[dict[str, Any]]:
    """Returns every schedule that Quatrain made in this project and location."""
    made = (s for s in vertex.list_schedules() if "createPipelineJobRequest" in s)
    return [s for s in made if "request" in Found(s).labels]


def next_times(wanted: Wanted, n: int = 5) -> list[datetime.datetime]:
    """Returns the next times of a schedule, in its zone; fewer where its end comes before."""
    now = datetime.datetime.now(UTC)
    times = itertools.islice(wanted.cron.following(max(wanted.start or now, now)), n)
    return [t for t in times if wanted.end is None or t < wanted.end]


def read_time(option: str, text: str, zone: datetime.tzinfo) -> datetime.datetime | None:
    """Reads a date or time, in the schedule's zone unless it has an offset; none when empty.

    Raises:
        ScheduleError: It is neither.
    """
    if not text:
        return None
    try:
        return parse_time(text, zone)
    except ValueError as error:
        raise ScheduleError(
            f"{option} {text!r} is no date or time; write 2027-01-31 or 2027-01-31T06:00"
        ) from error


def line(schedule: Mapping[str, Any]) -> str:
    """Returns what the list says of a schedule."""
    found = Found(schedule)
    name = str(schedule["displayName"]).removeprefix("quatrain ")
    following = schedule.get("nextRunTime")
    coming = f"next {_shown(parse_time(following))}" if following else "no run to come"
    told = [
        f"{name:<20}",
        f"{found.state.lower():<9}",
        str(schedule["cron"]),
        coming if found.state == "ACTIVE" else "no run to come",
        f"{schedule.get('startedRunCount', 0)} runs",
        f"spec {found.labels.get('spec', '')[:12]}",
        f"id {found.number}",
    ]
    return "  ".join(told)


def delete(vertex: Vertex, name: str, sleep: Callable[[float], None] = time.sleep) -> None:
    """Deletes a schedule and waits until it is gone.

    Raises:
        CloudError: It is still there after a while.
    """
    from quatrain.vertex.client import Absent

    vertex.delete_schedule(name)
    for pause_s in (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0):
        sleep(pause_s)
        try:
            vertex.get_schedule(name)
        except Absent:
            return
    raise CloudError(f"schedule {name} was deleted but is still there; apply again in a while")


def _written(moment: datetime.datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _shown(moment: datetime.datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
