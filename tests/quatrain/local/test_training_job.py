"""A CustomJob's payload becomes processes with Vertex's environment."""

import os
import signal
import sys

import pytest

from quatrain.local import training_job
from quatrain.trainer.failure import LOST


def job(*pools, **spec):
    return {"job_spec": {"worker_pool_specs": list(pools), **spec}}


def pool(count=1, args=(), **machine):
    container = {"image_uri": "i", "command": ["python", "-m", "x"], "args": list(args)}
    return {"machine_spec": machine, "replica_count": count, "container_spec": container}


def commands(payload):
    return [replica.command for replica in training_job.read_replicas(payload, {})]


def test_the_image_s_python_is_this_one():
    assert commands(job(pool(args=["--a", "1"]))) == [(sys.executable, "-m", "x", "--a", "1")]


def test_a_tpu_job_trains_on_the_cpu_and_its_hardware_is_known():
    tpu = pool(args=["--strategy", "tpu"], machine_type="ct5lp-hightpu-8t", tpu_topology="2x4")
    assert commands(job(tpu))[0][-2:] == ("--strategy", "one_device")
    assert training_job.hardware_of(job(tpu)) == ["ct5lp-hightpu-8t"]


@pytest.mark.parametrize("option", ["--gpus", "--tpus"])
def test_an_accelerator_that_is_not_here_is_not_requested(option):
    assert commands(job(pool(args=[option, "2"])))[0][-2:] == (option, "0")


def test_strategies_that_a_cpu_can_run_stay():
    gpu = pool(args=["--strategy", "mirrored"], accelerator_type="NVIDIA_L4", accelerator_count=2)
    assert commands(job(gpu))[0][-2:] == ("--strategy", "mirrored")
    assert training_job.hardware_of(job(gpu, pool())) == ["NVIDIA_L4"]


def test_without_an_output_directory_there_are_no_aip_variables():
    (replica,) = training_job.read_replicas(job(pool()), {"HOME": "/h", "AIP_MODEL_DIR": "x"})
    assert sorted(replica.env) == ["CLUSTER_SPEC", "HOME"]


def test_the_time_limit_is_the_job_s(tmp_path):
    assert training_job.timeout_of(job(pool())) == 604_800
    assert training_job.timeout_of(job(pool(), scheduling={"timeout": "3.5s"})) == 3.5
    slow = training_job.Replica(0, 0, (sys.executable, "-c", "import time; time.sleep(60)"), {})
    outcome = training_job.run_replicas([slow], tmp_path / "log", timeout_s=0.2)
    assert not outcome.succeeded
    assert outcome.reason == "the job took longer than 0.2 s"


KILL = """
import os, signal, sys
from pathlib import Path
starts = Path(sys.argv[1]) / "starts"
with starts.open("a") as file:
    file.write("x")
if len(starts.read_text()) <= int(sys.argv[2]):
    os.kill(os.getpid(), int(sys.argv[3]))
"""


def killed_job(tmp_path, times, number=signal.SIGKILL, workers=0, **scheduling):
    arguments = ["-c", KILL, str(tmp_path), str(times), str(int(number))]
    wait = ["-c", "import time; time.sleep(1)"]
    pools = [pool(args=arguments), *([pool(workers, wait)] if workers else [])]
    for one in pools:
        one["container_spec"]["command"] = ["python"]
    lines = []
    log = tmp_path / "log"
    run = job(*pools, scheduling=scheduling)
    return training_job.run_job(run, dict(os.environ), log, report=lines.append), lines


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_replica_whose_machine_is_taken_away_restarts(tmp_path, number):
    outcome, lines = killed_job(tmp_path, 2, number)
    assert outcome.succeeded
    assert [text[-13:] for text in lines] == ["again, 1 of 3", "again, 2 of 3"]
    assert (tmp_path / "starts").read_text() == "xxx"


def test_a_job_restarts_three_times_and_then_fails(tmp_path):
    outcome, lines = killed_job(tmp_path, 9)
    assert not outcome.succeeded
    assert outcome.reason.startswith("workerpool0-0: it was killed by SIGKILL")
    assert len(lines) == 3


def test_an_error_of_the_code_is_not_retried(tmp_path):
    outcome, lines = killed_job(tmp_path, 9, signal.SIGABRT)
    assert not outcome.succeeded
    assert lines == []


def test_replicas_in_step_restart_together_if_the_job_is_set_so(tmp_path):
    outcome, lines = killed_job(tmp_path, 1, workers=1)
    assert (outcome.succeeded, lines) == (False, [])
    (tmp_path / "starts").unlink()
    outcome, lines = killed_job(tmp_path, 1, workers=1, restart_job_on_worker_restart=True)
    assert outcome.succeeded
    assert "starting again, 1 of 3" in lines[0]


@pytest.mark.parametrize(("cause", "restarts"), [(3, 0), (0, 3)])
def test_a_replica_that_lost_another_one_leaves_the_verdict_to_it(tmp_path, cause, restarts):
    texts = [f"import sys; sys.exit({LOST})", f"import sys, time; time.sleep(1); sys.exit({cause})"]
    pools = [pool(args=["-c", text]) for text in texts]
    for one in pools:
        one["container_spec"]["command"] = ["python"]
    run, lines = job(*pools, scheduling={"restart_job_on_worker_restart": True}), []
    outcome = training_job.run_job(run, dict(os.environ), tmp_path / "log", report=lines.append)
    assert not outcome.succeeded
    assert outcome.reason.startswith(f"workerpool{1 if cause else 0}-0")
    assert len(lines) == restarts
