"""A job that fails leaves failure.json beside the folder of its model."""

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from quatrain.trainer import failure, task
from quatrain.trainer.failure import Failure
from quatrain.trainer.job import Outputs
from quatrain.trainer.settings import TrainerError


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TrainerError("no rows; add some"), Failure("train", "no rows", "add some", 3)),
        (TrainerError("no rows"), Failure("train", "no rows", "", 3)),
        (
            ResourceExhaustedError("OOM when allocating\nhint"),
            Failure(
                "train",
                "memory ran out: ResourceExhaustedError: OOM when allocating",
                "lower batch_size, or take a tier with more memory",
                4,
            ),
        ),
        (
            PermissionError(errno.EACCES, "not for you", "/gcs/b/examples/x"),
            Failure(
                "train",
                "gs://b/examples/x may not be used by this account (not for you)",
                "give the account of the run roles/storage.objectUser on gs://b",
                3,
            ),
        ),
        (
            FileNotFoundError(errno.ENOENT, "gone", "gs://b/x"),
            Failure("train", "gs://b/x does not exist", "run the step that writes it again", 3),
        ),
        (KeyError("x"), Failure("train", "KeyError: 'x'", "", 1)),
    ],
)
def test_an_error_has_a_reason_a_hint_and_an_exit_code(error, expected) -> None:
    assert Failure.of(error) == expected


def test_a_folder_without_examples_fails_while_reading(tmp_path: Path) -> None:
    (tmp_path / "failure.json").write_text("of an earlier attempt")
    with pytest.raises(SystemExit) as ended:
        task.main(["--examples", str(tmp_path / "gone"), "--job-dir", str(tmp_path)])
    assert ended.value.code == 3
    assert json.loads((tmp_path / "failure.json").read_text()) == {
        "phase": "read",
        "reason": f"{tmp_path}/gone has no manifest.json, so it holds no complete examples",
        "hint": "run the preprocessing",
        "exit_code": 3,
    }


def test_wrong_arguments_are_recorded_where_vertex_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MODEL_DIR", "CHECKPOINT_DIR", "TENSORBOARD_LOG_DIR"):
        monkeypatch.setenv(f"AIP_{name}", f"{tmp_path}/{name}/")
    with pytest.raises(SystemExit) as ended:
        task.main(["--examples", "x", "--epochs", "many"])
    assert ended.value.code == 2
    assert json.loads((tmp_path / "failure.json").read_text()) == {
        "phase": "arguments",
        "reason": "argument --epochs: 'many' must be a whole number",
        "hint": "",
        "exit_code": 2,
    }


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ResourceExhaustedError("variables: No space left on device"),
        TypeError("[Errno 28] in a worker's traceback"),
    ],
)
def test_a_full_disk_is_named_with_its_size(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    failed = Failure.of(error)
    size_mb = shutil.disk_usage(tmp_path).total / 1e6
    assert failed.reason == (
        f"the disk of {tmp_path}, with {size_mb:,.0f} MB in all, is full (No space left on device)"
    )
    assert failed.exit_code == failure.EXHAUSTED


class UnavailableError(Exception):
    """Named as TensorFlow's."""


def test_a_lost_collective_is_a_consequence_only_where_there_are_other_replicas() -> None:
    lost = UnavailableError("{{node x}} Collective ops is aborted by: Socket closed")
    ours = Failure.of(lost, alone=False)
    assert ours.exit_code == failure.LOST and ours.is_consequence
    assert "UnavailableError: Collective ops is aborted by: Socket closed" in ours.reason
    assert not Failure.of(lost).is_consequence
    storage = UnavailableError("HTTP response code 503 when reading gs://b/x")
    assert not Failure.of(storage, alone=False).is_consequence


CAUSE, OTHER = Failure("read", "403", "", 3), Failure("train", "NaN", "", 1)
LOST, STOPPED = Failure("train", "lost", "", 138), Failure("train", "SIGTERM", "", 143)


@pytest.mark.parametrize(
    ("written", "stays"),
    [
        ((CAUSE, LOST, STOPPED), CAUSE),
        ((LOST, CAUSE), CAUSE),
        ((LOST, STOPPED), LOST),
        ((CAUSE, OTHER), CAUSE),
        ((STOPPED, OTHER, LOST), OTHER),
    ],
)
def test_the_first_cause_stays_and_a_consequence_replaces_nothing(
    tmp_path: Path, written: tuple[Failure, ...], stays: Failure
) -> None:
    outputs = Outputs(f"{tmp_path}/model", "c", "l")
    for one in written:
        failure.record(one, outputs, patience_s=0)
    assert Failure(**json.loads((tmp_path / "failure.json").read_text())) == stays


def test_a_cause_replaces_that_of_an_earlier_attempt(tmp_path: Path) -> None:
    outputs = Outputs(f"{tmp_path}/model", "c", "l")
    failure.record(CAUSE, outputs)
    os.utime(tmp_path / "failure.json", (1e9, 1e9))
    failure.record(LOST, outputs, patience_s=0)
    failure.record(OTHER, outputs)
    assert Failure(**json.loads((tmp_path / "failure.json").read_text())) == OTHER


def test_the_failure_of_an_earlier_attempt_is_removed(tmp_path: Path) -> None:
    outputs = Outputs(f"{tmp_path}/model", "c", "l")
    failure.forget(outputs)
    failure.record(Failure("train", "r", "h", 1), outputs)
    assert (tmp_path / "failure.json").exists()
    failure.forget(outputs)
    assert not (tmp_path / "failure.json").exists()
