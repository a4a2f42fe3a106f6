from __future__ import annotations

import math

import numpy as np
import pytest

from quatrain.components.evaluate.measures.metrics import metrics_of
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.evaluate.measures.regression import Regression

REFERENCE = Reference("regression", 0, (2.0,), deviation=2.0, low=0.0, high=4.0)
LABELS = np.array([0, 2, 4], np.float32)
PREDICTIONS = np.array([1, 2, 2], np.float32)


def test_regression_metrics_are_those_worked_by_hand() -> None:
    metrics = Regression.of(REFERENCE, LABELS, PREDICTIONS).metrics()
    # Errors 1, 0, -2.
    assert metrics["rmse"].value == pytest.approx(math.sqrt(5 / 3))
    assert metrics["mae"].value == 1.0
    assert metrics["mean_error"].value == pytest.approx(-1 / 3)
    assert metrics["r2"].value == pytest.approx(1 - 5 / 8)
    assert tuple(metrics) == metrics_of("regression")


def test_the_interval_of_rmse_is_by_the_delta_method() -> None:
    rmse = Regression.of(REFERENCE, LABELS, PREDICTIONS).metrics()["rmse"]
    error_of_mse = np.std([1, 0, 4], ddof=1) / math.sqrt(3)
    half = 1.959964 * error_of_mse / (2 * math.sqrt(5 / 3))
    assert rmse.high - rmse.value == pytest.approx(half)


def test_constant_labels_have_no_r2() -> None:
    metrics = Regression.of(REFERENCE, np.ones(3, np.float32), PREDICTIONS).metrics()
    assert math.isnan(metrics["r2"].value)


def test_errors_and_predictions_beyond_the_plots_are_counted_at_their_border() -> None:
    statistics = Regression.of(REFERENCE, LABELS, np.array([100, 2, -100], np.float32))
    counts = statistics.curves()["residuals"]["counts"]
    assert (counts[0], counts[-1], sum(counts)) == (1, 1, 3)
    grid = np.array(statistics.curves()["grid"]["counts"])
    assert grid[0, -1] == 1  # label 0, prediction above the range
    assert grid[-1, 0] == 1


def test_any_cut_gives_equal_statistics() -> None:
    rng = np.random.default_rng(5)
    y, p = rng.normal(size=(2, 300)).astype(np.float32) * 1e6
    whole = Regression.of(REFERENCE, y, p)
    cut = Regression.of(REFERENCE, y[200:], p[200:]) + Regression.of(REFERENCE, y[:200], p[:200])
    assert cut.metrics() == whole.metrics()
    assert cut.curves() == whole.curves()
