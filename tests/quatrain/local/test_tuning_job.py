"""A tuning job's payload becomes trials: custom jobs with arguments of their own."""

import json
import os

import pytest
from google.cloud import aiplatform_v1
from google.protobuf import json_format
from google_cloud_pipeline_components.container.v1.gcp_launcher.utils.json_util import (
    recursive_remove_empty,
)

from quatrain.components.train import best_trial
from quatrain.local.tuning_job import Study

TRIAL = """
import json, os, sys, time
options = dict(a[2:].split("=") for a in sys.argv[2:] if "=" in a)
x, units = float(options["x"]), options["units"]
file, number = os.environ["CLOUD_ML_HP_METRIC_FILE"], os.environ["CLOUD_ML_TRIAL_ID"]
with open(os.environ["AIP_MODEL_DIR"].rstrip("/") + ".json", "w") as stream:
    json.dump({"argv": sys.argv[2:], "trial": number}, stream)
def report(value, tag="loss"):
    with open(file, "a") as lines:
        lines.write(json.dumps({"trial": number, "global_step": "1", tag: str(value)}) + "\\n")
exec(sys.argv[1])
"""
GOOD = "for epoch in range(3): report((x - 3) ** 2 + 3 - epoch)"
PARAMETERS = [
    {
        "parameter_id": "x",
        "double_value_spec": {"min_value": 0.0, "max_value": 10.0},
        "scale_type": "UNIT_LINEAR_SCALE",
    },
    {"parameter_id": "units", "categorical_value_spec": {"values": ["8,4", "16"]}},
]


def payload(folder, program, trials, at_once=2, failed=0, goal="MINIMIZE"):
    """Returns the payload that HyperparameterTuningJobRunOp 2.22 passes to its launcher."""
    arguments = ["-c", TRIAL, program, "--x", "9.5", "--units", "16"]
    container = {"image_uri": "toy", "command": ["python"], "args": arguments}
    pool = {"machine_spec": {"machine_type": "n1-standard-4"}, "replica_count": 1.0}
    return {
        "display_name": "toy",
        "study_spec": {
            "metrics": [{"metric_id": "loss", "goal": goal}],
            "parameters": PARAMETERS,
            "algorithm": "ALGORITHM_UNSPECIFIED",
            "measurement_selection_type": "BEST_MEASUREMENT",
        },
        "max_trial_count": trials,
        "parallel_trial_count": at_once,
        "max_failed_trial_count": failed,
        "trial_job_spec": {
            "worker_pool_specs": [{**pool, "container_spec": container}],
            "service_account": "",
            "network": "",
            "base_output_directory": {"output_uri_prefix": str(folder)},
        },
        "encryption_spec": {"kms_key_name": ""},
    }


def run(folder, program, trials, **options):
    folder.mkdir(parents=True)
    table = []
    for number in range(1, trials + 1):
        (folder / str(number)).mkdir()
    job = payload(folder, program, trials, **options)
    study = Study(job, dict(os.environ), folder / "train.log", table.append)
    return study, study.run(lambda: None), table


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    return run(tmp_path_factory.mktemp("study") / "study", GOOD, 12)


def test_a_trial_gets_its_settings_after_the_command_s_own_and_a_folder_of_its_own(ended):
    study, outcome, _ = ended
    assert outcome.succeeded
    trial = json.loads((study.path.parent / "2" / "model.json").read_text())
    assert trial["trial"] == "2"
    assert trial["argv"][1:4] == ["9.5", "--units", "16"]
    assert [a.split("=")[0] for a in trial["argv"][4:]] == ["--x", "--units"]


def test_the_first_trial_has_the_settings_of_the_command(ended):
    assert ended[0].trials[0].parameters == {"x": 9.5, "units": "16"}


def test_the_best_settings_are_found_and_each_trial_has_a_line(ended):
    study, _, table = ended
    winner = best_trial.best_trial(json.loads(study.path.read_text()))
    x = next(p["value"] for p in winner["parameters"] if p["parameterId"] == "x")
    assert abs(x - 3) < 1
    assert best_trial.value_of(winner) == pytest.approx((x - 3) ** 2 + 1)
    assert table[0].split() == ["trial", "loss", "epochs", "x", "units"]
    assert [line.split()[0] for line in table[1:]] == [str(n) for n in range(1, 13)]
    assert table[int(winner["id"])].endswith("best")


LAST_100 = """
lines = []
for step in range(150):
    lines.append(json.dumps({"timestamp": step, "loss": str(200 - step)}) + "\\n")
    with open(file, "w") as stream:
        stream.writelines(lines[-100:])
    time.sleep(0.002)
"""


def test_a_file_of_the_last_hundred_reports_is_read_as_it_moves_on(tmp_path):
    study, outcome, _ = run(tmp_path / "tuning", LAST_100, trials=1, at_once=1)
    assert outcome.succeeded
    (trial,) = study.trials
    assert (trial.best(False), trial.values[0]) == (51.0, 200.0)


def test_the_study_is_written_as_vertex_would_answer_it(ended):
    study_json = json.loads(ended[0].path.read_text())
    job = aiplatform_v1.HyperparameterTuningJob.pb(aiplatform_v1.HyperparameterTuningJob())
    json_format.ParseDict(study_json, job)
    assert [trial.state for trial in job.trials][:2] == [4, 4]  # SUCCEEDED
    assert job.trials[0].final_measurement.metrics[0].metric_id == "loss"


def test_the_payload_is_a_job_that_vertex_accepts_as_the_launcher_prunes_it(tmp_path):
    job = recursive_remove_empty(payload(tmp_path, GOOD, 3))
    del job["trial_job_spec"]["worker_pool_specs"][0]["replica_count"]  # KFP makes it 1.0 here
    launched = aiplatform_v1.HyperparameterTuningJob(job)
    assert launched.study_spec.parameters[0].double_value_spec.max_value == 10.0


def test_the_time_that_trials_take_changes_nothing(ended, tmp_path):
    slow = f"time.sleep(0.1 * (int(number) % 3))\n{GOOD}"
    second, _, _ = run(tmp_path / "study", slow, 12)
    assert [t.parameters for t in second.trials] == [t.parameters for t in ended[0].trials]
    assert [t.values for t in second.trials] == [t.values for t in ended[0].trials]


def test_a_hopeless_trial_is_stopped_and_does_not_win(tmp_path):
    behind = "[report(100 + epoch) for epoch in range(3)]; time.sleep(60)"
    program = f"exec({GOOD!r} if number != '4' else {behind!r})"
    study, outcome, table = run(tmp_path / "study", program, 5, at_once=1)
    assert outcome.succeeded
    assert [t.state for t in study.trials] == [*["SUCCEEDED"] * 3, "STOPPING", "SUCCEEDED"]
    assert study.trials[3].values == [100.0, 101.0, 102.0]
    assert "stopped" in table[4]


def test_a_trial_that_reports_no_metric_fails_with_that_sentence(tmp_path):
    study, outcome, _ = run(tmp_path / "study", "report(1, 'auc')", 4, failed=2)
    assert not outcome.succeeded
    assert outcome.reason == (
        "2 of 2 trials failed; trial 1: it reported no metric 'loss', but auc"
    )
    study_json = json.loads(study.path.read_text())
    assert study_json["state"] == "JOB_STATE_FAILED"
    assert study_json["trials"][0]["state"] == "INFEASIBLE"


def test_some_trials_may_fail(tmp_path):
    program = f"exec({GOOD!r} if number != '1' else 'raise ValueError(7)')"
    study, outcome, table = run(tmp_path / "study", program, 2, failed=2)
    assert outcome.succeeded
    assert study.trials[0].reason == "workerpool0-0: ValueError: 7"
    assert "failed" in table[1]


def test_a_metric_can_be_one_to_maximize(tmp_path):
    study, _, _ = run(tmp_path / "study", "report(x)", 4, goal="MAXIMIZE")
    winner = best_trial.best_trial(json.loads(study.path.read_text()))
    assert best_trial.value_of(winner) == max(t.values[0] for t in study.trials)


def test_the_progress_of_a_tuning_is_that_of_its_last_trial(tmp_path):
    study, _, _ = run(tmp_path / "study", GOOD, 3)
    assert study.trial_log == tmp_path / "study" / "train-trial-3.log"
    assert (
        Study(payload(tmp_path, GOOD, 1), {}, tmp_path / "x.log", print).trial_log.name == "x.log"
    )
