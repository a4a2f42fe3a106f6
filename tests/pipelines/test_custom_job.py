"""A CustomJob's payload becomes processes with Vertex's environment."""

import sys

from pipelines import custom_job


def job(*pools, **spec):
    return {"job_spec": {"worker_pool_specs": list(pools), **spec}}


def pool(count=1, args=(), **machine):
    container = {"image_uri": "i", "command": ["python", "-m", "x"], "args": list(args)}
    return {"machine_spec": machine, "replica_count": count, "container_spec": container}


def commands(payload):
    return [replica.command for replica in custom_job.read_replicas(payload, {})]


def test_the_image_s_python_is_this_one():
    assert commands(job(pool(args=["--a", "1"]))) == [(sys.executable, "-m", "x", "--a", "1")]


def test_a_tpu_job_trains_on_the_cpu_and_the_hardware_it_lacks_is_known():
    tpu = pool(args=["--strategy", "tpu"], machine_type="ct5lp-hightpu-8t", tpu_topology="2x4")
    assert commands(job(tpu))[0][-2:] == ("--strategy", "one_device")
    assert custom_job.hardware_of(job(tpu)) == ["ct5lp-hightpu-8t"]


def test_strategies_that_a_cpu_can_run_stay():
    gpu = pool(args=["--strategy", "mirrored"], accelerator_type="NVIDIA_L4", accelerator_count=2)
    assert commands(job(gpu))[0][-2:] == ("--strategy", "mirrored")
    assert custom_job.hardware_of(job(gpu, pool())) == ["NVIDIA_L4"]


def test_without_an_output_directory_there_are_no_aip_variables():
    (replica,) = custom_job.read_replicas(job(pool()), {"HOME": "/h", "AIP_MODEL_DIR": "x"})
    assert sorted(replica.env) == ["CLUSTER_SPEC", "HOME"]


def test_the_time_limit_is_the_job_s(tmp_path):
    assert custom_job.timeout_of(job(pool())) == 604_800
    assert custom_job.timeout_of(job(pool(), scheduling={"timeout": "3.5s"})) == 3.5
    slow = custom_job.Replica(0, 0, (sys.executable, "-c", "import time; time.sleep(60)"), {})
    outcome = custom_job.run_replicas([slow], tmp_path / "log", timeout_s=0.2)
    assert not outcome.succeeded
    assert outcome.reason == "the job took longer than 0.2 s"
