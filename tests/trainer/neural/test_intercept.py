"""The intercept: solved on the train rows, used if the validation rows agree."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from quatrain.trainer.examples import Split, read_examples
from quatrain.trainer.export import _named
from quatrain.trainer.model import train
from quatrain.trainer.neural.intercept import find_intercept, solve
from quatrain.trainer.predictor import Head
from quatrain.trainer.rows import Resident
from tests.trainer.small import job, write_examples

BINARY = Head("binary", ("no", "yes"))
ODDS = math.log(0.6 / 0.4)


def labelled(labels: list[int], weights: list[float] | None = None) -> Resident:
    n = len(labels)
    weight = np.array(weights or [1.0] * n, np.float32)
    columns = np.zeros([n, 1], np.float32), np.zeros([n, 0], np.int32)
    return Resident(Split(*columns, np.array(labels, np.int32), weight))


def even(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Gives each class a half, by two members."""
    return tf.zeros([tf.shape(numbers)[0], 2, 1])


def test_the_shift_makes_the_mean_probability_the_share_of_the_positive_class() -> None:
    logits, ones = np.zeros([5, 1], np.float32), np.ones(5, np.float32)
    labels = np.array([1, 1, 1, 0, 0])
    assert solve(logits, labels, ones) == pytest.approx(ODDS, abs=1e-6)
    assert solve(logits - 0.3, labels, ones) == pytest.approx(ODDS + 0.3, abs=1e-6)
    weights = np.array([1, 1, 0, 1, 1], np.float32)
    assert solve(logits, labels, weights) == pytest.approx(0.0, abs=1e-6)


def test_members_have_one_shift_for_their_mean_probability() -> None:
    logits = np.array([[-1.0, 1.0]] * 2, np.float32)  # the two are mirrored: their mean is 1/2
    assert solve(logits, np.array([0, 1]), np.ones(2)) == pytest.approx(0.0, abs=1e-6)


def test_few_rows_are_not_filled_up_to_a_batch() -> None:
    sizes = []

    def network(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        sizes.append(numbers.shape[0])
        return even(numbers, indices)

    find_intercept(network, BINARY, labelled([1, 1, 0]), labelled([1, 0]))
    assert sizes == [3, 2]


def test_a_shift_is_bounded() -> None:
    assert solve(np.zeros([2, 1], np.float32), np.ones(2), np.ones(2)) == pytest.approx(1.0)


def test_a_shift_is_kept_if_it_lowers_the_loss_of_the_validation_rows() -> None:
    intercept = find_intercept(even, BINARY, labelled([1, 1, 1, 0, 0]), labelled([1, 1, 1, 0, 0]))
    assert intercept.shift == pytest.approx(ODDS, abs=1e-6)
    assert intercept.loss == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.4))
    intercept = find_intercept(even, BINARY, labelled([1, 1, 1, 0, 0]), labelled([1, 0]))
    assert (intercept.shift, intercept.loss) == (0.0, pytest.approx(math.log(2)))


def test_the_exported_network_has_it(tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples", rows=(200, 133, 400))
    small = job(folder, tmp_path, refit="never")
    train(small)
    model = tf.saved_model.load(small.outputs.model)
    read = read_examples(str(folder))

    def late(name: str) -> np.ndarray:
        rows = pa.concat_tables(read.shards(name, [c.name for c in read.transform.engineered]))
        columns = _named({n: rows.column(n).to_numpy() for n in rows.column_names})
        return model.signatures["engineered"](**columns)["probabilities"][:, 1].numpy()

    assert late("train").mean() == pytest.approx(read.split("train").labels.mean(), abs=1e-5)
    labels = read.split("validation").labels
    loss = -np.log(np.where(labels == 1, late("validation"), 1 - late("validation"))).mean()
    written = json.loads((tmp_path / "model" / "metadata.json").read_text())
    assert loss == pytest.approx(written["model"]["candidates"][0]["validation_loss"], rel=1e-5)
    assert loss < 0.999 * min(e["validation_loss"] for e in written["history"])
