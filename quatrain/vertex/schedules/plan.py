"""Plans the calls that make the schedules on Vertex AI match a request.

`plan` is a pure function of the requested schedule and of those that exist.

A schedule whose spec has changed is replaced, since the runs of the old one must stay what they
were. One call cannot switch between two schedules, but the clock can. The new schedule is created
parked, with its start in 2100, and is checked. Then it gets the moment of the switch as its start,
and the old schedule gets the same moment as its end. Before that moment only the old one runs, and
from then on only the new one.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quatrain.components.artifacts import canonical_json
from quatrain.vertex.cloud_file import Cloud
from quatrain.vertex.schedules.cron import Cron, ScheduleError, read_cron

UTC = datetime.UTC
PARKED = datetime.datetime(2100, 1, 1, tzinfo=UTC)
"""The start of a schedule that must not run yet; no user's schedule starts there."""
SWITCH_DELAY = datetime.timedelta(seconds=90)
"""The time between the calls and the switch: enough for both calls to arrive."""
MAX_CLOCK_ERROR = datetime.timedelta(seconds=45)
"""How far this clock may be off Vertex's: half of SWITCH_DELAY. The old schedule is deleted this
long after a switch."""


@dataclass(frozen=True)
class ScheduleRequest:
    """The schedule that a user requests.

    Attributes:
        name: The model's name, which the display name holds.
        cron: When the schedule starts a run.
        job: The PipelineJob of each run, in the API's JSON form.
        start: No run starts before this moment; None for at once.
        end: No run starts from this moment on; None: no end.
        max_runs: Most runs in all; None: no limit.
        max_active: Most runs at the same time.
        queues: Whether a run that comes due while `max_active` others run waits instead of being
            skipped.
    """

    name: str
    cron: Cron
    job: Mapping[str, Any]
    start: datetime.datetime | None = None
    end: datetime.datetime | None = None
    max_runs: int | None = None
    max_active: int = 1
    queues: bool = False

    def check(self, now: datetime.datetime) -> None:
        """Checks the times.

        Raises:
            ScheduleError: The end comes before the start, now, or the first run.
        """
        begin = max(self.start or now, now)
        if self.end and self.end <= begin:
            word = "its start" if self.start and self.start > now else "now"
            raise ScheduleError(f"--end {self.end.isoformat()} must be after {word}")
        first = next(self.cron.following(begin))
        if self.end and first >= self.end:
            raise ScheduleError(
                f"--end {self.end.isoformat()} must be after the first run at {first.isoformat()}"
            )

    @property
    def digest(self) -> str:
        """The sha256 of the job, cut to the length of a label."""
        return hashlib.sha256(canonical_json(self.job).encode()).hexdigest()[:40]

    def settings(self) -> dict[str, Any]:
        """Returns the fields that Vertex can change in place."""
        settings: dict[str, Any] = {
            "cron": self.cron.text,
            "maxConcurrentRunCount": "1",
            "maxConcurrentActiveRunCount": str(self.max_active),
            "allowQueueing": self.queues,
        }
        if self.end:
            settings["endTime"] = to_json(self.end)
        if self.max_runs:
            settings["maxRunCount"] = str(self.max_runs)
        return settings

    def as_schedule(self, cloud: Cloud, start: datetime.datetime | None) -> dict[str, Any]:
        """Returns the Schedule to create, in the API's JSON form."""
        job = {**self.job, "labels": {**self.job["labels"], "request": self.digest}}
        schedule = {
            "displayName": display_name(self.name),
            **self.settings(),
            "createPipelineJobRequest": {"parent": cloud.parent, "pipelineJob": job},
        }
        return {**schedule, "startTime": to_json(start)} if start else schedule


@dataclass(frozen=True)
class Schedule:
    """A schedule on Vertex AI; `value` is its JSON form."""

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
    def model(self) -> str:
        """The name of the model that the runs train."""
        return str(self.value["displayName"]).removeprefix(display_name(""))

    @property
    def job(self) -> dict[str, Any]:
        """The PipelineJob of each run."""
        return dict(self.value["createPipelineJobRequest"]["pipelineJob"])

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the job."""
        return dict(self.job.get("labels", {}))

    @property
    def cron(self) -> Cron:
        """When this schedule starts a run."""
        return read_cron(str(self.value["cron"]))

    @property
    def state(self) -> str:
        """ACTIVE, PAUSED or COMPLETED."""
        return str(self.value["state"])

    @property
    def start(self) -> datetime.datetime:
        """No run starts before this moment."""
        return from_json(self.value.get("startTime") or self.value["createTime"])

    @property
    def end(self) -> datetime.datetime | None:
        """No run starts from this moment on."""
        return from_json(self.value["endTime"]) if "endTime" in self.value else None

    def is_in_force(self, now: datetime.datetime) -> bool:
        """Whether this schedule would start a run that is due now."""
        return self.state == "ACTIVE" and self.start <= now and not self.has_ended(now)

    def has_ended(self, now: datetime.datetime) -> bool:
        """Whether this schedule will never start a run again."""
        return self.state == "COMPLETED" or (self.end is not None and self.end <= now)


@dataclass(frozen=True)
class Action:
    """One step of a plan: a call, or a wait.

    Attributes:
        verb: create, update, switch, pause, delete or wait.
        words: The action as the terminal prints it.
        name: The resource name of the schedule that is changed.
        changes: The fields to update, in the API's JSON form.
        start: The start of a schedule that is created; None: at once.
        until: The moment that a wait ends; None for a call.
    """

    verb: str
    words: str
    name: str = ""
    changes: Mapping[str, Any] | None = None
    start: datetime.datetime | None = None
    until: datetime.datetime | None = None


def plan(
    request: ScheduleRequest, schedules: Sequence[Schedule], now: datetime.datetime
) -> list[Action]:
    """Returns the actions in their order, or none if the schedules match the request.

    Only the first action is final. The others may change, as each action is followed by a new plan.

    Args:
        request: The schedule that should exist.
        schedules: The schedules of the display name, oldest first.
        now: The present, by Vertex's clock.
    """
    target = _target(request, schedules)
    others = [s for s in schedules if s is not target]
    is_paused = any(o.state == "PAUSED" for o in others) and not any(
        o.is_in_force(now) for o in others
    )
    if target is None:
        return _create(request, others, now)
    actions = []
    if changes := _differences(request, target, None if others else now):
        words = [
            f"{_WORDS[k]} {_shown(target.value.get(k, 'none'))} -> {_shown(v)}"
            for k, v in changes.items()
        ]
        actions.append(Action("update", f"change {', '.join(words)}", target.name, changes))
    if is_paused and target.state == "ACTIVE":
        actions.append(Action("pause", "pause it, as the old one is", target.name))
    if target.start > now:
        in_force = [o for o in others if o.is_in_force(now)]
        actions += (
            _hand_over(request, target, in_force, others, now)
            if in_force
            else _begin(request, target, now)
        )
    elif now < target.start + MAX_CLOCK_ERROR and any(o.end == target.start for o in others):
        actions.append(_wait(target.start))
    actions += [Action("delete", f"delete the old schedule {o.number}", o.name) for o in others]
    return actions


def _target(request: ScheduleRequest, schedules: Sequence[Schedule]) -> Schedule | None:
    """Returns the earliest schedule that matches the request or can be updated to, or None."""
    fit = [
        s
        for s in schedules
        if s.labels.get("request") == request.digest and _can_become(request, s)
    ]
    return min(fit, key=lambda s: (s.start, s.value["createTime"]), default=None)


def _can_become(request: ScheduleRequest, schedule: Schedule) -> bool:
    """Whether an update can make a schedule match; none can unset a field or revive a schedule."""
    unset = (request.end is None and schedule.end) or (
        not request.max_runs and int(schedule.value.get("maxRunCount", 0))
    )
    if unset:
        return False
    settings = request.settings()
    return schedule.state != "COMPLETED" or all(
        has_setting(schedule, k, v) for k, v in settings.items()
    )


def _create(
    request: ScheduleRequest, others: Sequence[Schedule], now: datetime.datetime
) -> list[Action]:
    """Returns the actions that create the schedule; parked, if it replaces one that still runs."""
    rest = [o for o in others if not o.has_ended(now)]
    if not rest:
        later = request.start if request.start and request.start > now else None
        create = Action("create", "create it", start=later)
    else:
        words = "create a new schedule, parked, because its runs differ from those of the old one"
        create = Action("create", words, start=PARKED)
    switch = [Action("switch", f"switch from {rest[0].number} to the new one")] if rest else []
    drop = [Action("delete", f"delete the old schedule {o.number}", o.name) for o in others]
    return [create, *switch, *drop]


def _differences(
    request: ScheduleRequest, target: Schedule, now: datetime.datetime | None
) -> dict[str, Any]:
    """Returns the settings to change.

    The start is among them only if `now` is known, since a switch sets the start itself.
    """
    changes = {k: v for k, v in request.settings().items() if not has_setting(target, k, v)}
    if now and request.start and now < request.start != target.start:
        changes["startTime"] = to_json(request.start)
    return changes


def _begin(request: ScheduleRequest, target: Schedule, now: datetime.datetime) -> list[Action]:
    """Returns the call that starts a parked schedule when no other is in force."""
    begin = max(request.start or now, _switch_time(now))
    if target.start <= begin:
        return []
    words = f"start it at {in_words(begin)}"
    return [Action("update", words, target.name, {"startTime": to_json(begin)})]


def _hand_over(
    request: ScheduleRequest,
    target: Schedule,
    in_force: Sequence[Schedule],
    others: Sequence[Schedule],
    now: datetime.datetime,
) -> list[Action]:
    """Returns the actions that let the clock switch from the schedules in force to the target."""
    actions = []
    switch = target.start
    if switch == PARKED:
        switch = max(request.start or now, _switch_time(now))
        switch = min([switch, *(s.end for s in in_force if s.end)])
        words = f"start the new schedule at {in_words(switch)}"
        actions.append(Action("update", words, target.name, {"startTime": to_json(switch)}))
    for other in others:
        if other not in in_force and other.state == "ACTIVE" and not other.has_ended(now):
            words = f"delete schedule {other.number}, which was to follow"
            actions.append(Action("delete", words, other.name))
    for old in in_force:
        if old.end is None or old.end > switch:
            words = f"end the old schedule {old.number} at {in_words(switch)}"
            actions.append(Action("update", words, old.name, {"endTime": to_json(switch)}))
    return [*actions, _wait(switch)]


def _wait(switch: datetime.datetime) -> Action:
    words = f"wait: at {in_words(switch)} the new one takes over"
    return Action("wait", words, until=switch + MAX_CLOCK_ERROR)


def _switch_time(now: datetime.datetime) -> datetime.datetime:
    """Returns a moment soon, at second 30: cron has whole minutes, so no run is due then."""
    later = now + SWITCH_DELAY
    return later.replace(second=30, microsecond=0) + datetime.timedelta(minutes=later.second >= 30)


_PROJECT, _BY_NUMBER = re.compile(r"^projects/[^/]+/"), re.compile(r"projects/\d+/")

_WORDS = {
    "cron": "cron",
    "startTime": "start",
    "endTime": "end",
    "maxRunCount": "maximum runs",
    "maxConcurrentRunCount": "runs started at once",
    "maxConcurrentActiveRunCount": "runs at the same time",
    "allowQueueing": "queueing",
}


def _shown(setting: Any) -> str:
    """Returns a setting as the terminal shows it."""
    return ("off", "on")[setting] if isinstance(setting, bool) else str(setting)


def has_setting(schedule: Schedule, field: str, setting: Any) -> bool:
    """Whether a schedule has a setting; times and crons are compared by their meaning."""
    value = schedule.value.get(field)
    if field.endswith("Time"):
        return value is not None and from_json(value) == from_json(setting)
    if field == "cron":
        return value is not None and schedule.cron.text == setting
    return holds(value, setting)


def holds(value: Any, sent: Any) -> bool:
    """Whether a value that was read back holds what was sent.

    The service may add fields, leave out empty ones, write an int64 as text, and name a project by
    its number.
    """
    if value is None:
        return not sent
    if isinstance(sent, Mapping):
        return isinstance(value, Mapping) and all(holds(value.get(k), v) for k, v in sent.items())
    if isinstance(sent, list):
        same_length = isinstance(value, list) and len(value) == len(sent)
        return same_length and all(itertools.starmap(holds, zip(value, sent, strict=True)))
    if isinstance(sent, bool) or isinstance(value, bool):
        return value is sent
    if isinstance(sent, str):
        number = _BY_NUMBER.match(str(value))
        return str(value) in (sent, _PROJECT.sub(number[0], sent) if number else sent)
    return bool(value == sent) or str(value) == str(sent)


def display_name(name: str) -> str:
    """Returns the display name of a model's schedule."""
    return f"quatrain {name}"


def to_json(moment: datetime.datetime) -> str:
    """Returns a time in the form of the API."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def from_json(text: str) -> datetime.datetime:
    """Reads a time in the form of the API."""
    return datetime.datetime.fromisoformat(text)


def in_words(moment: datetime.datetime) -> str:
    """Returns a time as the terminal shows it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
