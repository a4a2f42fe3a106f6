"""What a task makes of the outputs of members."""

import math

import numpy as np
import pytest
import tensorflow as tf

from quatrain.trainer.predictor import CHUNK_CELLS, CHUNK_ROWS, Head, in_chunks


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_members_learn_alone_and_are_judged_by_their_average() -> None:
    head = Head("binary", ("no", "yes"))
    outputs = tf.constant([[[logit(0.2)], [logit(0.6)]]] * 2)
    losses = head.losses(tf.constant([1, 0]), outputs).numpy()
    assert losses == pytest.approx(
        [-(math.log(0.2) + math.log(0.6)) / 2, -(math.log(0.8) + math.log(0.4)) / 2], rel=1e-5
    )
    averaged = head.averaged_losses(tf.constant([1, 0]), outputs).numpy()
    assert averaged == pytest.approx([-math.log(0.4), -math.log(0.6)], rel=1e-5)
    np.testing.assert_allclose(head.predicted(outputs), [[0.6, 0.4]] * 2, rtol=1e-5)


def test_classes_are_averaged_as_probabilities() -> None:
    head = Head("multiclass", ("a", "b", "c"))
    members = np.float32([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    outputs = tf.constant(np.log(members)[None])
    np.testing.assert_allclose(head.predicted(outputs), [[0.4, 0.2, 0.4]], rtol=1e-5)
    label = tf.constant([2])
    assert head.averaged_losses(label, outputs).numpy() == pytest.approx([-math.log(0.4)], rel=1e-5)
    mean = -(math.log(0.1) + math.log(0.7)) / 2
    assert head.losses(label, outputs).numpy() == pytest.approx([mean], rel=1e-5)


def test_a_regression_is_averaged_in_the_labels_unit() -> None:
    head = Head("regression", (), mean=10.0, scale=2.0)
    outputs, label = tf.constant([[[1.0], [3.0]]]), tf.constant([12.0])
    assert head.predicted(outputs).numpy().tolist() == [[14.0]]
    assert head.losses(label, outputs).numpy().tolist() == [2.0]  # (1 - 1)**2 and (1 - 3)**2
    assert head.averaged_losses(label, outputs).numpy().tolist() == [1.0]


@pytest.mark.parametrize("rows", [0, 1, CHUNK_ROWS, 2 * CHUNK_ROWS + 1])
def test_chunks_of_rows_are_predicted_in_their_order(rows: int) -> None:
    numbers = np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2)
    indices = np.arange(rows, dtype=np.int32)[:, None]
    most = []

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        most.append(tf.shape(numbers)[0])
        return numbers - tf.cast(indices, tf.float32)

    np.testing.assert_array_equal(in_chunks(predict)(numbers, indices), numbers - indices)
    assert max(most, default=0) <= CHUNK_ROWS


def test_a_wide_table_is_predicted_fewer_rows_at_a_time() -> None:
    sizes = []

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        sizes.append(int(tf.shape(numbers)[0]))
        return numbers[:, :1]

    columns = 1_000
    numbers = np.arange(300.0 * columns, dtype=np.float32).reshape(300, columns)
    predicted = in_chunks(predict)(numbers, np.zeros([300, 0], np.int32))
    np.testing.assert_array_equal(predicted, numbers[:, :1])
    assert sizes == [CHUNK_CELLS // columns] * 2 + [300 - 2 * (CHUNK_CELLS // columns)]
