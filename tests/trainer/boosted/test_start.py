"""The start of boosting where the train rows lack a class."""

import numpy as np
import pytest

from quatrain.trainer.boosted.boosting import boost, predict_rows
from quatrain.trainer.boosted.start import start_scores
from quatrain.trainer.examples import Split
from quatrain.trainer.predictor import Head
from quatrain.trainer.settings import Hyperparameters


def rows_of(labels: list[int], weight: float = 1.0) -> Split:
    """Rows of which the first number says the label, but for noise."""
    random = np.random.default_rng(len(labels))
    classes = np.array(labels, np.int32)
    numbers = random.normal(size=(len(labels), 3)).astype(np.float32)
    numbers[:, 0] += classes
    indices = random.integers(0, 3, (len(labels), 1)).astype(np.int32)
    return Split(numbers, indices, classes, np.full(len(labels), weight, np.float32))


def test_a_class_without_a_row_starts_as_if_it_had_half_a_row() -> None:
    labels = np.array([0, 0, 0, 2])
    three = start_scores(labels, None, 3)
    assert three is not None
    np.testing.assert_allclose(np.exp(three), [3.5 / 5.5, 0.5 / 5.5, 1.5 / 5.5])
    two = start_scores(np.zeros(4, int), None, 2)
    np.testing.assert_allclose(two, [np.log(0.5 / 4.5)])


def test_the_unit_of_weights_does_not_move_the_start() -> None:
    labels = np.array([0, 0, 0, 2])
    starts = [start_scores(labels, np.full(4, unit), 3) for unit in (0.001, 1.0, 1000.0)]
    np.testing.assert_allclose(starts[0], starts[1])
    np.testing.assert_allclose(starts[2], starts[1])


def test_lightgbm_starts_as_ever_where_no_class_lacks_rows() -> None:
    assert start_scores(np.array([0, 1, 2]), None, 3) is None
    assert start_scores(np.array([0.5, 1.5]), None, 0) is None


@pytest.mark.parametrize("classes", [2, 4])
def test_trees_give_an_absent_class_a_small_share_and_not_none(classes: int) -> None:
    head = Head("binary" if classes == 2 else "multiclass", tuple("abcd"[:classes]))
    present = list(range(classes - 1))
    train = rows_of(present * (60 // len(present)), weight=5.0)
    validation = rows_of([*present * (20 // len(present)), classes - 1])
    boosted = boost(train, validation, [3], head, Hyperparameters(rounds=30))
    judged = predict_rows(boosted.leader, validation, head)
    assert judged[:, -1].min() > 1e-4
    assert judged[:, -1].max() < 0.05
    np.testing.assert_allclose(judged.sum(axis=1), 1.0)
    outputs = boosted.trees.numpy(validation.numbers, validation.indices).astype(np.float64)
    if classes == 2:
        served = 1.0 / (1.0 + np.exp(-outputs[:, 0]))
        np.testing.assert_allclose(served, judged[:, 1], rtol=1e-5)
    else:
        served = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(served, judged, rtol=1e-5)
    losses = head.row_losses(judged, validation.labels)
    assert boosted.progress.best_loss == pytest.approx(losses.mean())
