"""A job that fails leaves failure.json beside the folder of its model."""

import errno
import json
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
            OSError(errno.ENOSPC, "No space left on device"),
            Failure(
                "train",
                "the disk is full: OSError: [Errno 28] No space left on device",
                "free some, or take a tier with a larger disk",
                4,
            ),
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
        "reason": "argument --epochs: invalid int value: 'many'",
        "hint": "",
        "exit_code": 2,
    }


def test_the_failure_of_an_earlier_attempt_is_removed(tmp_path: Path) -> None:
    outputs = Outputs(f"{tmp_path}/model", "c", "l")
    failure.forget(outputs)
    failure.record(Failure("train", "r", "h", 1), outputs)
    assert (tmp_path / "failure.json").exists()
    failure.forget(outputs)
    assert not (tmp_path / "failure.json").exists()
