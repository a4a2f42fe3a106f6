"""`submit --wait` shows each step once, and says why a job failed in the words of who knows."""

import io
import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from google.cloud import aiplatform_v1

from quatrain.components.tiers import tiers
from quatrain.pipelines.compiled import read_compiled
from quatrain.vertex import submission
from quatrain.vertex.capacity import other_tiers
from quatrain.vertex.cloud_file import CloudError
from quatrain.vertex.job_watch import JobWatch
from tests.quatrain.vertex.conftest import IMAGE

State = aiplatform_v1.PipelineState
Task = aiplatform_v1.PipelineTaskDetail


def script(*frames, state="PIPELINE_STATE_SUCCEEDED", error=""):
    """Makes a job go through frames, each the states of its steps."""

    def execute(job, _):
        for frame in frames:
            time.sleep(0.1)
            tasks = [
                Task(task_id=n, task_name=name, state=Task.State[s], parent_task_id=0)
                for n, (name, s) in enumerate(frame.items(), 1)
            ]
            if error:
                tasks[-1].error = {"code": 9, "message": error}
            if frame.get("evaluate") == "SUCCEEDED":
                artifact = aiplatform_v1.Artifact(uri="gs://bucket/quatrain/1/evaluation")
                tasks.append(
                    Task(
                        task_id=99,
                        task_name="measure",
                        state=Task.State.SUCCEEDED,
                        outputs={"evaluation": Task.ArtifactList(artifacts=[artifact])},
                    )
                )
            if "train" in frame:
                artifact = aiplatform_v1.Artifact(uri="gs://bucket/quatrain/1/model")
                outputs = {"model": Task.ArtifactList(artifacts=[artifact])}
                completed = Task.State.SUCCEEDED
                tasks.append(Task(task_id=98, task_name="plan", state=completed, outputs=outputs))
            job.job_detail = aiplatform_v1.PipelineJobDetail(task_details=tasks)
        job.state = State[state]

    return execute


def test_waiting_shows_the_steps_and_ends_with_the_report_s_link(google, quatrain):
    completed = {"preprocess": "SUCCEEDED", "package": "SKIPPED"}
    google.execute = script(
        {"preprocess": "RUNNING"},
        {**completed, "train": "RUNNING"},
        {**completed, "train": "SUCCEEDED", "evaluate": "SUCCEEDED"},
    )
    google.faults = [("get_pipeline_job", 503, "before"), ("get_pipeline_job", 429, "before")]
    code, out, err = quatrain("submit", "toy.yaml", "--wait")
    assert code == 0, err
    ended = [line.split() for line in err.splitlines() if "succeeded" in line or "cache" in line]
    assert [words[:2] for words in ended] == [
        ["[1/4]", "preprocess"],
        ["[2/4]", "package"],
        ["[3/4]", "train"],
        ["[4/4]", "evaluate"],
    ]
    link = "https://storage.cloud.google.com/bucket/quatrain/1/evaluation/report.html"
    assert out.endswith(f"report {link}\n")


@pytest.mark.parametrize("step", ["preprocess", "package", "train", "evaluate"])
def test_a_failed_job_names_its_step_and_reason(google, quatrain, step):
    google.execute = script({step: "FAILED"}, state="PIPELINE_STATE_FAILED", error="no rows")
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert f"error: job mine failed: task {step}: no rows\nlook: https://console." in err


def test_a_failed_training_repeats_the_failure_of_its_trainer(google, quatrain):
    left = {"phase": "train", "reason": "no rows", "hint": "add some", "exit_code": 3}
    google.storage.put("gs://bucket/quatrain/1/model/failure.json", json.dumps(left).encode())
    google.execute = script({"train": "FAILED"}, state="PIPELINE_STATE_FAILED", error="exit 3")
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "failed: task train: exit 3\ntraining: no rows; add some\nlook: https://console." in err


STOCKOUT = (
    "Resources are insufficient in region: europe-west1. Please try a different region or use a "
    "different accelerator."
)
JOBS = "https://europe-west1-aiplatform.googleapis.com/v1/projects/12345/locations/europe-west1"
DATAFLOW = "https://dataflow.googleapis.com/v1b3/projects/my-project/locations/europe-west1/jobs/1"


def nested(*rows):
    """Makes tasks of (id, parent, name, state, message, uri of the job that it launched)."""
    tasks = []
    for number, parent, name, state, message, uri in rows:
        task = Task(task_id=number, task_name=name, state=Task.State[state], parent_task_id=parent)
        if message:
            task.error = {"code": 9, "message": message}
        if uri:
            kind = "DataflowJob" if "dataflow" in uri else uri.split("/")[-2]
            kind = {"customJobs": "CustomJob"}.get(kind, kind)
            kind = {"hyperparameterTuningJobs": "HyperparameterTuningJob"}.get(kind, kind)
            resources = {"resources": [{"resourceType": kind, "resourceUri": uri}]}
            task.execution = {"metadata": {"output:gcp_resources": json.dumps(resources)}}
        tasks.append(task)
    return tasks


def ending(tasks, state="PIPELINE_STATE_FAILED"):
    """Makes a job end with tasks."""

    def execute(job, _):
        job.job_detail = aiplatform_v1.PipelineJobDetail(task_details=tasks)
        job.state = State[state]

    return execute


def add_job(google, number, message, collection="customJobs", display_name="mine"):
    """Puts a failed training or tuning job into the service, and returns its uri."""
    tuning = collection != "customJobs"
    kind = aiplatform_v1.HyperparameterTuningJob if tuning else aiplatform_v1.CustomJob
    name = f"projects/12345/locations/{google.location}/{collection}/{number}"
    job = kind(name=name, display_name=display_name, state=aiplatform_v1.JobState.JOB_STATE_FAILED)
    job.error = {"code": 8, "message": message}
    (google.tuning_jobs if tuning else google.custom_jobs)[name] = job
    return f"{JOBS.replace('europe-west1', google.location)}/{collection}/{number}"


def failed_training(uri=""):
    launcher = "Job failed with error state: 5."
    return nested(
        (1, 0, "mine", "FAILED", "The DAG failed", ""),
        (2, 1, "preprocess", "SUCCEEDED", "", ""),
        (3, 2, "preprocess", "SUCCEEDED", "", ""),
        (4, 1, "train", "FAILED", "The DAG failed", ""),
        (5, 4, "condition-2", "FAILED", "The DAG failed", ""),
        (6, 5, "custom-training-job", "FAILED", launcher, uri),
    )


@pytest.mark.parametrize("collection", ["customJobs", "hyperparameterTuningJobs"])
@pytest.mark.parametrize("named", [True, False])
def test_a_failed_training_job_is_reported_in_its_own_words(google, quatrain, collection, named):
    uri = add_job(google, 77, "The replica workerpool0-0 ran out of disk", collection)
    add_job(google, 78, "another run's", collection, "other")
    google.execute = ending(failed_training(uri if named else ""))
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    kind = {"customJobs": "custom job"}.get(collection, "tuning job")
    path = "train/condition-2/custom-training-job"
    assert f"error: job mine failed: task {path}: Job failed with error state: 5.\n" in err
    assert f"\n{kind} 77: The replica workerpool0-0 ran out of disk\nlook: https://" in err
    assert "another run's" not in err
    assert "--tier" not in err


def test_a_failed_dataflow_job_is_reported_by_its_last_error(google, quatrain, monkeypatch):
    google.execute = ending(
        nested(
            (2, 0, "preprocess", "FAILED", "The DAG failed", ""),
            (3, 2, "preprocess", "FAILED", "exit status 1", DATAFLOW),
        )
    )
    path, importance = DATAFLOW.split("/", 3)[3], "minimumImportance=JOB_MESSAGE_ERROR"
    errors = [{"messageText": "first"}, {"messageText": "Workflow failed:\n no quota"}]
    google.other = {f"/{path}/messages?{importance}": {"jobMessages": errors}}
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "mine failed: task preprocess/preprocess: exit status 1\nDataflow job 1: Wor" in err
    assert "Dataflow job 1: Workflow failed: no quota\n" in err


def test_a_launched_job_that_may_not_be_read_leaves_the_failure_as_it_is(google, quatrain):
    google.execute = ending(failed_training(f"{JOBS}/customJobs/99"))
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "error: job mine failed: task train/condition-2/custom-training-job: Job failed" in err
    assert "\ncustom job 99: cannot read https://" in err
    assert "The CustomJob 99 does not exist" in err


@pytest.mark.parametrize(
    ("collection", "group"),
    [("customJobs", "custom-jobs"), ("hyperparameterTuningJobs", "hp-tuni")],
)
def test_a_job_that_its_launcher_left_running_is_named_with_the_command_that_ends_it(
    google, quatrain, collection, group
):
    uri = add_job(google, 77, "", collection)
    for table in (google.custom_jobs, google.tuning_jobs):
        for job in table.values():
            job.state, job.error = aiplatform_v1.JobState.JOB_STATE_PENDING, None
    google.execute = ending(failed_training(uri))
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert " 77: goes on and is billed, though nothing waits for it; end it with `gcloud ai" in err
    assert f"gcloud ai {group}" in err
    assert " cancel 77 --region europe-west1 --project my-project`" in err


def test_credentials_are_sent_to_google_alone(google, quatrain):
    path = add_job(google, 77, "not for you", display_name="other").split("/", 3)[3]
    google.execute = ending(failed_training(f"https://example.com/{path}"))
    _, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert "not for you" not in err
    assert "get_custom_job" not in google.calls


def test_each_step_is_shown_once_though_an_inner_task_has_its_name(google, quatrain):
    google.execute = ending(
        nested(
            (1, 0, "mine", "SUCCEEDED", "", ""),
            (2, 1, "preprocess", "SUCCEEDED", "", ""),
            (3, 2, "preprocess", "SKIPPED", "", ""),  # read last, and it is not the step
            (4, 1, "package", "SUCCEEDED", "", ""),
        ),
        "PIPELINE_STATE_SUCCEEDED",
    )
    code, _, err = quatrain("submit", "toy.yaml", "--wait")
    assert code == 0, err
    shown = [line.split() for line in err.splitlines() if "preprocess" in line and " s " in line]
    assert [words[-1] for words in shown] == ["succeeded"]


def released_by(state, sentence=""):
    """Makes the tasks of a release: the sub-pipeline, its condition, and what does the work."""
    tasks = nested(
        (1, 0, "mine", "SUCCEEDED", "", ""),
        (2, 1, "evaluate", "SUCCEEDED", "", ""),
        (3, 1, "release", "SUCCEEDED", "", ""),
        (4, 3, "condition-1", "SUCCEEDED", "", ""),
        (5, 4, "release", state, "", ""),
    )
    if sentence:
        tasks[-1].execution = {"metadata": {"output:released": sentence}}
    return tasks


@pytest.mark.parametrize(
    ("state", "sentence", "shown"),
    [
        ("SUCCEEDED", "version 2 has all traffic", ["release: version 2 has all traffic"]),
        ("SUCCEEDED", "", ["release: succeeded"]),
        ("NOT_TRIGGERED", "", []),
    ],
)
def test_the_release_is_a_line_after_the_steps(google, quatrain, state, sentence, shown):
    google.execute = ending(released_by(state, sentence), "PIPELINE_STATE_SUCCEEDED")
    code, _, err = quatrain("submit", "toy.yaml", "--wait")
    assert code == 0, err
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("release")] == shown
    if shown:
        assert "evaluate" in lines[lines.index(shown[0]) - 1]


def test_a_release_that_failed_is_shown_and_named(google, quatrain):
    tasks = released_by("FAILED")
    tasks[-1].error = {"code": 9, "message": "the quota is used up"}
    google.execute = ending(tasks)
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "release: failed" in err.splitlines()
    assert "the quota is used up" in err


@pytest.fixture
def google_west4(google):
    """The same in a region that trains on an L4 and an A100, which europe-west1 does not."""
    google.location = google.storage.buckets["bucket"].location = "europe-west4"
    cloud = yaml.safe_load(Path("cloud.yaml").read_text())
    Path("cloud.yaml").write_text(yaml.safe_dump({**cloud, "location": "europe-west4"}))
    return google


def test_the_tiers_that_may_have_machines_train_in_the_region():
    tier = tiers.describe("BASIC_GPU")
    assert other_tiers(tier, "europe-west4") == ["L4", "A100", "A100_FLEX"]
    assert other_tiers(tier, "europe-west1") == ["H100_FLEX", "H100_8"]


def test_a_lack_of_machines_names_the_tiers_that_may_have_some(google_west4, quatrain):
    google = google_west4
    google.images.build(IMAGE.partition("@")[2], "cuda")
    google.execute = ending(failed_training(add_job(google, 77, STOCKOUT)))
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine", "--tier", "L4")
    assert code == 1
    assert f"\ncustom job 77: {STOCKOUT}\n" in err
    assert "the machines of tier L4 are lacking: submit again later, in another region, or" in err
    assert "such as --tier BASIC_GPU or --tier A100 or --tier A100_FLEX; preprocess then" in err


def test_a_fallback_is_submitted_when_machines_are_lacking(google_west4, quatrain):
    google = google_west4
    google.images.build(IMAGE.partition("@")[2], "cuda")
    outcomes = iter([failed_training(add_job(google, 77, STOCKOUT)), []])

    def execute(job, update):
        tasks = next(outcomes)
        state = "PIPELINE_STATE_FAILED" if tasks else "PIPELINE_STATE_SUCCEEDED"
        ending(tasks, state)(job, update)

    google.execute = execute
    arguments = ["--wait", "--no-cache", "--job-id", "mine", "--tier", "L4", "--fallback", "A100"]
    code, _, err = quatrain("submit", "toy.yaml", *arguments)
    assert code == 0, err
    assert "now with tier A100 instead of L4\n" in err
    assert [name.rsplit("/", 1)[1] for name in google.jobs] == ["mine", "mine-2"]
    parameters = [
        aiplatform_v1.PipelineJob.pb(job).runtime_config.parameter_values
        for job in google.jobs.values()
    ]
    assert [values["tier"].string_value for values in parameters] == ["L4", "A100"]
    # The second one finds the rows of the first in the cache.
    assert {values["cache_key"].string_value for values in parameters} == {"mine"}
    assert parameters[0]["spec"] == parameters[1]["spec"]


def test_another_failure_is_not_tried_again_with_the_fallback(google_west4, quatrain):
    google = google_west4
    google.images.build(IMAGE.partition("@")[2], "cuda")
    google.execute = ending(failed_training(add_job(google, 77, "The replica exited with 3")))
    arguments = ["--wait", "--tier", "L4", "--fallback", "A100"]
    assert quatrain("submit", "toy.yaml", *arguments)[0] == 1
    assert len(google.jobs) == 1


def test_every_fallback_is_checked_before_the_first_job_is_sent(google, quatrain):
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--fallback", "L5")
    assert (code, google.calls) == (1, [])
    assert "unknown tier 'L5'" in err
    code, _, err = quatrain("submit", "toy.yaml", "--fallback", "L4")
    assert (code, google.calls) == (2, [])
    assert "--fallback needs --wait" in err


@pytest.mark.parametrize("name", [n for n in tiers.names() if n != "CUSTOM"])
def test_another_tier_has_other_machines_of_the_same_kind_or_waits(name):
    tier = tiers.describe(name)
    for other in map(tiers.describe, other_tiers(tier, "europe-west4")):
        assert other.name != name
        kinds = {bool(t.pools[0].accelerator_type) for t in (tier, other)}
        assert len(kinds) == 1
        assert (other.scheduling == "SPOT") is (tier.scheduling == "SPOT")
        assert other.scheduling == "FLEX_START" or other.pools != tier.pools


def test_a_job_cancelled_in_the_console_is_reported_as_such(google, quatrain):
    google.execute = script({"train": "CANCELLED"}, state="PIPELINE_STATE_CANCELLED")
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "[3/4] train         0.0 s  cancelled" in err
    assert "error: job mine was cancelled\nlook: https://console." in err


def test_a_job_that_cannot_be_read_any_more_goes_on(google, vertex, job, training_path):
    vertex.create_job(job, "mine")
    google.faults = [("get_pipeline_job", 503, "before")] * 50
    sent = submission.Submission("mine", job, read_compiled(training_path))
    with pytest.raises(CloudError) as raised:
        JobWatch(vertex, sent, io.StringIO()).run()
    message = str(raised.value)
    assert (
        "the service did not answer; try again in a while\nthe job is still running; look: https://"
        in message
    )


def test_a_job_deleted_while_waiting_is_reported_as_such(google, quatrain):
    google.after_call = lambda method: method == "create_pipeline_job" and google.jobs.clear()
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "cannot read job mine: The PipelineJob mine does not exist; is it in project" in err


@pytest.mark.parametrize(("answer", "cancelled"), [("y\n", True), ("n\n", False), (None, False)])
def test_ctrl_c_while_waiting_offers_to_cancel(google, quatrain, monkeypatch, answer, cancelled):
    class Terminal(io.StringIO):
        def isatty(self):
            return answer is not None

    def interrupt(method):
        if method == "get_pipeline_job":
            os.kill(os.getpid(), signal.SIGINT)

    google.after_call = interrupt
    monkeypatch.setattr("sys.stdin", Terminal(answer or ""))
    # A background process of a script ignores Ctrl-C from its start, and so do its tests.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert code == 130
    assert ("cancel_pipeline_job" in google.calls) is cancelled
    assert ("mine is still running; `quatrain cancel mine` ends it" in err) is not cancelled
