import numpy as np
import pytest

from benchmarks.quality.scores import LEAST, Scores, auc, calibration_error


def test_the_log_loss_is_that_of_the_right_class():
    predicted = np.array([[0.9, 0.1], [0.4, 0.6]])
    scores = Scores.of(predicted, np.array(["no", "no"]), ["no", "yes"])
    assert scores.metrics("binary")["log_loss"] == pytest.approx(-(np.log(0.9) + np.log(0.4)) / 2)


def test_a_class_that_no_train_row_has_costs_the_most():
    scores = Scores.of(np.array([[0.5, 0.5]]), np.array(["new"]), ["no", "yes"])
    assert scores.losses == pytest.approx(-np.log(LEAST))


def test_the_error_of_a_regression_is_the_root_of_the_mean_square():
    scores = Scores.of(np.array([1.0, 5.0]), np.array([4.0, 1.0]), [])
    assert scores.metrics("regression") == {"rmse": pytest.approx(np.sqrt((9 + 16) / 2))}


def test_the_calibration_error_is_the_gap_in_each_bin():
    stated = np.array([0.9, 0.9, 0.1, 0.1])
    right = np.array([True, False, False, False])
    assert calibration_error(stated, right) == pytest.approx((0.8 + 0.2) / 4)


def test_equal_scores_count_half_in_the_area_under_the_curve():
    stated = np.array([0.2, 0.5, 0.5, 0.9])
    assert auc(stated, np.array([False, False, True, True])) == pytest.approx(3.5 / 4)


def test_scores_are_read_as_they_were_saved(tmp_path):
    scores = Scores.of(np.array([[0.75, 0.25]]), np.array(["yes"]), ["no", "yes"])
    scores.save(tmp_path / "one.npz")
    again = Scores.load(tmp_path / "one.npz")
    assert again.metrics("binary") == pytest.approx(scores.metrics("binary"))
    assert [p.name for p in tmp_path.iterdir()] == ["one.npz"]
