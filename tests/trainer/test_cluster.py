"""Two workers on loopback, and four devices, follow the curve of one process."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from quatrain.local import training_job
from quatrain.trainer.cluster import check_gpus, join_cluster
from quatrain.trainer.model import train
from quatrain.trainer.settings import TrainerError
from tests.trainer.small import SMALL, job


@pytest.fixture(scope="module")
def one_process(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    train(job(examples, folder))
    return folder


def assert_same_curve(replicas: int, several: Path, one_process: Path) -> None:
    many, one = (
        json.loads((folder / "model" / "metadata.json").read_text())
        for folder in (several, one_process)
    )
    assert (many["replicas"], one["replicas"]) == (replicas, 1)
    for measure in ("loss", "validation_loss"):
        curve = [epoch[measure] for epoch in many["history"]]
        assert curve == pytest.approx([epoch[measure] for epoch in one["history"]], rel=1e-4)


TASK = """
import json, os, signal, sys
from pathlib import Path
from trainer import task
from quatrain.trainer.neural.steps import Loop

killed, run_steps = Path(sys.argv[1]), Loop.run_steps
role = json.loads(os.environ["TF_CONFIG"])["task"]["type"]

def run(loop, order, first, steps):
    if role == "worker" and int(loop.step.numpy()) == 6 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return run_steps(loop, order, first, steps)

Loop.run_steps = run
task.main(sys.argv[2:])
"""


def test_two_workers_of_which_one_is_killed_follow_the_curve_of_one_process(
    examples: Path, one_process: Path, tmp_path: Path
) -> None:
    arguments = ["-c", TASK, str(tmp_path / "killed"), "--examples", str(examples)]
    given = {f.name: getattr(SMALL, f.name) for f in fields(SMALL)} | {"max_seconds": 500}
    given["hidden_units"] = ",".join(map(str, SMALL.hidden_units))
    arguments += ["--strategy=multi_worker", *(f"--{k}={v}" for k, v in given.items())]
    container = {"image_uri": "toy", "command": ["python"], "args": arguments}
    payload = {
        "job_spec": {
            "worker_pool_specs": [{"replica_count": 1, "container_spec": container}] * 2,
            "scheduling": {"restart_job_on_worker_restart": True, "timeout": "600s"},
            "base_output_directory": {"output_uri_prefix": str(tmp_path)},
        }
    }
    told: list[str] = []
    log = tmp_path / "chief.log"
    done = training_job.run_job(payload, dict(os.environ), log, say=told.append)
    assert done.succeeded, done.reason
    (restart,) = told
    assert restart.startswith("workerpool1-0: it was killed by SIGKILL")
    assert "resumed after epoch 1, step 6" in log.read_text()
    assert_same_curve(2, tmp_path, one_process)


def test_four_devices_that_resume_follow_the_curve_of_one(
    examples: Path, one_process: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "four = [tf.config.LogicalDeviceConfiguration()] * 4\n"
        "tf.config.set_logical_device_configuration(cpu, four)\n"
        "from tests.trainer.small import job\n"
        "from quatrain.trainer.model import train\n"
        "examples, folder = map(Path, sys.argv[1:])\n"
        "train(replace(job(examples, folder, epochs=1), strategy='mirrored'))\n"
        "train(replace(job(examples, folder), strategy='mirrored'))\n"
        "odd = job(examples, folder / 'odd', epochs=1, batch_size=66)\n"
        "train(replace(odd, strategy='mirrored'))\n"
    )
    command = [sys.executable, "-c", code, str(examples), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_curve(4, tmp_path, one_process)
    # Shares of 17, 17, 17 and 15 rows.
    train(job(examples, tmp_path / "alone", epochs=1, batch_size=66))
    assert_same_curve(4, tmp_path / "odd", tmp_path / "alone")


def test_a_cluster_that_the_strategy_would_ignore_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {
        "cluster": {"chief": ["a:1"], "worker": ["b:1"]},
        "task": {"type": "chief", "index": 0},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(TrainerError, match="TF_CONFIG names 2 workers, but --strategy=one_device"):
        join_cluster("one_device")


def test_alone_the_process_is_the_chief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert join_cluster("one_device").is_chief


def test_a_gpu_that_tensorflow_does_not_see_is_an_error_not_a_slow_training() -> None:
    check_gpus(0)
    with pytest.raises(TrainerError, match=r"the tier has 64 GPUs a machine, .* sees \d+; build"):
        check_gpus(64)
