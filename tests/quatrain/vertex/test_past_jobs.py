"""`quatrain list` with a root in a bucket and a cloud: what happened, and what each run cost."""

import datetime
import json
import re
import webbrowser
from pathlib import Path

import pytest
from google.cloud import aiplatform_v1

from quatrain.components.tiers.prices import load_prices
from quatrain.vertex.past_jobs import estimate_cost
from tests.quatrain.results.made_runs import record

State, Task = aiplatform_v1.PipelineState, aiplatform_v1.PipelineTaskDetail
MONDAY = datetime.datetime(2026, 10, 5, 6, tzinfo=datetime.UTC)
ROOT = "gs://bucket/quatrain"
HERE = Path(__file__).parents[2]


def put_record(google, run, made, name="toy", **changed):
    document = record(run, made.isoformat(), name=name, **changed)
    uri = f"{ROOT}/{name}/statistics/runs/{run}.json"
    google.storage.put(uri, json.dumps(document).encode())


def put_job(google, job, run, made, state="SUCCEEDED", hours=(0.5, 1.0, 0.25), error=""):
    """A job of the emulated Vertex AI, whose steps take hours in turn, in tasks inside tasks."""
    google.create_pipeline_job({"pipelineJobId": run}, job, "")
    message = next(j for name, j in google.jobs.items() if name.endswith(f"/{run}"))
    message.create_time, at = made, made
    tasks = [Task(task_id=1, task_name="quatrain-training", start_time=made)]
    names = (("preprocess", "preprocess"), ("train", "custom-training-job-2"), ("evaluate", "gate"))
    for number, (took, (outer, inner)) in enumerate(zip(hours, names, strict=False), 1):
        end = at + datetime.timedelta(hours=took)
        parent = {"task_id": 10 * number, "parent_task_id": 1, "task_name": outer}
        leaf = {"task_id": 10 * number + 1, "parent_task_id": 10 * number, "task_name": inner}
        for task in (parent, leaf):
            tasks.append(Task(**task, state=Task.State.SUCCEEDED, start_time=at, end_time=end))
        at = end
    if error:
        for task in tasks[-2:]:
            task.state, task.error = Task.State.FAILED, {"code": 9, "message": error}
    message.job_detail = aiplatform_v1.PipelineJobDetail(task_details=tasks)
    message.state = State[f"PIPELINE_STATE_{state}"]
    if state != "RUNNING":
        message.end_time = at


def listed(quatrain, *words):
    """Calls `quatrain list` with a cloud; returns the cells of each line, and the errors."""
    code, out, err = quatrain("list", *words, "--cloud", "cloud.yaml", file=None)
    assert code == 0, err
    return [re.split(" {2,}", line) for line in out.splitlines()], err


def test_the_last_eight_mondays_with_what_each_run_cost(google, quatrain, job):
    for week in range(10):
        made, run = MONDAY + datetime.timedelta(weeks=week), f"quatrain-training-{week}"
        if week == 7:
            put_job(google, job, run, made, "FAILED", (0.5,), "30 % of the rows were rejected")
        else:
            put_record(google, run, made, auc=0.75 if week == 5 else 0.85)
            state = "FAILED" if week == 5 else "SUCCEEDED"
            put_job(google, job, run, made, state)
    google.storage.put(f"{ROOT}/toy/statistics/champion.json", b'{"run": "quatrain-training-9"}')
    google.calls.clear()
    google.storage.requests.clear()
    (titles, *lines, champion, counts, earlier), err = listed(quatrain, "toy", "--last", "8")
    assert err == ""
    assert titles == ["run", "when", "rows", "auc", "verdict", "wall", "est. USD"]
    passed = ["900", "0.8500 ±0.0200", "passed", "1.8 h", "0.40"]
    assert [[line[0], *line[2:]] for line in lines] == [
        ["9*", *passed],
        ["8", *passed],
        ["7", "failed in preprocess", "30 min", "0.11"],
        ["6", *passed],
        ["5", "900", "0.7500 ±0.0200", "failed: auc", "1.8 h", "0.40"],
        *([week, *passed] for week in "432"),
    ]
    assert all(line[1].startswith("Mon ") for line in lines)
    assert counts[0].startswith("est. USD: the machines of each task for the time of the task")
    assert (champion, earlier) == (["* the champion"], ["2 earlier runs: --last 0 lists all"])
    assert google.calls == ["list_pipeline_jobs"]
    assert len(google.storage.requests) <= 12


def test_a_job_that_goes_on_or_was_cancelled_is_listed_as_that(google, quatrain, job):
    put_job(google, job, "toy-1", MONDAY, "CANCELLED", (0.5,))
    put_job(google, job, "toy-2", MONDAY + datetime.timedelta(days=1), "RUNNING", (0.5,))
    lines, _ = listed(quatrain, "toy")
    assert [line[2] for line in lines[1:3]] == ["running", "cancelled"]


def test_a_run_whose_job_is_gone_is_listed_by_its_record(google, quatrain, job):
    put_record(google, "toy-1", MONDAY)
    put_job(google, job, "toy-2", MONDAY + datetime.timedelta(days=1))
    lines, _ = listed(quatrain, "toy")
    assert [line[0] for line in lines[1:3]] == ["2", "1"]
    assert lines[2][-2:] == ["passed", "60 s"]


def test_jobs_of_another_root_or_model_are_not_listed(google, quatrain, job):
    put_job(google, job, "toy-1", MONDAY)
    elsewhere = {**job["runtimeConfig"], "gcsOutputDirectory": "gs://bucket/other"}
    put_job(google, {**job, "runtimeConfig": elsewhere}, "toy-2", MONDAY)
    put_job(google, {**job, "labels": {"quatrain": "boat"}}, "boat-1", MONDAY)
    lines, _ = listed(quatrain, "toy")
    assert [line[0] for line in lines[1:-1]] == ["1"]
    lines, _ = listed(quatrain)
    assert [line[:2] for line in lines[1:-1]] == [["boat", "boat-1"], ["toy", "toy-1"]]


def test_many_jobs_come_in_pages(google, quatrain, job):
    for n in range(120):
        put_job(google, job, f"toy-{n:03d}", MONDAY + datetime.timedelta(hours=n), hours=())
    google.calls.clear()
    lines, _ = listed(quatrain, "toy", "--last", "0")
    assert [lines[1][0], lines[-2][0]] == ["119", "000"]
    assert google.calls == ["list_pipeline_jobs"] * 3


def cost(job, *tasks, **spec):
    """The estimated cost of a job by its tasks, each a name, its hours and its state."""
    details = [
        {
            "taskId": str(n),
            "taskName": name,
            "state": state,
            "startTime": "2026-10-05T06:00:00Z",
            "endTime": (MONDAY + datetime.timedelta(hours=hours)).isoformat(),
        }
        for n, (name, hours, state) in enumerate(tasks)
    ]
    values = job["runtimeConfig"]["parameterValues"]
    document = json.loads(values["spec"])
    document["train"] |= spec
    config = {"parameterValues": {**values, "spec": json.dumps(document)}}
    job = {"runtimeConfig": config, "createTime": "2026-10-05T06:00:00Z"}
    job["jobDetail"] = {"taskDetails": details}
    return estimate_cost(job, load_prices(), "us-central1", MONDAY)


def test_the_cost_is_each_task_s_time_on_its_machines_and_the_fee(job):
    step, n1 = 0.154126276, 0.21849885  # the list prices of e2-standard-4 and n1-standard-4
    tasks = [("preprocess", 2, "SUCCEEDED"), ("custom-training-job", 3, "SUCCEEDED")]
    found = cost(job, *tasks, tier="CUSTOM", pools=[{"machine_type": "n1-standard-4"}])
    assert found.low == found.high == pytest.approx(0.03 + 2 * step + 3 * n1, abs=1e-6)
    cached = cost(job, ("preprocess", 2, "SKIPPED"))
    assert cached.low == cached.high == pytest.approx(0.03)


def test_the_trials_of_a_tuning_cost_their_machines_at_once(job):
    tune = {"trials": 4, "parallel": 2, "space": {"learning_rate": [0.001, 0.01]}}
    own = {"tier": "CUSTOM", "pools": [{"machine_type": "n1-standard-4"}]}
    found = cost(job, ("hyperparameter-tuning-job", 1, "SUCCEEDED"), tune=tune, **own)
    assert found.low == pytest.approx(0.03 + 2 * 0.21849885, abs=1e-6)


def test_a_cost_is_unknown_where_the_machines_are(job):
    tasks = [("custom-training-job", 1, "SUCCEEDED")]
    assert cost(job, *tasks, tier="NO_TIER") is None


def test_a_root_in_a_bucket_has_the_measured_runs_alone(google, quatrain, job):
    put_record(google, "toy-1", MONDAY)
    put_job(google, job, "toy-2", MONDAY)
    code, out, err = quatrain("list", "--root", ROOT, "--json", file=None)
    (run,) = json.loads(out)
    assert (code, err) == (0, "")
    assert (run["run"], run["place"], run["usd"]) == ("toy-1", f"{ROOT}/toy/toy-1", None)
    assert google.calls == []


def test_a_bucket_that_may_not_be_listed_is_a_sentence(google, quatrain):
    with google.storage.forbid("GET /storage/v1/b/bucket/o"):
        for words in (["--root", ROOT], ["toy", "--root", ROOT]):
            code, out, err = quatrain("list", *words, file=None)
            assert (code, out) == (1, "")
            assert err.startswith("error: ")
            assert "does not have access" in err
    code, _, err = quatrain("list", "--root", "gs://bucket/nothing", file=None)
    assert (code, err.split(";")[0]) == (1, "error: gs://bucket/nothing has no runs")


@pytest.fixture
def measured(google, job):
    """A measured run in the bucket, with its evaluation and its job; returns metrics.json."""
    old = next((HERE / "fixtures/root-0.1.0/root/toys").glob("2*-*/metrics.json"))
    metrics = {**json.loads(old.read_text()), "name": "toy"}
    evaluation = f"{ROOT}/123/toy-1/measure_5/evaluation"
    google.storage.put(f"{evaluation}/metrics.json", json.dumps(metrics).encode())
    google.storage.put(f"{evaluation}/report.html", b"<h1>the page</h1>")
    places = {"examples": "", "evaluation": evaluation, "model": ""}
    put_record(google, "toy-1", MONDAY, artifacts=places)
    put_job(google, job, "toy-1", MONDAY)
    return metrics


def test_report_prints_a_run_in_a_bucket_with_the_link_of_its_page(quatrain, measured):
    for words in ([f"{ROOT}/toy/toy-1"], ["toy-1", "--root", ROOT], ["toy/1", "--root", ROOT]):
        code, out, err = quatrain("report", *words, file=None)
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[0] == "toy toy-1: succeeded after 60 s"
        assert any(re.match(r"auc +0\.75\d\d ", line) for line in lines)
        page = "https://storage.cloud.google.com/bucket/quatrain/123/toy-1/measure_5/evaluation"
        assert lines[-1] == f"page: {page}/report.html"


def test_report_with_a_cloud_adds_the_cost_and_the_page_of_the_job(quatrain, measured):
    words = ("report", "toy-1", "--cloud", "cloud.yaml")
    code, out, err = quatrain(*words, file=None)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "toy toy-1: succeeded after 1.8 h"
    assert lines[1].startswith("estimated at 0.40 USD: the machines of each task")
    assert lines[-1].startswith("job:  https://console.cloud.google.com/vertex-ai/")
    document = json.loads(quatrain(*words, "--json", file=None)[1])
    assert document["metrics"] == measured
    assert document["run"]["usd"]["low"] == pytest.approx(0.40, abs=0.005)
    assert document["page"].endswith("/evaluation/report.html")


def test_report_opens_a_copy_of_a_page_in_a_bucket(quatrain, measured, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    code, _, err = quatrain("report", f"{ROOT}/toy/toy-1", "--open", file=None)
    assert (code, err) == (0, "")
    path = Path(opened[0].removeprefix("file://"))
    assert path.read_text() == "<h1>the page</h1>"
    path.unlink()


def test_report_shows_why_a_job_failed_before_its_model_was_measured(google, quatrain, job):
    put_job(google, job, "toy-1", MONDAY, "FAILED", (0.5,), "30 % of the rows were rejected")
    for words in (["toy-1"], [f"{ROOT}/toy/toy-1"]):
        code, out, err = quatrain("report", *words, "--cloud", "cloud.yaml", file=None)
        assert (code, err) == (0, "")
        assert out.startswith("toy toy-1: failed after 30 min\n")
        assert "error: task preprocess: 30 % of the rows were rejected" in out
    words = ("report", "toy-1", "--cloud", "cloud.yaml", "--open")
    code, _, err = quatrain(*words, file=None)
    assert code == 1
    assert "has no report.html, since the run did not reach evaluate; leave out --open" in err


def test_a_run_that_is_neither_recorded_nor_a_job_is_a_sentence(google, quatrain):
    for words in ([f"{ROOT}/toy/gone"], [f"{ROOT}/toy/gone", "--cloud", "cloud.yaml"]):
        code, out, err = quatrain("report", *words, file=None)
        assert (code, out) == (1, "")
        assert "gs://bucket/quatrain/toy/gone is no run that was measured" in err
    code, _, err = quatrain("report", "gone", "--root", ROOT, file=None)
    assert code == 1
    assert "'gone' is no folder here and no run of gs://bucket/quatrain" in err
