"""The line of the logits: found where it is, and kept where the rows prove it."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from trainer.calibration import PROOF, calibrate, fit_line
from trainer.checkpoints import Progress
from trainer.examples import Split
from trainer.predictor import Head, Predictor

BINARY = Head("binary", ("no", "yes"))


def rows_of(logits: np.ndarray, seed: int = 0) -> Split:
    """Returns rows whose labels are drawn by logits that the first column shows."""
    n = len(logits)
    drawn = np.random.default_rng(seed).random(n) < 1 / (1 + np.exp(-logits))
    numbers, indices = logits[:, None].astype(np.float32), np.zeros([n, 0], np.int32)
    return Split(numbers, indices, drawn.astype(np.int32), np.ones(n, np.float32))


def said(slope: float, intercept: float) -> Predictor:
    """Returns a predictor that says a line of the true logits."""

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        logits = slope * numbers[:, 0] + intercept
        return tf.sigmoid(tf.stack([-logits, logits], axis=1))

    return Predictor(predict, [], Progress(), "epochs", {"tabm": 1.0}, {"tabm": 1.0})


LOGITS = np.random.default_rng(1).normal(0.0, 2.0, 4000)
VALIDATION = rows_of(LOGITS)


def test_a_line_of_two_groups_is_worked_by_hand() -> None:
    # Of those at logit 1 three of four are positive, of those at -1 one of two: log 3 and 0.
    logits = np.array([1.0] * 4 + [-1.0] * 2)
    line = fit_line(logits, np.array([1, 1, 1, 0, 1, 0]), np.ones(6))
    half = np.log(3) / 2
    assert (line.slope, line.intercept) == (pytest.approx(half), pytest.approx(half))
    each = [-np.log(0.75)] * 3 + [-np.log(0.25)] + [-np.log(0.5)] * 2
    assert line.loss == pytest.approx(np.mean(each))


def test_the_unit_of_the_weights_changes_nothing_and_a_row_of_none_counts_for_none() -> None:
    logits, labels = VALIDATION.numbers[:, 0], VALIDATION.labels
    one, seven = (fit_line(logits, labels, np.full(4000, w)) for w in (1.0, 7.0))
    assert seven == pytest.approx(one)
    half = fit_line(logits, labels, np.repeat([1.0, 0.0], 2000))
    assert half == pytest.approx(fit_line(logits[:2000], labels[:2000], np.ones(2000)))


def test_equal_logits_have_a_line() -> None:
    line = fit_line(np.zeros(4), np.array([1, 1, 1, 0]), np.ones(4))
    assert line.intercept == pytest.approx(np.log(3))


def test_a_model_that_is_too_little_sure_is_made_surer() -> None:
    made = calibrate(said(0.8, 0.3), BINARY, VALIDATION)
    there = tf.constant(VALIDATION.numbers), tf.constant(VALIDATION.indices)
    probabilities = made.predict(*there).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)
    right = 1 / (1 + np.exp(-LOGITS))
    assert np.abs(probabilities[:, 1] - right).mean() < 0.01
    chosen = probabilities[np.arange(4000), VALIDATION.labels]
    assert made.losses["calibrated"] == pytest.approx(-np.log(chosen).mean(), rel=1e-5)


def test_a_model_that_is_right_is_left_as_it_is() -> None:
    right = said(1.0, 0.0)
    assert calibrate(right, BINARY, VALIDATION) is right
    kept = [fit_line(LOGITS, rows_of(LOGITS, s).labels, np.ones(4000)).ratio for s in range(200)]
    assert np.mean(np.array(kept) >= PROOF) < 0.04  # 1 of 100 is expected


def test_few_rows_prove_nothing() -> None:
    few = VALIDATION.take(np.arange(40))
    doubtful = said(0.8, 0.3)
    assert calibrate(doubtful, BINARY, few) is doubtful


def test_other_tasks_and_a_reversed_ranking_are_left_alone() -> None:
    wrong = said(-1.0, 0.0)
    assert calibrate(wrong, BINARY, VALIDATION) is wrong
    regression = replace(wrong, predict=lambda numbers, indices: numbers)
    assert calibrate(regression, Head("regression"), VALIDATION) is regression
