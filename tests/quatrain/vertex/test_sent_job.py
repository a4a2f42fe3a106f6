"""`quatrain logs` and `quatrain cancel`, from the command line to the emulated services."""

import datetime
import io
import json

import pytest
from google.cloud import aiplatform_v1

from quatrain.vertex import job_logs
from quatrain.vertex.cloud_file import Cloud, CloudError
from quatrain.vertex.job_logs import LogError, read_since
from quatrain.vertex.job_names import job_id_of
from tests.quatrain.vertex.conftest import CLOUD

State = aiplatform_v1.PipelineState
Task = aiplatform_v1.PipelineTaskDetail
PARENT = "projects/12345/locations/europe-west1"
PAGE = "https://console.cloud.google.com/vertex-ai/locations/europe-west1/pipelines/runs/mine"
DATAFLOW = "https://dataflow.googleapis.com/v1b3/projects/my-project/locations/europe-west1/jobs/d1"


def launching(uri):
    kind = "DataflowJob" if "dataflow" in uri else "CustomJob"
    resources = {"resources": [{"resourceType": kind, "resourceUri": uri}]}
    return {"metadata": {"output:gcp_resources": json.dumps(resources)}}


def run_in(container, *failed):
    names = [f"{PARENT}/customJobs/{number}" for number in (container, *failed)]
    detail = {"main_job": names[0], "failed_main_jobs": names[1:]}
    return {"container_detail": detail}


def tasks(training=f"https://europe-west1-aiplatform.googleapis.com/v1/{PARENT}/customJobs/77"):
    rows = [
        (1, 0, "quatrain-training", {}),
        (2, 1, "preprocess", {"executor_detail": run_in(20, 19)}),
        (3, 2, "preprocess", {"execution": launching(DATAFLOW), "executor_detail": run_in(21)}),
        (4, 1, "train", {}),
        (5, 4, "custom-training-job", {"executor_detail": run_in(50)}),
    ]
    if training:
        rows[4][3]["execution"] = launching(training)
    return [
        Task(task_id=n, parent_task_id=parent, task_name=name, state="RUNNING", **more)
        for n, parent, name, more in rows
    ]


@pytest.fixture
def sent(google, vertex, job):
    """A running job `mine`, whose training is the custom job 77."""
    vertex.create_job(job, "mine")
    (own,) = google.jobs.values()
    own.state = State.PIPELINE_STATE_RUNNING
    own.create_time = datetime.datetime(2026, 12, 1, 3, tzinfo=datetime.UTC)
    own.job_detail = aiplatform_v1.PipelineJobDetail(task_details=tasks())
    name = f"{PARENT}/customJobs/77"
    training = aiplatform_v1.CustomJob(name=name, display_name="mine")
    training.state = aiplatform_v1.JobState.JOB_STATE_PENDING
    google.custom_jobs[name] = training
    path = DATAFLOW.split("/", 3)[3]
    google.other[f"/{path}"] = {"id": "d1", "currentState": "JOB_STATE_DONE"}
    return own


@pytest.fixture
def log(google, monkeypatch):
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    import time

    time.tzset()
    write, ml = google.log.write, {"project_id": "my-project", "task_name": "workerpool0-0"}
    flow = {"project_id": "my-project", "job_id": "d1", "step_id": "read"}
    events = {"resource_container": "12345", "location": "europe-west1"}
    event = "aiplatform.googleapis.com/PipelineJob"
    write(event, {**events, "pipeline_job_id": "mine"}, "2026-12-01T03:00:01Z", {"state": "RUN"})
    write("ml_job", {**ml, "job_id": "19"}, "2026-12-01T03:00:02Z", "tried", "ERROR")
    write("ml_job", {**ml, "job_id": "20"}, "2026-12-01T03:00:03.5Z", {"message": "read\n\tall"})
    write("dataflow_step", flow, "2026-12-01T03:00:04.123456789Z", {"message": "worker"}, "DEBUG")
    write("ml_job", {**ml, "job_id": "50"}, "2026-12-01T03:00:05Z", "launched 77", "DEFAULT")
    write("ml_job", {**ml, "job_id": "77"}, "2026-12-01T03:00:06Z", "epoch 1")
    workers = {**ml, "job_id": "77", "task_name": "workerpool1-2"}
    write("ml_job", workers, "2026-12-01T03:00:07Z", "no memory \x1b[2J", "CRITICAL")
    write("ml_job", {**ml, "job_id": "99"}, "2026-12-01T03:00:08Z", "of another job", "ERROR")
    write("ml_job", {**ml, "job_id": "77"}, "2026-12-01T02:59:00Z", "before the job was made")
    yield google.log
    monkeypatch.undo()
    time.tzset()


LINES = """\
2026-12-01 05:00:01  info      pipeline             {"state": "RUN"}
2026-12-01 05:00:02  error     preprocess           tried
2026-12-01 05:00:03  info      preprocess           read
    \tall
2026-12-01 05:00:04  debug     preprocess           worker
2026-12-01 05:00:05  default   train                launched 77
2026-12-01 05:00:06  info      train/workerpool0-0  epoch 1
2026-12-01 05:00:07  critical  train/workerpool1-2  no memory \\x1b[2J
"""


@pytest.mark.parametrize(
    "name", ["mine", f"{PARENT}/pipelineJobs/mine", f"{PAGE}?project=my-project"]
)
def test_logs_prints_the_lines_of_all_tasks_and_of_the_jobs_behind_them(sent, log, quatrain, name):
    code, out, err = quatrain("logs", name, file=None)
    assert (code, err) == (0, "")
    assert out == LINES


def test_logs_of_a_step_are_those_of_its_jobs_alone(sent, log, quatrain):
    _, out, _ = quatrain("logs", "mine", "--step", "train", file=None)
    assert out.splitlines() == LINES.splitlines()[5:]
    code, out, err = quatrain("logs", "mine", "--step", "tain", file=None)
    assert (code, out) == (1, "")
    assert err == "error: --step tain: mine has no such step; did you mean 'train'?\n"
    code, out, err = quatrain("logs", "mine", "--step", "evaluate", file=None)
    assert (code, out, err) == (0, "", "no lines yet\n")


def test_the_last_lines_those_since_a_time_and_those_of_a_severity_can_be_read(sent, log, quatrain):
    lines = LINES.splitlines()
    log.page_size = 1
    _, out, _ = quatrain("logs", "mine", "--lines", "2", file=None)
    assert out.splitlines() == lines[-2:]
    _, out, _ = quatrain("logs", "mine", "--since", "2026-12-01T03:00:06Z", file=None)
    assert out.splitlines() == lines[-2:]
    _, out, _ = quatrain("logs", "mine", "--since", "2026-12-01T05:00:07", file=None)
    assert out.splitlines() == lines[-1:]
    _, out, _ = quatrain("logs", "mine", "--severity", "error", file=None)
    assert out.splitlines() == [lines[1], lines[-1]]


def test_the_errors_of_a_failed_job_are_printed_alone_if_it_has_any(sent, log, quatrain):
    sent.state = State.PIPELINE_STATE_FAILED
    _, out, err = quatrain("logs", "mine", file=None)
    assert out.splitlines() == [LINES.splitlines()[1], LINES.splitlines()[-1]]
    assert err == "the errors of the failed job; --severity DEFAULT prints all lines\n"
    assert quatrain("logs", "mine", "--severity", "DEFAULT", file=None)[1] == LINES
    log.entries = [e for e in log.entries if e.get("severity") not in ("ERROR", "CRITICAL")]
    _, out, err = quatrain("logs", "mine", file=None)
    assert (len(out.splitlines()), err) == (6, "")


def test_follow_prints_new_lines_once_and_ends_with_the_job(
    google, sent, log, quatrain, monkeypatch
):
    labels = {"project_id": "my-project", "job_id": "77", "task_name": "workerpool0-0"}

    def write(time, text):
        log.write("ml_job", labels, time, text)

    later = iter(
        [
            lambda: None,
            lambda: write("2026-12-01T03:00:10Z", "epoch 2"),
            lambda: write("2026-12-01T03:00:09Z", "late"),  # written before, and arrived after it
            lambda: None,
            lambda: setattr(sent, "state", State.PIPELINE_STATE_SUCCEEDED),
            lambda: write("2026-12-01T03:00:11Z", "saved"),
        ]
    )
    google.after_call = lambda _: next(later, lambda: None)()
    monkeypatch.setattr(job_logs, "PAUSE_S", 0.01)
    code, out, err = quatrain("logs", "mine", "--step", "train", "--follow", file=None)
    assert (code, err) == (0, "")
    texts = [line.split("  ")[-1] for line in out.splitlines()]
    assert texts == ["launched 77", "epoch 1", r"no memory \x1b[2J", "epoch 2", "late", "saved"]


def test_logs_without_the_right_to_read_them_names_the_role(sent, log, quatrain):
    log.permission = False
    code, out, err = quatrain("logs", "mine", file=None)
    assert (code, out) == (1, "")
    assert "cannot read the log of job mine: Permission 'logging.logEntries.list' denied" in err
    assert "whoever calls needs roles/logging.viewer in project my-project" in err
    assert "gcloud services enable logging.googleapis.com" in err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("2026-11-30T23:00Z", 3600)],
)
def test_since_is_a_time_or_a_time_before_now(text, seconds):
    now = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)
    assert now - read_since(text, now) == datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "m", "-5m", "5 m", "yesterday", "9" * 30 + "d", "²m"])
def test_another_since_is_refused(text):
    with pytest.raises(LogError, match="must be a time before now, such as 30s, 10m, 2h or 7d"):
        read_since(text, datetime.datetime.now(datetime.UTC))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Mine", "'Mine' names no pipeline job; give its id"),
        ('x" OR "', "names no pipeline job"),
        (f"{PARENT}/customJobs/77", "names no pipeline job"),
        ("https://example.com/pipelines/runs/mine", "names no pipeline job"),
        (f"{PAGE}?project=other", "mine is in project other, and .* name project my-project; add"),
        (
            f"{PARENT.replace('west1', 'west4')}/pipelineJobs/mine",
            "mine is in location europe-west4, and .*; add --set-cloud location=europe-west4",
        ),
    ],
)
def test_a_job_of_another_form_or_place_is_refused_with_the_way_out(text, sentence):
    with pytest.raises(CloudError, match=sentence):
        job_id_of(text, Cloud(**CLOUD))


def test_a_page_of_before_names_its_job_too():
    page = "https://console.cloud.google.com/vertex-ai/pipelines/locations/europe-west1/runs/mine"
    assert job_id_of(f"{page}?project=my-project", Cloud(**CLOUD)) == "mine"


def test_cancel_ends_a_job_and_what_it_launched(google, sent, quatrain):
    code, out, err = quatrain("cancel", "mine", "--yes", file=None)
    assert (code, err) == (0, "cancelling mine ...\n")
    ended = "requested the end of custom job 77, which was still running"
    assert out == f"mine has ended: cancelled\n{ended}\n"
    assert sent.state.name == "PIPELINE_STATE_CANCELLED"
    assert google.custom_jobs[f"{PARENT}/customJobs/77"].state.name == "JOB_STATE_CANCELLED"
    calls = list(google.calls)
    code, out, _ = quatrain("cancel", "mine", "--yes", file=None)
    assert (code, out) == (0, "mine has ended already: cancelled\n")
    assert "cancel_pipeline_job" not in google.calls[len(calls) :]


def test_cancel_finds_a_training_that_its_launcher_did_not_record(google, sent, quatrain):
    sent.job_detail = aiplatform_v1.PipelineJobDetail(task_details=tasks(training="")[3:])
    code, out, _ = quatrain("cancel", "mine", "--yes", file=None)
    assert code == 0
    assert "requested the end of custom job 77, which was still running\n" in out


@pytest.mark.parametrize(("answer", "ends"), [("y\n", True), ("n\n", False), ("", False)])
def test_cancel_asks_first(google, sent, quatrain, monkeypatch, answer, ends):
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    code, _, err = quatrain("cancel", "mine", file=None)
    assert err.startswith("cancel mine? [y/N]: ")
    assert (code == 0) is ends
    assert ("cancel_pipeline_job" in google.calls) is ends
    assert ("cancel_custom_job" in google.calls) is ends


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED"])
def test_a_job_that_ended_in_another_way_exits_with_1(google, sent, quatrain, monkeypatch, state):
    google.custom_jobs.clear()
    sent.job_detail = None
    sent.state = State[f"PIPELINE_STATE_{state}"]
    code, out, _ = quatrain("cancel", "mine", file=None)
    assert (code, out) == (1, f"mine has ended already: {state.lower()}\n")


def test_a_job_that_ends_while_it_is_being_cancelled_is_reported_as_it_ended(
    google, sent, quatrain
):
    google.custom_jobs.clear()

    def end(method):
        if method == "get_pipeline_job":
            sent.state = State.PIPELINE_STATE_SUCCEEDED

    google.after_call = end
    sent.job_detail = None
    code, out, err = quatrain("cancel", "mine", "--yes", file=None)
    assert (code, out) == (1, "mine has ended: succeeded\n"), err


def test_cancel_of_no_job_and_of_a_refused_one_is_a_sentence(google, sent, quatrain):
    code, _, err = quatrain("cancel", "yours", "--yes", file=None)
    assert code == 1
    assert "error: cannot read job yours: The PipelineJob yours does not exist" in err
    google.faults = [("cancel_pipeline_job", 403, "before")]
    code, _, err = quatrain("cancel", "mine", "--yes", file=None)
    assert code == 1
    assert "error: cannot cancel job mine: a fault of 403; whoever calls needs roles/" in err
