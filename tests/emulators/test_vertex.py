"""The emulated Vertex AI accepts and refuses what the real one does."""

import copy
import datetime

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1

from tests.emulators import vertex as emulator

PARENT = "projects/my-project/locations/europe-west1"
SPEC = {
    "schemaVersion": "2.1.0",
    "pipelineInfo": {"name": "toy"},
    "root": {
        "dag": {},
        "inputDefinitions": {
            "parameters": {
                "spec": {"parameterType": "STRUCT"},
                "epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3.0},
            }
        },
    },
}
JOB = {
    "display_name": "toy",
    "pipeline_spec": SPEC,
    "labels": {"team": "search"},
    "runtime_config": {
        "gcs_output_directory": "gs://b/r",
        "parameter_values": {"spec": {"name": "toy"}},
    },
}
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def clients():
    with emulator.serving(emulator.Vertex()) as url:
        options = {
            "transport": "rest",
            "credentials": AnonymousCredentials(),
            "client_options": {"api_endpoint": url},
        }
        yield (
            aiplatform_v1.PipelineServiceClient(**options),
            aiplatform_v1.ScheduleServiceClient(**options),
        )


def changed(value, path, new):
    value = copy.deepcopy(value)
    *parents, last = path.split("/")
    at = value
    for parent in parents:
        at = at.setdefault(parent, {})
    at[last] = new
    return value


def test_a_job_is_created_pending_and_named_by_the_project_s_number(clients):
    jobs, _ = clients
    job = jobs.create_pipeline_job(parent=PARENT, pipeline_job=JOB, pipeline_job_id="good")
    assert job.name == "projects/12345/locations/europe-west1/pipelineJobs/good"
    assert job.state.name == "PIPELINE_STATE_PENDING"
    assert jobs.get_pipeline_job(name=f"{PARENT}/pipelineJobs/good").labels == JOB["labels"]
    with pytest.raises(exceptions.Conflict, match="already exists"):
        jobs.create_pipeline_job(parent=PARENT, pipeline_job=JOB, pipeline_job_id="good")
    with pytest.raises(exceptions.NotFound):
        jobs.get_pipeline_job(name=f"{PARENT}/pipelineJobs/other")


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("labels/Team", "a", "label 'Team'"),
        ("labels/team", "a" * 64, "label 'team'"),
        ("runtime_config/gcs_output_directory", "/tmp/r", "must be a gs:// path"),  # noqa: S108
        ("runtime_config/parameter_values/epoch", 3, "'epoch' is not found"),
        ("runtime_config/parameter_values/epochs", "3", "must be NUMBER_INTEGER"),
        ("runtime_config/parameter_values/epochs", 3.5, "must be NUMBER_INTEGER"),
        ("runtime_config/parameter_values/epochs", True, "must be NUMBER_INTEGER"),
        ("runtime_config/parameter_values", {}, "'spec' is required"),
        ("pipeline_spec/schemaVersion", "2.0.0", "schema version"),
        ("pipeline_spec/surprise", 1, "pipeline_spec: "),
        ("pipeline_spec/pipelineInfo/name", "Toy!", "name is malformed"),
        ("network", "projects/p/global/networks/n", "projects/NUMBER"),
        ("display_name", "x" * 129, "128"),
    ],
)
def test_a_job_that_google_would_refuse_is_refused(clients, path, value, sentence):
    jobs, _ = clients
    with pytest.raises(exceptions.BadRequest, match=sentence):
        jobs.create_pipeline_job(parent=PARENT, pipeline_job=changed(JOB, path, value))


@pytest.mark.parametrize("job_id", ["Toy", "1toy", "toy_1", "t" * 129])
def test_a_job_id_of_another_pattern_is_refused(clients, job_id):
    jobs, _ = clients
    with pytest.raises(exceptions.BadRequest, match="must match"):
        jobs.create_pipeline_job(parent=PARENT, pipeline_job=JOB, pipeline_job_id=job_id)


@pytest.mark.parametrize(
    ("parent", "error"),
    [
        ("projects/my-project/locations/us-east1", exceptions.BadRequest),
        ("projects/other-project/locations/europe-west1", exceptions.Forbidden),
    ],
)
def test_another_region_or_project_is_refused(clients, parent, error):
    jobs, _ = clients
    with pytest.raises(error):
        jobs.create_pipeline_job(parent=parent, pipeline_job=JOB, pipeline_job_id="x")


SCHEDULE = {
    "display_name": "toy",
    "cron": "TZ=America/Sao_Paulo 0 3 * * 1",
    "max_concurrent_run_count": 1,
    "create_pipeline_job_request": {"parent": PARENT, "pipeline_job": JOB},
}


def test_a_schedule_runs_next_in_its_own_zone(clients):
    _, schedules = clients
    created = schedules.create_schedule(parent=PARENT, schedule=SCHEDULE)
    assert created.state.name == "ACTIVE"
    assert created.next_run_time.isoformat().endswith("T06:00:00+00:00")  # 3 o'clock is UTC-3
    assert created.next_run_time.weekday() == 0


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("max_concurrent_run_count", 0, "max_concurrent_run_count is required"),
        ("cron", "0 3 * *", "malformed"),
        ("cron", "0 25 * * *", "Bad hour"),
        ("cron", "TZ=Mars/Olympus 0 3 * * *", "Mars"),
        ("cron", "@daily", "malformed"),
        ("end_time", NOW - datetime.timedelta(days=1), "must be in the future"),
        ("display_name", "", "display_name is required"),
        ("create_pipeline_job_request/parent", "", "parent"),
        ("create_pipeline_job_request/pipeline_job_id", "x", "must not be set"),
        ("create_pipeline_job_request/pipeline_job/labels", {"A": "b"}, "label 'A'"),
    ],
)
def test_a_schedule_that_google_would_refuse_is_refused(clients, path, value, sentence):
    _, schedules = clients
    with pytest.raises(exceptions.BadRequest, match=sentence):
        schedules.create_schedule(parent=PARENT, schedule=changed(SCHEDULE, path, value))


def test_a_start_in_the_past_starts_every_run_that_was_due_since():
    google = emulator.Vertex(now=lambda: NOW)  # an hour may strike in between
    google.create_schedule(
        {},
        {
            "displayName": "toy",
            "cron": "0 * * * *",
            "startTime": (NOW - datetime.timedelta(hours=5)).isoformat().replace("+00:00", "Z"),
            "maxConcurrentRunCount": 1,
            "createPipelineJobRequest": {"parent": PARENT, "pipelineJob": JOB},
        },
        PARENT,
    )
    google.tick()
    assert len(google.fired) == 5


def test_a_schedule_that_ends_before_it_starts_is_refused(clients):
    _, schedules = clients
    day = datetime.timedelta(days=1)
    times = {"start_time": NOW + 2 * day, "end_time": NOW + day}
    with pytest.raises(exceptions.BadRequest, match="must be after start_time"):
        schedules.create_schedule(parent=PARENT, schedule={**SCHEDULE, **times})


def test_an_update_changes_what_its_mask_names_and_unsets_nothing(clients):
    _, schedules = clients
    created = schedules.create_schedule(parent=PARENT, schedule={**SCHEDULE, "max_run_count": 3})
    change = {"name": created.name, "cron": "5 * * * *", "display_name": "other"}
    created = schedules.update_schedule(schedule=change, update_mask={"paths": ["cron"]})
    assert (created.cron, created.display_name) == ("5 * * * *", "toy")
    for paths, sentence in [([], "required"), (["max_run_count"], "unset"), (["crom"], "crom")]:
        with pytest.raises((exceptions.BadRequest, ValueError), match=sentence):
            schedules.update_schedule(schedule=change, update_mask={"paths": paths})


def test_a_completed_schedule_cannot_be_changed_or_resumed(clients):
    _, schedules = clients
    created = schedules.create_schedule(
        parent=PARENT,
        schedule={**SCHEDULE, "end_time": datetime.datetime.now(datetime.UTC) + TICK},
    )
    while schedules.get_schedule(name=created.name).state.name != "COMPLETED":
        pass
    for call in (schedules.pause_schedule, schedules.resume_schedule):
        with pytest.raises(exceptions.BadRequest, match="cannot be paused or resumed"):
            call(name=created.name)


TICK = datetime.timedelta(seconds=0.3)


def test_schedules_are_listed_in_pages_and_by_name(clients):
    _, schedules = clients
    for n in range(3):
        schedules.create_schedule(parent=PARENT, schedule={**SCHEDULE, "display_name": f"s{n}"})
    request = {"parent": PARENT, "page_size": 2}
    pages = list(schedules.list_schedules(request=request).pages)
    assert len(pages) > 1
    assert all(len(page.schedules) <= 2 for page in pages)
    request["filter"] = 'display_name="s1"'
    assert [s.display_name for s in schedules.list_schedules(request=request)] == ["s1"]
    with pytest.raises(exceptions.BadRequest, match="another request"):
        schedules.list_schedules(request={**request, "page_token": pages[0].next_page_token})
