"""Schedules come to match a request: make before break, cut anywhere, and repeated safely."""

import datetime
import json

import pytest
from google.cloud import aiplatform_v1

from quatrain.vertex.client import Vertex
from quatrain.vertex.cloud_file import Cloud, CloudError
from quatrain.vertex.schedules.applier import ScheduleApplier, find, find_one
from quatrain.vertex.schedules.cron import ScheduleError, read_cron
from quatrain.vertex.schedules.plan import PARKED, Schedule, ScheduleRequest, from_json, holds
from quatrain.vertex.schedules.status import check_catch_up
from tests.emulators import vertex as emulator

UTC = datetime.UTC
DAY = datetime.timedelta(days=1)
CLOUD = {
    "project": "my-project",
    "location": "europe-west1",
    "root": "gs://b/r",
    "image": "host/p/quatrain@sha256:" + "0a" * 32,
    "service_account": "t@my-project.iam.gserviceaccount.com",
}
SPEC = {
    "schemaVersion": "2.1.0",
    "pipelineInfo": {"name": "toy"},
    "root": {"dag": {}, "inputDefinitions": {"parameters": {"n": {"parameterType": "STRUCT"}}}},
}


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.moment = datetime.datetime.now(UTC).replace(microsecond=0)
        self.move(0)

    def now(self):
        return self.moment

    def move(self, seconds):
        self.moment += datetime.timedelta(seconds=seconds)


class Service:
    """An emulated Vertex on a clock of its own, and a client of it."""

    def __init__(self, google, client, clock):
        self.google, self.client, self.clock = google, client, clock
        self.live = []
        google.after_call = lambda method: self.live.append(len(google.live()))

    def apply(self, request, client=None):
        lines = []
        applying = ScheduleApplier(
            client or self.client, request, lines.append, self.clock.now, self.clock.move
        )
        return applying.apply(), lines

    def plan(self, request):
        return ScheduleApplier(self.client, request, print, self.clock.now, self.clock.move).plan()

    @staticmethod
    def epochs(schedule):
        return schedule.job["runtimeConfig"]["parameterValues"]["n"]["epochs"]


@pytest.fixture(scope="module")
def served():
    google = emulator.Vertex()
    with emulator.serving(google) as url:
        yield google, Vertex(Cloud(**CLOUD, api_endpoint=url), patience_s=2.0)


@pytest.fixture
def service(served):
    google, client = served
    clock = Clock()
    google.schedules.clear()
    google.jobs.clear()
    google.faults.clear()
    google.calls.clear()
    google.fired.clear()
    google.now = clock.now
    return Service(google, client, clock)


def schedule_request(epochs=1, cron="TZ=America/Sao_Paulo 0 3 * * 1", **settings):
    job = {
        "displayName": "toy",
        "pipelineSpec": SPEC,
        "labels": {"quatrain": "toy"},
        "runtimeConfig": {
            "gcsOutputDirectory": "gs://b/r",
            "parameterValues": {"n": {"epochs": epochs}},
        },
        "serviceAccount": CLOUD["service_account"],
    }
    return ScheduleRequest("toy", read_cron(cron), job, **settings)


def state(service):
    return [
        (service.epochs(s), s.state, s.is_in_force(service.clock.now()))
        for s in find(service.client, "toy")
    ]


def test_the_first_apply_creates_one_schedule_without_overlapping_runs(service):
    assert service.apply(schedule_request())[0] == 1
    (created,) = find(service.client, "toy")
    assert created.value["cron"] == "TZ=America/Sao_Paulo 0 3 * * 1"
    assert created.value["maxConcurrentRunCount"] == "1"
    assert created.value["maxConcurrentActiveRunCount"] == "1"
    assert state(service) == [(1, "ACTIVE", True)]


def test_a_schedule_of_the_first_version_is_replaced_by_one_whose_spec_is_text(service):
    first, second = schedule_request(), schedule_request()
    mapping = {"name": "toy", "columns": [{"x": "float"}, {"y": "bool"}], "train": {"epochs": 3}}
    first.job["runtimeConfig"]["parameterValues"] = {"n": mapping}
    service.apply(first)
    parameters = {"n": {"parameterType": "STRING"}}
    second.job["pipelineSpec"] = {
        **SPEC,
        "root": {"dag": {}, "inputDefinitions": {"parameters": parameters}},
    }
    text = json.dumps({**mapping, "columns": {"x": "float", "y": "bool"}})
    second.job["runtimeConfig"]["parameterValues"] = {"n": text}
    service.apply(second)
    (schedule,) = find(service.client, "toy")
    assert schedule.job["runtimeConfig"]["parameterValues"] == {"n": text}
    assert max(service.live) == 1


def test_a_second_apply_changes_nothing(service):
    service.apply(schedule_request())
    before = len(service.google.calls)
    assert service.apply(schedule_request()) == (0, [])
    assert set(service.google.calls[before:]) == {"list_schedules"}


def test_another_cron_or_limit_is_changed_in_place(service):
    service.apply(schedule_request())
    (before,) = find(service.client, "toy")
    changed = schedule_request(cron="30 4 * * *", max_runs=9, end=service.clock.now() + 30 * DAY)
    calls, lines = service.apply(changed)
    (after,) = find(service.client, "toy")
    assert (calls, after.name) == (1, before.name)
    assert after.value["cron"] == "30 4 * * *"
    assert after.value["maxRunCount"] == "9"
    assert "cron TZ=America/Sao_Paulo 0 3 * * 1 -> 30 4 * * *" in lines[0]
    assert service.apply(changed) == (0, [])


def test_a_changed_spec_takes_over_at_a_moment_with_one_running_all_the_time(service):
    service.apply(schedule_request(1))
    (old,) = find(service.client, "toy")
    started = service.clock.now()
    service.live.clear()
    service.apply(schedule_request(2))
    assert set(service.live) == {1}
    (new,) = find(service.client, "toy")
    assert state(service) == [(2, "ACTIVE", True)]
    assert new.start.second == 30  # no run is due there
    assert new.start - started < datetime.timedelta(minutes=3)
    writes = [c for c in service.google.calls if c not in ("list_schedules", "get_schedule")]
    assert writes == [
        "create_schedule",
        "create_schedule",
        "update_schedule",
        "update_schedule",
        "delete_schedule",
    ]
    assert service.apply(schedule_request(2)) == (0, [])
    assert old.name not in service.google.schedules


class Cut(Exception):
    """The process ended here."""


class Cutting:
    """A client whose process ends after some calls."""

    def __init__(self, client, calls):
        self.cloud, self._client, self._left = client.cloud, client, calls

    def __getattr__(self, name):
        def call(*arguments):
            answer = getattr(self._client, name)(*arguments)
            self._left -= 1
            if self._left == 0:
                raise Cut
            return answer

        return call


@pytest.mark.parametrize("pause_s", [0, 3600], ids=["at once", "an hour later"])
@pytest.mark.parametrize("before", ["nothing", "other spec", "other cron", "paused"])
def test_an_apply_that_is_cut_after_any_call_is_mended_by_the_next(service, before, pause_s):
    calls = 0
    while True:
        calls += 1
        service.google.schedules.clear()
        if before != "nothing":
            service.apply(schedule_request(1 if before == "other spec" else 2, cron="0 3 * * *"))
        if before == "paused":
            service.apply(schedule_request(1, cron="0 3 * * *"))
            service.client.pause_schedule(find_one(service.client, "toy").name)
        service.live.clear()
        try:
            service.apply(schedule_request(2), Cutting(service.client, calls))
        except Cut:
            cut = True
        else:
            cut = False
        service.clock.move(pause_s)
        allowed = {"nothing": {0, 1}, "paused": {0}}.get(before, {1})
        assert set(service.live) <= allowed, calls
        service.live.clear()
        service.apply(schedule_request(2))
        counts = service.live
        if before == "paused":
            assert state(service) == [(2, "PAUSED", False)], calls
        else:
            assert state(service) == [(2, "ACTIVE", True)], calls
            assert counts[-1] == 1
        if before == "other spec":
            # An hour within a switch may leave two schedules in force, but never none.
            assert 0 not in counts
            assert pause_s or set(counts) == {1}, calls
        assert service.apply(schedule_request(2)) == (0, [])
        if not cut:
            break
    assert calls > (7 if before == "other spec" else 2)


MINUTE = datetime.timedelta(minutes=1)
OFTEN = {"cron": "* * * * *", "max_active": 1000}


@pytest.mark.parametrize("cut", range(12))
def test_no_minute_of_a_switch_lacks_its_run_or_has_two(service, cut):
    service.apply(schedule_request(1, **OFTEN))
    service.clock.move(300)
    if cut:
        with pytest.raises(Cut):
            service.apply(schedule_request(2, **OFTEN), Cutting(service.client, cut))
        service.clock.move(20)
    service.apply(schedule_request(2, **OFTEN))
    service.clock.move(300)
    service.google.tick()
    due = [moment for moment, _ in service.google.fired]
    assert due == [due[0] + n * MINUTE for n in range(len(due))]
    assert len(due) >= 11
    ran = [job.runtime_config.parameter_values["n"]["epochs"] for _, job in service.google.fired]
    assert ran == sorted(ran)
    assert set(ran) == {1, 2}


def test_a_run_that_is_due_while_one_is_active_is_skipped(service):
    service.apply(schedule_request(cron="* * * * *"))
    service.clock.move(600)
    service.google.tick()
    assert len(service.google.fired) == 1


@pytest.mark.parametrize(("catch_up", "runs"), [(True, 10), (False, 0)])
def test_missed_runs_start_only_with_catch_up(service, catch_up, runs):
    service.apply(schedule_request(**OFTEN))
    name = find_one(service.client, "toy").name
    service.client.pause_schedule(name)
    service.clock.move(600)
    service.client.resume_schedule(name, catch_up)
    service.google.tick()
    assert len(service.google.fired) == runs


def pause_for_ten_runs(service, **settings):
    service.apply(schedule_request(**{"cron": "* * * * *", **settings}))
    name = find_one(service.client, "toy").name
    service.client.pause_schedule(name)
    service.clock.move(600)
    return find_one(service.client, "toy")


def test_missed_runs_of_a_queue_start_one_after_the_other(service):
    paused = pause_for_ten_runs(service, queues=True)
    check_catch_up(paused, service.clock.now())
    service.client.resume_schedule(paused.name, catch_up=True)
    for n in range(1, 11):
        service.google.tick()
        assert len(service.google.fired) == n
        service.google.fired[-1][1].state = emulator.TERMINAL[0]
    due = [moment for moment, _ in service.google.fired]
    assert due == sorted(set(due))


def test_a_catch_up_that_would_skip_runs_is_refused_with_their_times(service):
    paused = pause_for_ten_runs(service)
    with pytest.raises(ScheduleError, match="missed 10 runs; it starts 1 and skips") as raised:
        check_catch_up(paused, service.clock.now())
    first = from_json(paused.value["lastPauseTime"]) + MINUTE
    assert f"the first with --at {first:%Y-%m-%dT%H:%M}Z" in str(raised.value)
    check_catch_up(paused, first)  # one run was missed, and one can be started
    unlimited = Schedule({**paused.value, "maxConcurrentActiveRunCount": "0"})
    check_catch_up(unlimited, service.clock.now())


def test_queueing_is_switched_in_place_both_ways(service):
    service.apply(schedule_request())
    (before,) = find(service.client, "toy")
    for queues, words in [(True, "queueing none -> on"), (False, "queueing on -> off")]:
        calls, lines = service.apply(schedule_request(queues=queues))
        assert (calls, lines) == (1, [f"change {words}"])
        (after,) = find(service.client, "toy")
        assert (after.name, bool(after.value.get("allowQueueing"))) == (before.name, queues)
        assert service.apply(schedule_request(queues=queues)) == (0, [])


def test_a_start_in_the_past_starts_no_runs_that_were_due_before_now(service):
    past = service.clock.now() - DAY
    service.apply(schedule_request(start=past, **OFTEN))
    service.google.tick()
    assert not service.google.fired


def test_scheduled_runs_have_the_labels_of_the_job(service):
    service.apply(schedule_request(**OFTEN))
    service.clock.move(60)
    service.google.tick()
    ((_, job),) = service.google.fired
    assert dict(job.labels) == {"quatrain": "toy", "request": schedule_request().digest}


def normalise(schedule):
    """Rewrites a schedule as a service may: by numbers, with fields added and empty ones gone."""
    schedule.cron = schedule.cron.replace("TZ=", "CRON_TZ=")
    request = schedule.create_pipeline_job_request
    request.parent = request.parent.replace("my-project", emulator.PROJECT_NUMBER)
    job = aiplatform_v1.PipelineJob.pb(request.pipeline_job)
    attachment = job.psc_interface_config.network_attachment
    job.psc_interface_config.network_attachment = attachment.replace(
        "my-project", emulator.PROJECT_NUMBER
    )
    job.labels["vertex-ai-pipelines-run-billing-id"] = "1"
    del job.pipeline_spec["root"]["dag"]
    job.pipeline_spec["defaultPipelineRoot"] = ""


def test_a_schedule_that_the_service_normalised_is_as_it_was_sent(service):
    def after(method):
        if method == "create_schedule":
            normalise(list(service.google.schedules.values())[-1])

    service.google.after_call = after
    attachment = "projects/my-project/regions/europe-west1/networkAttachments/a"
    for epochs in (1, 2):  # created, then replaced
        request = schedule_request(epochs)
        request.job["pscInterfaceConfig"] = {"networkAttachment": attachment}
        service.apply(request)
        assert state(service) == [(epochs, "ACTIVE", True)]
        assert service.apply(request) == (0, [])


@pytest.mark.parametrize(
    ("value", "sent", "same"),
    [
        ("1", 1, True),
        ("projects/12345/x", "projects/my-project/x", True),
        ("projects/12345/y", "projects/my-project/x", False),
        ("projects/other/x", "projects/my-project/x", False),
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"b": 2}, {"a": 1}, False),
        ({"b": 2}, {"a": []}, True),
        (["a"], ["a", "b"], False),
        ([{"a": "2", "b": 0}], [{"a": 2}], True),
        (True, 1, False),
        (None, False, True),
        (None, 1, False),
    ],
)
def test_a_value_holds_what_was_sent(value, sent, same):
    assert holds(value, sent) is same


def test_a_schedule_that_had_its_runs_is_left_as_it_is(service):
    service.apply(schedule_request(max_runs=3, **OFTEN))
    service.clock.move(600)
    assert service.apply(schedule_request(max_runs=3, **OFTEN)) == (0, [])
    assert state(service) == [(1, "COMPLETED", False)]
    assert len(service.google.fired) == 3
    service.apply(schedule_request(max_runs=9, **OFTEN))
    assert state(service) == [(1, "ACTIVE", True)]


def test_returning_to_the_old_spec_during_a_switch_leaves_one_schedule(service):
    service.apply(schedule_request(1))
    with pytest.raises(Cut):
        service.apply(schedule_request(2), Cutting(service.client, 8))
    assert [s.end is not None for s in find(service.client, "toy")] == [True, False]
    service.live.clear()
    service.apply(schedule_request(1))
    assert state(service) == [(1, "ACTIVE", True)]
    assert set(service.live) == {1}


def test_an_end_that_is_taken_back_needs_a_new_schedule(service):
    service.apply(schedule_request(1, end=service.clock.now() + 30 * DAY, max_runs=5))
    service.live.clear()
    service.apply(schedule_request(1))
    (created,) = find(service.client, "toy")
    assert created.end is None
    assert set(service.live) == {1}


def test_a_future_start_is_honoured_and_the_old_schedule_runs_until_then(service):
    service.apply(schedule_request(1))
    start = service.clock.now() + 10 * DAY
    _, lines = service.apply(schedule_request(2, start=start))
    assert lines[-1].startswith("the old one ends by itself at")
    old, new = find(service.client, "toy")
    assert (old.end, new.start) == (start, start)
    service.clock.moment = start - DAY
    assert service.google.live() == [old.name]
    service.clock.moment = start + DAY
    assert service.google.live() == [new.name]
    service.apply(schedule_request(2, start=start))
    assert state(service) == [(2, "ACTIVE", True)]


def test_a_schedule_that_someone_deleted_is_recreated(service):
    service.apply(schedule_request())
    service.google.schedules.clear()
    assert service.apply(schedule_request())[0] == 1
    assert state(service) == [(1, "ACTIVE", True)]


def test_a_schedule_deleted_in_the_middle_of_its_switch_is_followed_at_once(service):
    service.apply(schedule_request(1))
    (old,) = service.google.schedules

    def delete(method):
        started = [s for s in service.google.schedules.values() if s.start_time < PARKED]
        if method == "list_schedules" and len(started) == 2:
            service.google.schedules.pop(old, None)

    service.google.after_call = delete
    _, lines = service.apply(schedule_request(2))
    assert "it was deleted meanwhile; looking again" in lines
    service.clock.move(300)
    assert state(service) == [(2, "ACTIVE", True)]
    assert service.apply(schedule_request(2)) == (0, [])


def test_a_schedule_of_the_same_name_that_is_not_ours_is_left_alone(service):
    theirs = schedule_request().as_schedule(service.client.cloud, None)
    theirs["createPipelineJobRequest"]["pipelineJob"]["labels"] = {}
    service.client.create_schedule(theirs)
    with pytest.raises(ScheduleError, match="was not made by Quatrain; rename it or the model"):
        service.apply(schedule_request())
    assert len(service.google.schedules) == 1


def test_a_create_whose_answer_was_lost_does_not_make_two(service):
    service.google.faults.append(("create_schedule", 503, "after"))
    with pytest.raises(CloudError, match="the service did not answer; try again in a while"):
        service.apply(schedule_request())
    assert service.apply(schedule_request()) == (0, [])
    assert len(service.google.schedules) == 1


def test_a_new_schedule_that_came_back_changed_is_deleted_and_the_old_one_stays(service):
    service.apply(schedule_request(1))

    def tamper(method):
        if method == "create_schedule":
            newest = list(service.google.schedules.values())[-1]
            newest.create_pipeline_job_request.pipeline_job.service_account = "other"

    service.google.after_call = tamper
    with pytest.raises(ScheduleError, match=r"not what was sent \(serviceAccount\)"):
        service.apply(schedule_request(2))
    assert state(service) == [(1, "ACTIVE", True)]


def test_a_clock_that_is_off_stops_before_the_switch(service):
    service.apply(schedule_request(1))
    slow = Clock()
    slow.move(-600)
    applying = ScheduleApplier(service.client, schedule_request(2), print, slow.now, slow.move)
    with pytest.raises(ScheduleError, match="s off Google"):
        applying.apply()
    assert len(service.google.live()) == 1
    service.apply(schedule_request(2))
    assert state(service) == [(2, "ACTIVE", True)]


@pytest.mark.parametrize("off", [-40, 40])
def test_a_clock_that_is_a_little_off_neither_loses_nor_repeats_a_run(service, off):
    service.apply(schedule_request(1, **OFTEN))
    service.clock.move(300)
    theirs = service.clock
    service.google.now = lambda: theirs.now() - datetime.timedelta(seconds=off)
    service.live.clear()
    service.apply(schedule_request(2, **OFTEN))
    assert set(service.live) == {1}


def test_the_times_of_a_cron_are_of_its_zone_through_a_change_of_clocks():
    cron = read_cron("TZ=Europe/Berlin 30 3 * * *")
    times = cron.following(datetime.datetime(2026, 10, 24, 12, tzinfo=UTC))
    shown = [next(times).isoformat() for _ in range(2)]
    assert shown == ["2026-10-25T03:30:00+01:00", "2026-10-26T03:30:00+01:00"]
    assert read_cron("CRON_TZ=Europe/Berlin  0  3 * * MON").text == "TZ=Europe/Berlin 0 3 * * MON"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 3 * *", "has 4 fields, not 5"),
        ("0 0 3 * * 1", "has 6 fields, not 5"),
        ("60 3 * * *", "bad minute"),
        ("0 3 31 2 *", "bad day-of-month"),
        ("@daily", "has 1 field, not 5"),
        ("0 3 * * 1#2", "bad field '1#2'"),
        ("0 3 L * *", "bad field"),
        ("TZ=Europe/Berlni 0 3 * * 1", "unknown time zone 'Europe/Berlni'"),
        ("TZ=../../etc/passwd 0 3 * * 1", "unknown time zone"),
        ("", "has 0 fields"),
    ],
)
def test_a_cron_that_vertex_would_refuse_is_refused_with_an_example(text, sentence):
    with pytest.raises(ScheduleError, match="Europe/Berlin") as raised:
        read_cron(text)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"end": -1}, "must be after now"),
        ({"start": 2, "end": 1}, "must be after its start"),
        ({"end": 1, "cron": "0 0 29 2 *"}, "must be after the first run at"),
    ],
)
def test_times_in_which_nothing_can_run_are_refused(service, settings, sentence):
    now = service.clock.now()
    times = {k: now + v * DAY for k, v in settings.items() if k != "cron"}
    with pytest.raises(ScheduleError, match=sentence):
        service.plan(schedule_request(cron=settings.get("cron", "0 3 * * *"), **times))
    assert not service.google.schedules
