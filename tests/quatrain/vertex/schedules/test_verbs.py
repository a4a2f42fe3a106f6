"""The verbs of `quatrain schedule`, from the command line to the emulated service."""

import datetime
import json
import re

import pytest
import yaml
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from quatrain.pipelines.compiled import compile_pipeline
from tests.quatrain.vertex.conftest import CRON, IMAGE, posted

State = aiplatform_v1.PipelineState


@pytest.mark.parametrize("verb", ["apply", "list", "pause", "resume", "delete", "run"])
def test_the_help_of_every_verb_of_a_schedule_fits_a_screen_and_has_an_example(quatrain, verb):
    code, out, _ = quatrain("schedule", verb, "--help", file=None)
    assert code == 0
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 80
    assert f"Example:\n    quatrain schedule {verb}" in out


def test_a_schedule_is_applied_listed_paused_resumed_run_and_deleted(google, quatrain):
    code, out, err = quatrain("schedule", "apply", "toy.yaml", *CRON)
    assert code == 0, err
    times = [line for line in out.splitlines() if line.startswith("  Mon ")]
    assert len(times) == 5
    assert all(line.endswith("T03:00:00-03:00)") for line in times)
    _, out, _ = quatrain("schedule", "apply", "toy.yaml", *CRON)
    assert "the schedule of toy is up to date" in out
    changed = ["--set", "train.epochs=9", "--plan"]
    _, out, _ = quatrain("schedule", "apply", "toy.yaml", *CRON, *changed)
    assert out.startswith("would create a new schedule, parked")
    assert len(google.schedules) == 1
    (schedule,) = google.schedules.values()
    assert quatrain("schedule", "list", file=None)[1].startswith("toy                   active")
    assert quatrain("schedule", "pause", "toy", file=None)[0] == 0
    assert schedule.state.name == "PAUSED"
    assert quatrain("schedule", "resume", "toy", "--catch-up", file=None)[0] == 0
    assert (schedule.state.name, schedule.catch_up) == ("ACTIVE", True)
    code, out, err = quatrain("schedule", "run", "toy", file=None)
    assert code == 0, err
    assert posted(google)["labels"]["quatrain"] == "toy"
    assert quatrain("schedule", "delete", "toy", "--yes", file=None)[0] == 0
    assert not google.schedules
    code, _, err = quatrain("schedule", "pause", "toy", file=None)
    assert (code, err) == (
        1,
        "error: no schedule of 'toy' in europe-west1; make one with `schedule apply`\n",
    )


def test_the_list_of_schedules_shows_their_last_runs_and_refused_starts(google, quatrain):
    clock = datetime.datetime.now(datetime.UTC)
    google.now = lambda: clock
    assert quatrain("schedule", "apply", "toy.yaml", "--cron", "0 * * * *")[0] == 0
    code, out, _ = quatrain("schedule", "list", file=None)
    assert (code, out.count("\n")) == (0, 1)

    clock += datetime.timedelta(hours=1)
    code, out, err = quatrain("schedule", "list", file=None)
    assert code == 0, err
    job_id = "scheduled-2"
    assert "1 run  spec" in out
    assert f"\n  last run: {job_id} pending since {clock:%Y-%m-%d %H:%M:%S} UTC\n" in out

    (run,) = google.jobs.values()
    run.state = State.PIPELINE_STATE_FAILED
    run.error = {"code": 9, "message": "task gate: auc=0.5 is below the gate"}
    run.end_time = clock
    code, out, _ = quatrain("schedule", "list", file=None)
    assert code == 1
    assert f"  last run: {job_id} failed at {clock:%Y-%m-%d %H:%M:%S} UTC: task gate: auc" in out
    assert "last start" not in out
    code, out, err = quatrain("schedule", "list", "--json", file=None)
    (document,) = json.loads(out)
    assert (code, err) == (1, "")
    assert document["last_run"].pop("created") <= document["last_run"].pop("ended")
    assert document["last_run"] == {
        "job": job_id,
        "state": "FAILED",
        "error": "task gate: auc=0.5 is below the gate",
    }
    assert (document["model"], document["cron"], document["runs"]) == ("toy", "0 * * * *", 1)
    assert (document["state"], document["refusal"]) == ("ACTIVE", None)

    run.state, run.error = State.PIPELINE_STATE_SUCCEEDED, None
    assert quatrain("schedule", "list", file=None)[0] == 0
    google.refusal = "PERMISSION_DENIED: Permission 'iam.serviceAccounts.actAs' denied"
    clock += datetime.timedelta(hours=1)
    code, out, _ = quatrain("schedule", "list", file=None)
    assert code == 1
    due = f"{clock:%Y-%m-%d %H}:00:00 UTC"
    assert f"  last start: the run due at {due} was not started: {google.refusal}\n" in out
    assert f"  last run: {job_id} succeeded at" in out

    google.refusal = "the service's own words"  # whatever they are: there is no run since
    clock += datetime.timedelta(hours=1)
    assert (
        "was not started: the service's own words\n" in quatrain("schedule", "list", file=None)[1]
    )


@pytest.mark.parametrize(("queue", "code"), [([], 1), (["--queue"], 0)])
def test_a_catch_up_of_more_runs_than_may_be_active_needs_a_queue(google, quatrain, queue, code):
    assert quatrain("schedule", "apply", "toy.yaml", "--cron", "0 3 * * *", *queue)[0] == 0
    assert quatrain("schedule", "pause", "toy", file=None)[0] == 0
    (schedule,) = google.schedules.values()
    schedule.last_pause_time -= datetime.timedelta(days=10)
    ended, _, err = quatrain("schedule", "resume", "toy", "--catch-up", file=None)
    assert ended == code, err
    assert schedule.state.name == ("PAUSED" if code else "ACTIVE")
    assert ("toy missed 10 runs; it starts 1 and skips the others" in err) is bool(code)
    assert quatrain("schedule", "resume", "toy", file=None)[0] == 0


@pytest.mark.parametrize(
    ("zone", "hour", "shift"),
    [("Asia/Tokyo", 3, -1), ("America/Sao_Paulo", 22, 1), ("Asia/Tokyo", 10, 0)],
)
def test_an_applied_schedule_says_which_days_its_next_run_reads(
    google, quatrain, zone, hour, shift
):
    window = ["--set=source.uri=gs://bucket/{date}.csv", "--set=source.window=9d"]
    cron = ["--cron", f"TZ={zone} 0 {hour} * * 1"]
    code, out, err = quatrain("schedule", "apply", "toy.yaml", *window, *cron, "--plan")
    assert code == 0, err
    monday = datetime.date.fromisoformat(re.search(r"Mon (\d{4}-\d\d-\d\d)", out)[1])
    first, last = (
        f"{monday + datetime.timedelta(days=shift + before):%a %Y-%m-%d}" for before in (-9, -1)
    )
    assert f"the next one reads {first} to {last}, in UTC\n" in out
    warned = f"it reads to {last}, a day {'earlier' if shift < 0 else 'later'} than in its zone"
    assert (warned in err) is bool(shift)
    assert ("warning" in err) is bool(shift)


def test_a_plan_warns_of_the_nights_in_which_the_clocks_skip_or_repeat_the_run(google, quatrain):
    options = ["--start", "2027-03-26", "--plan"]
    for hour, is_warned in ((2, True), (4, False)):
        cron = ["--cron", f"TZ=Europe/Berlin 30 {hour} * * *"]
        code, _, err = quatrain("schedule", "apply", "toy.yaml", *cron, *options)
        assert code == 0, err
        assert ("on Sun 2027-03-28 they skip 02:00 to 03:00" in err) is is_warned


def test_a_schedule_that_predicts_stands_beside_the_one_that_trains(google, quatrain, tmp_path):
    assert quatrain("schedule", "apply", "toy.yaml", *CRON)[0] == 0
    daily = ["--cron", "TZ=Europe/Berlin 0 5 * * *", "--predict"]
    code, out, err = quatrain("schedule", "apply", "toy.yaml", *daily, file=None)
    assert code == 0, err
    assert "schedule of toy/predictions:" in out
    _, out, _ = quatrain("schedule", "apply", "toy.yaml", *daily, file=None)
    assert "the schedule of toy/predictions is up to date" in out
    trains, predicts = google.schedules.values()
    schedule = json_format.MessageToDict(aiplatform_v1.Schedule.pb(predicts))
    job = schedule["createPipelineJobRequest"]["pipelineJob"]
    file = compile_pipeline(tmp_path / "prediction.yaml", IMAGE, retries=1, predicts=True)
    assert job["pipelineSpec"] == yaml.safe_load(file.read_bytes())
    parameters = {"spec", "project", "location", "root", "runner"}
    assert set(job["runtimeConfig"]["parameterValues"]) == parameters
    assert predicts.display_name == "quatrain toy/predictions"

    _, out, _ = quatrain("schedule", "list", file=None)
    assert [line.split()[0] for line in out.splitlines()] == ["toy", "toy/predictions"]
    assert quatrain("schedule", "pause", "toy/predictions", file=None)[0] == 0
    assert (trains.state.name, predicts.state.name) == ("ACTIVE", "PAUSED")
    assert quatrain("schedule", "resume", "toy/predictions", file=None)[0] == 0
    code, _, err = quatrain("schedule", "run", "toy/predictions", file=None)
    assert code == 0, err
    [job] = google.jobs.values()
    assert job.name.rsplit("/", 1)[1].startswith("toy-predictions-")
    assert quatrain("schedule", "delete", "toy/predictions", "--yes", file=None)[0] == 0
    assert list(google.schedules.values()) == [trains]


def test_a_file_of_the_other_pipeline_is_refused(google, quatrain, training_path):
    daily = ["--cron", "0 5 * * *", "--predict", "--pipeline", str(training_path)]
    code, _, err = quatrain("schedule", "apply", "toy.yaml", *daily, file=None)
    assert code == 1
    assert "trains, but the job predicts; leave out --predict" in err
    assert not google.schedules
