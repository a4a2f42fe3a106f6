"""A training on gs:// whose machine is taken away within an epoch: it goes on from there."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from quatrain.components.package.publishing import default_trainer_dir
from tests.vertex import table
from tests.vertex.driver import KILLED, Driver
from tests.vertex.machine import BUCKET, Machine

TRAINER = f"gs://{BUCKET}/trainer-without-pause"
JOB = "custom-training-job-2"
CHECKPOINT = "epoch-00001_0000200"
"""An epoch of 450 steps is done, and 200 steps of the next."""
MODEL = re.compile(r"^model/(variables/.*|golden.json|transform.json)$")


@pytest.fixture(scope="session")
def resumed(vertex: Machine, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A training that is killed once, by a trainer that saves a checkpoint as often as it can."""
    sources = default_trainer_dir()
    for path in sources.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            vertex.storage.put(f"{TRAINER}/{path.relative_to(sources)}", path.read_bytes())
    epochs = f"{TRAINER}/neural/epochs.py"
    hurried = vertex.storage.get(epochs).replace(b"SAVE_EVERY_S = 60.0", b"SAVE_EVERY_S = 0.0")
    vertex.storage.put(epochs, hurried)
    train = {"trainer": TRAINER, "model": "tabm", "epochs": 2, "batch_size": 4}
    root = table.ROOT.replace("/root", "/resumed")
    folder = tmp_path_factory.mktemp("resumed")
    job = table.submitted(vertex, folder, {"train": train}, set_cloud=[f"root={root}"])
    driver = Driver(vertex, job, "toys-7", last=JOB)
    vertex.storage.watch(f"write .*/checkpoints/{CHECKPOINT}", driver.kill)
    driver.run()
    return driver


def test_a_training_goes_on_within_the_epoch(resumed: Driver) -> None:
    attempts = [a for a in resumed.attempts if a.task == JOB]
    assert [a.code in KILLED for a in attempts] == [True, False]
    saved = [Path(name).stem for name in attempts[0].left if "/checkpoints/" in name]
    assert CHECKPOINT in saved and not any("/model/model/" in name for name in attempts[0].left)
    assert re.search(r"resumed after epoch 1, step 6\d\d", attempts[1].log)


def test_its_model_equals_that_of_a_training_that_nothing_disturbed(
    vertex: Machine, resumed: Driver
) -> None:
    payload = copy.deepcopy(resumed.jobs[JOB])
    place = payload["job_spec"]["base_output_directory"]
    models = [place["output_uri_prefix"], f"{resumed.root}/undisturbed"]
    place["output_uri_prefix"] = models[1]
    attempt = resumed.run_custom_job(JOB, payload, models[1])
    assert attempt.code == 0 and "resumed after" not in attempt.log
    files = [
        {name: data for name, data in vertex.objects(uri).items() if MODEL.match(name)}
        for uri in models
    ]
    assert len(files[0]) == 4
    assert files[0] == files[1]
