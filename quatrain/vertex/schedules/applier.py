"""Lists the schedules of a project, and makes one of them match a request.

Vertex gives a schedule no id of ours, no labels and no etag. So a schedule is identified by its
display name, and a label of its job holds the digest of what it runs. `ScheduleApplier.apply` makes
the first call of the plan, reads the schedules again and plans again, until nothing is left to do.
So the next apply repairs a crash between any two calls, and a second apply changes nothing.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from quatrain.components.wording import counted
from quatrain.vertex.cloud_file import CloudError
from quatrain.vertex.schedules.cron import ScheduleError
from quatrain.vertex.schedules.plan import (
    MAX_CLOCK_ERROR,
    UTC,
    Action,
    Schedule,
    ScheduleRequest,
    display_name,
    from_json,
    has_setting,
    holds,
    in_words,
    plan,
)

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex

LONGEST_WAIT = datetime.timedelta(minutes=5)
"""No apply waits longer for a switch. The clock switches anyway, and the next apply deletes the old
schedule."""
MAX_ROUNDS = 30
"""Most actions of one apply; one that needs more has a rival that changes the schedule too."""


class ScheduleApplier:
    """Makes the schedule of a model match a request.

    Args:
        vertex: The service.
        request: The schedule that should exist.
        report: Receives each action in words.
        now: The clock.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        vertex: Vertex,
        request: ScheduleRequest,
        report: Callable[[str], None],
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._vertex, self._request, self._report = vertex, request, report
        self._now, self._sleep = now, sleep

    def plan(self) -> list[Action]:
        """Returns the actions that make the existing schedules match the request."""
        self._request.check(self._now())
        return plan(self._request, find(self._vertex, self._request.name), self._now())

    def apply(self) -> int:
        """Carries out the plan and returns how many calls it took.

        Raises:
            ScheduleError: The new schedule differs from what was sent, or someone else keeps
                changing it.
            CloudError: A call was refused; the next apply continues from there.
        """
        from quatrain.vertex.client import NotFound

        calls = 0
        for _ in range(MAX_ROUNDS):
            actions = self.plan()
            if not actions:
                return calls
            if actions[0].until and actions[0].until - self._now() > LONGEST_WAIT:
                self._report(f"the old one ends by itself at {in_words(actions[0].until)}")
                return calls
            self._report(actions[0].words)
            try:
                self._carry_out(actions[0])
            except NotFound:
                self._report("it was deleted meanwhile; looking again")
            calls += actions[0].until is None
        raise ScheduleError(
            f"schedule {self._request.name} is still not as wanted after {calls} calls: someone "
            f"else changes it; see `quatrain schedule list`, then apply again"
        )

    def _carry_out(self, action: Action) -> None:
        """Makes the call of an action, or waits."""
        if action.until:
            # A second more, so that the wait is surely over when the next plan is made.
            self._sleep(max(0.0, (action.until - self._now()).total_seconds()) + 1)
        elif action.verb == "create":
            created = self._vertex.create_schedule(
                self._request.as_schedule(self._vertex.cloud, action.start)
            )
            self._check_clock(from_json(created["createTime"]))
            self._verify(created["name"])
        elif action.verb == "update":
            self._vertex.update_schedule(action.name, action.changes or {})
        elif action.verb == "pause":
            self._vertex.pause_schedule(action.name)
        elif action.verb == "delete":
            delete(self._vertex, action.name, self._sleep)

    def _check_clock(self, theirs: datetime.datetime) -> None:
        """Checks this clock against Vertex's, as the switch is timed by this one."""
        off = self._now() - theirs
        if abs(off) > MAX_CLOCK_ERROR:
            raise ScheduleError(
                f"this machine's clock is {off.total_seconds():+.0f} s off Google's; set it right, "
                f"then apply again (the new schedule is parked and starts nothing)"
            )

    def _verify(self, name: str) -> None:
        """Reads a new schedule back, and deletes it if it differs from what was sent."""
        created = Schedule(self._vertex.get_schedule(name))
        sent = self._request.as_schedule(self._vertex.cloud, None)
        job = sent["createPipelineJobRequest"]["pipelineJob"]
        wrong = [k for k, v in job.items() if not holds(created.job.get(k), v)]
        wrong += [k for k, v in self._request.settings().items() if not has_setting(created, k, v)]
        if created.state != "ACTIVE" or wrong:
            delete(self._vertex, name, self._sleep)
            what = ", ".join(wrong) or f"its state is {created.state}"
            raise ScheduleError(
                f"the new schedule is not what was sent ({what}) and was deleted; "
                f"the one before is unchanged: apply again"
            )


def find(vertex: Vertex, name: str) -> list[Schedule]:
    """Returns the schedules of a model, oldest first.

    Raises:
        ScheduleError: Someone else created a schedule of this display name.
    """
    schedules = [Schedule(s) for s in vertex.list_schedules(display_name(name))]
    for foreign in (s for s in schedules if "request" not in s.labels):
        raise ScheduleError(
            f"schedule {foreign.number} is named {display_name(name)!r} but was not made by "
            f"Quatrain; rename it or the model"
        )
    return schedules


def find_one(vertex: Vertex, name: str) -> Schedule:
    """Returns the schedule of a model that is in force, or the last one.

    Raises:
        ScheduleError: There is no schedule, or an apply was cut off.
    """
    now = datetime.datetime.now(UTC)
    schedules = find(vertex, name)
    if not schedules:
        names = sorted({s.model for s in find_all(vertex)})
        others = f"name one of {', '.join(names)}" if names else "make one with `schedule apply`"
        raise ScheduleError(f"no schedule of {name!r} in {vertex.cloud.location}; {others}")
    rest = [s for s in schedules if not s.has_ended(now)] or schedules[-1:]
    if len(rest) > 1:
        raise ScheduleError(
            f"{name} has {counted(len(rest), 'schedule')}: an apply was cut off; "
            f"mend it with `quatrain schedule apply`"
        )
    return rest[0]


def find_all(vertex: Vertex) -> list[Schedule]:
    """Returns every schedule that Quatrain created in this project and location."""
    of_pipelines = (s for s in vertex.list_schedules() if "createPipelineJobRequest" in s)
    return [s for s in map(Schedule, of_pipelines) if "request" in s.labels]


def delete(vertex: Vertex, name: str, sleep: Callable[[float], None] = time.sleep) -> None:
    """Deletes a schedule and waits until it is gone.

    Raises:
        CloudError: The schedule is still there after a minute.
    """
    from quatrain.vertex.client import NotFound

    vertex.delete_schedule(name)
    for pause_s in (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0):
        sleep(pause_s)
        try:
            vertex.get_schedule(name)
        except NotFound:
            return
    raise CloudError(
        f"schedule {name} was deleted but is still there; wait a while, then apply again"
    )
