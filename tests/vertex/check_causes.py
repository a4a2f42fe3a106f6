"""What failure.json says, and how the replicas end, when one of two cannot go on."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from quatrain.trainer import failure
from tests.vertex import table
from tests.vertex.driver import Driver
from tests.vertex.machine import BUCKET, Machine

JOB = "custom-training-job-2"


def two_replicas(machine: Machine, first: Driver, name: str) -> tuple[dict[str, Any], str]:
    """Returns a job of two replicas with a folder of its own, and that folder.

    The worker reads a copy of the examples, so that one replica alone can be refused.
    """
    folder, rows = f"{table.ROOT}/causes/{name}", f"gs://{BUCKET}/worker-{name}/examples"
    for path, data in machine.objects(f"{first.folders['preprocess']}/examples").items():
        machine.storage.put(f"{rows}/{path}", data)
    job = copy.deepcopy(first.jobs[JOB])
    spec = job["job_spec"]
    spec["base_output_directory"]["output_uri_prefix"] = folder
    chief = spec["worker_pool_specs"][0]
    arguments = chief["container_spec"]["args"]
    arguments[arguments.index("--strategy") + 1] = "multi_worker"
    worker = copy.deepcopy(chief)
    arguments = worker["container_spec"]["args"]
    arguments[arguments.index("--examples") + 1] = rows
    spec["worker_pool_specs"] = [chief, worker]
    return job, folder


def recorded(machine: Machine, folder: str) -> dict[str, Any]:
    return json.loads(machine.storage.get(f"{folder}/failure.json"))


@pytest.mark.parametrize(
    ("refused", "pattern", "culprit"),
    [
        ("gs://{bucket}/worker-1/examples/train-", "worker-1/examples/train-", 1),
        ("{folder}/model", "PUT .*causes/0/model/", 0),
    ],
)
def test_the_cause_stays_when_the_other_replica_loses_its_peer(
    vertex: Machine, first: Driver, refused: str, pattern: str, culprit: int
) -> None:
    job, folder = two_replicas(vertex, first, str(culprit))
    with vertex.storage.forbid(pattern):
        attempt = first.run_job(job)
    cause = recorded(vertex, folder)
    assert cause["reason"].startswith(refused.format(bucket=BUCKET, folder=folder))
    assert "may not be used" in cause["reason"]
    assert attempt.codes[culprit] == failure.REFUSED
    assert attempt.codes[1 - culprit] == failure.LOST
    assert "Traceback" not in attempt.log
