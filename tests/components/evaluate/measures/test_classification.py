from __future__ import annotations

import math

import numpy as np
import pytest

from quatrain.components.errors import DataError
from quatrain.components.evaluate.measures.classification import Classification
from quatrain.components.evaluate.measures.measurements import (
    Measurements,
    PairedComparison,
    summarize,
)
from quatrain.components.evaluate.measures.metrics import METRICS, metrics_of
from quatrain.components.evaluate.measures.reference import Reference

BINARY = Reference("binary", 2, (0.5, 0.5))
THREE = Reference("multiclass", 3, (0.5, 0.25, 0.25))
LABELS = np.array([1, 0, 1, 0], np.int32)
P = np.array([0.75, 0.25, 0.25, 0.5], np.float32)


def two(p: np.ndarray) -> np.ndarray:
    return np.stack([1 - p, p], axis=1)


def test_binary_metrics_are_those_worked_by_hand() -> None:
    metrics = {k: e.value for k, e in Classification.of(BINARY, LABELS, two(P)).metrics().items()}
    # Probabilities of what happened: .75, .75, .25, .5. A tie of classes goes to the first one.
    losses = [-math.log(p) for p in (0.75, 0.75, 0.25, 0.5)]
    assert metrics["log_loss"] == pytest.approx(sum(losses) / 4)
    assert metrics["brier"] == pytest.approx((1 / 16 + 1 / 16 + 9 / 16 + 4 / 16) / 4)
    assert metrics["accuracy"] == 0.75
    assert metrics["precision"] == 1.0
    assert metrics["recall"] == 0.5
    assert metrics["f1"] == pytest.approx(2 / 3)
    assert metrics["auc"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert tuple(metrics) == metrics_of("binary")


def test_without_a_predicted_positive_precision_is_unknown() -> None:
    metrics = Classification.of(BINARY, LABELS, two(P / 2)).metrics()
    assert math.isnan(metrics["precision"].value)
    assert metrics["recall"].value == metrics["f1"].value == 0


def test_without_a_positive_recall_f1_auc_and_average_precision_are_unknown() -> None:
    metrics = Classification.of(BINARY, np.zeros(4, np.int32), two(P)).metrics()
    unknown = {name for name, estimate in metrics.items() if math.isnan(estimate.value)}
    assert unknown == {"recall", "f1", "auc", "average_precision"}
    assert metrics["precision"].value == 0  # one row is predicted positive, and is none


def test_a_class_without_rows_has_no_recall_and_leaves_the_macro_mean_alone() -> None:
    p = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], np.float32)
    measured = Classification.of(THREE, np.array([0, 1, 1], np.int32), p)
    absent = measured.curves()["by_class"][2]
    assert math.isnan(absent["recall"]) and math.isnan(absent["f1"])
    assert (absent["precision"], absent["rows"]) == (0.0, 0.0)
    # Recall 1 and 1/2 of the classes with rows.
    assert measured.metrics()["macro_recall"].value == 0.75


def test_multiclass_metrics_are_those_worked_by_hand() -> None:
    labels = np.array([0, 0, 1, 2], np.int32)
    p = np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.6, 0.2], [0.5, 0.25, 0.25]], np.float32)
    metrics = {k: e.value for k, e in Classification.of(THREE, labels, p).metrics().items()}
    assert metrics["accuracy"] == metrics["micro_f1"] == 0.5
    # Precision 1/2, 1/2, 0; recall 1/2, 1, 0; F1 1/2, 2/3, 0.
    assert metrics["macro_precision"] == pytest.approx(1 / 3)
    assert metrics["macro_recall"] == pytest.approx(0.5)
    assert metrics["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 3)
    # Class 0: .6 above .2 and .5, .2 ties with .2 and is below .5: 2.5/4; class 1: 2.5/3; 2: 1.
    assert metrics["macro_auc"] == pytest.approx((2.5 / 4 + 2.5 / 3 + 1) / 3)
    losses = [-math.log(x) for x in (0.6, 0.2, 0.6, 0.25)]
    assert metrics["log_loss"] == pytest.approx(sum(losses) / 4)
    assert tuple(metrics) == metrics_of("multiclass")


def test_a_class_that_is_neither_there_nor_predicted_leaves_the_macro_mean_alone() -> None:
    p = np.array([[0.8, 0.2, 0.0], [0.2, 0.8, 0.0]], np.float32)
    metrics = Classification.of(THREE, np.array([0, 1], np.int32), p).metrics()
    assert metrics["macro_f1"].value == 1.0


def test_one_class_of_labels_has_no_auc() -> None:
    ones = np.ones(4, np.int32)
    metrics = Classification.of(BINARY, ones, two(P)).metrics()
    assert math.isnan(metrics["auc"].value)
    overall, prior = Classification.of(BINARY, ones, two(P)), two(np.full(4, 0.5))
    trivial = PairedComparison.of(BINARY, ones, two(P), prior)
    measured = Measurements(overall, trivial, {"a": overall}, {})
    assert summarize(measured, {"a": ("a",)})["metrics"]["auc"] == {
        "value": None,
        "low": None,
        "high": None,
    }


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    weighted = Reference("binary", 2, (0.5, 0.5), mean_weight=1.25)
    weights = np.array([2, 1, 1, 1], np.float32)
    a = Classification.of(weighted, LABELS, two(P), weights).metrics()
    twice = [0, 0, 1, 2, 3]
    b = Classification.of(BINARY, LABELS[twice], two(P[twice])).metrics()
    for name in metrics_of("binary"):
        assert a[name].value == pytest.approx(b[name].value), name


def test_a_negative_weight_is_refused() -> None:
    reference = Reference("binary", 2, (0.5, 0.5), mean_weight=1.0)
    with pytest.raises(DataError, match=r"weight -1\.0; weights must be finite"):
        Classification.of(reference, LABELS, two(P), np.array([1, -1, 1, 1], np.float32))


@pytest.mark.parametrize("mean_weight", [None, 1.3])
def test_any_cut_and_order_gives_equal_statistics(mean_weight: float | None) -> None:
    rng = np.random.default_rng(3)
    reference = Reference("binary", 2, (0.5, 0.5), mean_weight=mean_weight)
    labels, p = rng.integers(0, 2, 500).astype(np.int32), two(rng.random(500).astype(np.float32))
    weights = rng.uniform(0.01, 3, 500).astype(np.float32)
    whole = Classification.of(reference, labels, p, weights)
    order = rng.permutation(500)
    cut = Classification.zero(reference, 1_000)
    for rows in np.split(order, [1, 120, 480]):
        cut = cut + Classification.of(reference, labels[rows], p[rows], weights[rows])
    assert cut.metrics() == whole.metrics()
    assert cut.curves() == whole.curves()


def test_every_metric_explains_how_to_read_it() -> None:
    for task, metrics in METRICS.items():
        assert metrics_of(task) == tuple(m.name for m in metrics)
        assert all(m.meaning and m.title for m in metrics)
