"""Training: the history, what ends it, what it refuses, and going on after a kill."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from quatrain.trainer.examples import read_examples
from quatrain.trainer.model import train
from quatrain.trainer.predictor import Head, head_of
from quatrain.trainer.settings import TrainerError
from tests.trainer.exported import metadata
from tests.trainer.small import job, write_examples

STEPS = 6  # an epoch: 333 rows in batches of 64


def weights(folder: Path) -> list[np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / "model" / "variables" / "variables"))
    names = sorted(n for n in reader.get_variable_to_shape_map() if n.startswith("weights/"))
    return [reader.get_tensor(n) for n in names]


@pytest.fixture(scope="module")
def trained(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(job(examples, folder))
    return folder


def test_each_epoch_lowers_the_loss(trained: Path) -> None:
    written = metadata(trained)
    history = written["history"]
    assert [e["step"] for e in history] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert [e["epoch"] for e in history] == [1, 2, 3]
    assert history[0]["validation_loss"] < math.log(2)
    assert history[2]["validation_loss"] < history[1]["validation_loss"]
    assert (written["stopped"], written["epochs"], written["steps"]) == ("epochs", 3, 3 * STEPS)


def test_the_same_job_gives_the_same_weights(trained: Path, examples: Path, tmp_path: Path) -> None:
    train(job(examples, tmp_path))
    pairs = list(zip(weights(trained), weights(tmp_path), strict=True))
    assert len(pairs) == 12  # 3 of the numbers' embedding, two tables, 7 of three layers
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


def test_tensorboard_gets_the_losses_and_the_speed(trained: Path) -> None:
    (events,) = (trained / "logs").iterdir()
    records = tf.compat.v1.io.tf_record_iterator(str(events))
    scalars = [
        (value.tag, event.step, value.metadata.plugin_data.plugin_name)
        for event in map(tf.compat.v1.Event.FromString, records)
        for value in event.summary.value
    ]
    assert ("validation_loss", 2 * STEPS, "scalars") in scalars
    assert {tag for tag, _, _ in scalars} == {"loss", "validation_loss", "steps_per_second"}


KILLED = """
import os, signal, sys
from pathlib import Path

from quatrain.trainer.rows import Resident, Window
from tests.trainer.fitting import fit
from tests.trainer.small import job


class FatalRows(Resident):
    calls = 0

    def windows(self, batch_size, shuffle):
        (whole,) = super().windows(batch_size, shuffle)
        for first in range(0, whole.steps, 2):
            self.calls += 1
            if self.calls == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            order = whole.order[first * batch_size : (first + 2) * batch_size]
            yield Window(whole.tensors, order, 2)


small = job(Path(sys.argv[1]), Path(sys.argv[2]))
fit(small, lambda train, cluster: FatalRows(train), save_every_s=0.0)
"""


# 6 steps an epoch in calls of 2: the 5th call begins at step 2 of the second epoch
@pytest.mark.parametrize(("call", "left"), [(5, "epoch-00001_0000002.npz"), (7, "epoch-00002.npz")])
def test_killed_at_any_step_it_goes_on_bit_for_bit(
    trained: Path, examples: Path, tmp_path: Path, call: int, left: str
) -> None:
    command = [sys.executable, "-c", KILLED, str(examples), str(tmp_path), str(call)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert sorted(os.listdir(tmp_path / "checkpoints"))[-1] == left
    assert not (tmp_path / "model").exists()

    train(job(examples, tmp_path))
    for one, other in zip(weights(trained), weights(tmp_path), strict=True):
        np.testing.assert_array_equal(one, other)
    histories = [metadata(folder)["history"] for folder in (trained, tmp_path)]
    losses = [[e["validation_loss"] for e in history] for history in histories]
    assert losses[0] == losses[1]
    sums = [[e["loss"] for e in history] for history in histories]
    assert sums[1] == pytest.approx(sums[0], rel=1e-6)  # added in calls of another length


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", bytes])
def test_a_damaged_checkpoint_is_left_out(
    trained: Path, examples: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    train(job(examples, tmp_path, epochs=2))
    newest = tmp_path / "checkpoints/epoch-00002.npz"
    whole = newest.read_bytes()
    middle = bytes([whole[len(whole) // 2] ^ 255])
    altered = whole[: len(whole) // 2] + middle + whole[len(whole) // 2 + 1 :]
    newest.write_bytes(altered if damage is bytes else damage(whole))
    train(job(examples, tmp_path))
    for one, other in zip(weights(trained), weights(tmp_path), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_finished_job_started_again_only_exports(trained: Path, examples: Path) -> None:
    before, epochs = weights(trained), []
    train(job(examples, trained), epochs.append)
    assert epochs == []
    for one, other in zip(before, weights(trained), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_checkpoint_of_another_job_is_refused(trained: Path, examples: Path) -> None:
    with pytest.raises(TrainerError, match=r"another job: dropout was 0\.1, is 0\.2"):
        train(job(examples, trained, dropout=0.2))


def test_max_steps_ends_it_within_an_epoch(examples: Path, tmp_path: Path) -> None:
    train(job(examples, tmp_path, model="linear", max_steps=STEPS + 1))
    written = metadata(tmp_path)
    assert (written["stopped"], written["steps"], written["epochs"]) == ("max_steps", 7, 2)


def test_max_seconds_ends_it_after_the_call_that_passed_them(
    examples: Path, tmp_path: Path
) -> None:
    train(job(examples, tmp_path, model="linear", max_seconds=1e-3))
    written = metadata(tmp_path)
    assert (written["stopped"], written["steps"]) == ("max_seconds", STEPS)


def test_training_stops_when_validation_no_longer_improves_and_keeps_the_best(
    tmp_path: Path,
) -> None:
    def shuffle_labels(shard: pa.Table) -> pa.Table:
        noise = np.random.default_rng(0).permutation(shard.column("label").to_numpy())
        return shard.set_column(shard.column_names.index("label"), "label", [noise])

    folder = write_examples(tmp_path / "examples", spoil={"train": shuffle_labels})
    changes = {
        "epochs": 50,
        "patience": 2,
        "learning_rate": 0.05,
        "averaging": 0.0,
        "refit": "never",
    }
    small = job(folder, tmp_path, model="linear", **changes)
    train(small)
    written = metadata(tmp_path)
    losses = [e["validation_loss"] for e in written["history"]]
    assert written["stopped"] == "early_stopping"
    assert written["best_epoch"] == 1 + int(np.argmin(losses)) == written["epochs"] - 2
    saved = tf.saved_model.load(small.outputs.model)
    loss = written["model"]["candidates"][0]["validation_loss"]  # its intercept may have lowered it
    assert loss_of(saved, folder) == pytest.approx(loss, rel=1e-5)
    assert loss == pytest.approx(min(losses), rel=1e-3)


def loss_of(model: Any, folder: Path) -> float:
    from quatrain.trainer.export import _named

    read = read_examples(str(folder))
    rows = read.first_rows("validation", 10**6)[1]
    late = model.signatures["engineered"](**_named(rows))["probabilities"][:, 1].numpy()
    labels = read.split("validation").labels
    return float(-np.log(np.where(labels == 1, late, 1 - late)).mean())


def test_a_loss_that_is_no_number_ends_a_training_with_its_step_and_column(tmp_path: Path) -> None:
    def spoil(shard: pa.Table) -> pa.Table:
        values = shard.column("delay").to_numpy().copy()
        values[7] = np.nan
        return shard.set_column(shard.column_names.index("delay"), "delay", [values])

    folder = write_examples(tmp_path / "examples", spoil={"train": spoil})
    sentence = r"at step 5: the number .* that is not finite is nan, in column 'delay'"
    with pytest.raises(TrainerError, match=sentence):
        train(job(folder, tmp_path, model="linear"))
    assert not (tmp_path / "model").exists()


def test_the_unit_of_the_weights_changes_nothing(trained: Path, tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples", weighted=True)  # every weight is 7
    train(job(folder, tmp_path))
    losses = [[e["validation_loss"] for e in metadata(f)["history"]] for f in (trained, tmp_path)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_linear_model_is_slopes_and_weights_of_levels(examples: Path, tmp_path: Path) -> None:
    train(job(examples, tmp_path, model="linear", max_steps=1))
    assert len(weights(tmp_path)) == 4  # a weight a level of two indices, a kernel and a bias


def test_a_regression_of_one_value_is_not_divided_by_zero() -> None:
    head = Head("regression", (), 5.0, 1.0)
    assert head.losses(tf.constant([5.0]), tf.constant([[[0.0]]])).numpy() == [0.0]


def test_settings_of_the_bounds_may_change_between_starts(examples: Path, tmp_path: Path) -> None:
    small = job(examples, tmp_path, model="linear", epochs=1)
    train(small)
    train(job(examples, tmp_path, model="linear"))
    assert metadata(tmp_path)["epochs"] == 3
    names = sorted(os.listdir(tmp_path / "checkpoints"))
    assert names == ["epoch-00002.npz", "epoch-00003.npz"]


def test_a_streamed_job_learns_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples", group_rows=40)
    settings = {"model": "linear", "resident_mb": 0}
    train(job(folder, tmp_path / "whole", **settings))
    train(job(folder, tmp_path / "parts", max_steps=STEPS, **settings))
    train(job(folder, tmp_path / "parts", **settings))
    whole, parts = (metadata(tmp_path / run)["history"] for run in ("whole", "parts"))
    assert [e["validation_loss"] for e in whole] == [e["validation_loss"] for e in parts]
    assert [e["step"] for e in whole] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert whole[2]["validation_loss"] < whole[0]["validation_loss"] < math.log(2)


def with_labels(change: Any) -> Any:
    def spoil(shard: pa.Table) -> pa.Table:
        labels = change(shard.column("label").to_numpy().copy())
        return shard.set_column(shard.column_names.index("label"), "label", [labels])

    return spoil


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda labels: np.minimum(labels, 1), "no row of 1 of 3 classes, as 'late'"),
        (lambda labels: labels + 1, "a label of the train split is 1 or 3, but .* names 3 classes"),
    ],
)
def test_labels_that_are_not_the_classes_are_refused(
    tmp_path: Path, change: Any, sentence: str
) -> None:
    spoil = {"train": with_labels(change)}
    folder = write_examples(tmp_path / "examples", "multiclass", spoil=spoil)
    with pytest.raises(TrainerError, match=sentence):
        train(job(folder, tmp_path))


def test_shards_of_one_class_each_train_a_model(tmp_path: Path) -> None:
    spoil = {"train": with_labels(lambda labels: np.full_like(labels, len(labels) == 200))}
    folder = write_examples(tmp_path / "examples", spoil=spoil)
    train(job(folder, tmp_path, model="linear", epochs=1))
    assert metadata(tmp_path)["epochs"] == 1


def test_more_classes_than_outputs_should_have_are_refused(examples: Path) -> None:
    read = read_examples(str(examples))
    label = replace(read.transform.label, classes=tuple(map(str, range(10_001))))
    many = replace(read, transform=replace(read.transform, task="multiclass", label=label))
    with pytest.raises(TrainerError, match="the label has 10,001 classes, more than 10,000"):
        head_of(many, read.split("train"))


def test_trees_are_not_fitted_to_streamed_rows(examples: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"model trees needs all rows in memory.*resident_mb=0"):
        train(job(examples, tmp_path, model="trees", resident_mb=0))
