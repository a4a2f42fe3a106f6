"""Two workers on loopback, and four devices, follow the curve of one process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from quatrain.local import training_job
from quatrain.trainer import cluster
from quatrain.trainer.cluster import check_gpus, check_tpus, join_cluster
from quatrain.trainer.model import train
from quatrain.trainer.settings import TrainerError
from tests.trainer.small import job


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
import os, signal, sys, time
from dataclasses import replace
from pathlib import Path

from quatrain.trainer.rows import Resident
from tests.trainer.fitting import fit
from tests.trainer.small import job

examples, folder = map(Path, sys.argv[1:])
epochs = folder / "epochs"  # those that the worker began, over both attempts


class WorkerRows(Resident):
    def windows(self, batch_size, shuffle):
        is_second_attempt = epochs.exists() and "1" in epochs.read_text()
        with epochs.open("a") as file:
            file.write(f"{shuffle[1]} ")
        if shuffle[1] == 1 and not is_second_attempt:
            while not list((folder / "checkpoints").glob("epoch-00001.npz")):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().windows(batch_size, shuffle)


def wrap(train, cluster):
    return Resident(train) if cluster.is_chief else WorkerRows(train)


fit(replace(job(examples, folder), strategy="multi_worker"), wrap)
"""


def test_two_workers_of_which_one_is_killed_follow_the_curve_of_one_process(
    examples: Path, one_process: Path, tmp_path: Path
) -> None:
    arguments = ["-c", TASK, str(examples), str(tmp_path)]
    container = {"image_uri": "toy", "command": ["python"], "args": arguments}
    payload = {
        "job_spec": {
            "worker_pool_specs": [{"replica_count": 1, "container_spec": container}] * 2,
            "scheduling": {"restart_job_on_worker_restart": True, "timeout": "600s"},
            "base_output_directory": {"output_uri_prefix": str(tmp_path)},
        }
    }
    restarts: list[str] = []
    outcome = training_job.run_job(
        payload, dict(os.environ), tmp_path / "chief.log", report=restarts.append
    )
    assert outcome.succeeded, outcome.reason
    assert len(restarts) == 1
    # The worker was killed when its second epoch began, and resumed there after the restart.
    assert (tmp_path / "epochs").read_text().split() == ["0", "1", "1", "2"]
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
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
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


@pytest.mark.parametrize("start", [lambda: check_tpus(8), lambda: join_cluster("tpu")])
def test_a_tpu_that_tensorflow_does_not_see_is_an_error(start: Callable[[], object]) -> None:
    check_tpus(0)
    with pytest.raises(TrainerError, match=r"finds no TPU on this machine; .*EXTRA=tpu builds"):
        start()


def test_other_cores_than_the_tier_has_are_an_error(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Of a TPU that TensorFlow pretends to have, since no machine of ours has one."""
    request.addfinalizer(cluster._tpu_system.cache_clear)
    cores = [tf.config.LogicalDevice(f"/device:TPU:{i}", "TPU") for i in range(4)]
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", lambda resolver: None)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: cores)
    check_tpus(4)
    with pytest.raises(TrainerError, match=r"has 8 TPU cores a machine, and .* sees 4; run"):
        check_tpus(8)
