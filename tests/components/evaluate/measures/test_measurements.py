"""The model and an opponent on the same rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quatrain.components.confidence import Z95
from quatrain.components.evaluate.measures.measurements import PairedComparison
from quatrain.components.evaluate.measures.reference import Reference

NUMBERS = Reference("regression", 0, (2.0,), deviation=2.0, low=0.0, high=4.0)
CLASSES = Reference("binary", 2, (0.5, 0.5))


def test_the_interval_of_a_comparison_is_that_of_the_differences_of_the_rows() -> None:
    labels = np.array([0, 1, 1], np.int32)
    ours = np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    worse = PairedComparison.of(CLASSES, labels, ours, np.full((3, 2), 0.5)).worse
    differences = [math.log(0.5 / p) for p in (0.8, 0.6, 0.3)]
    mean, error = np.mean(differences), np.std(differences) / math.sqrt(2)
    ends = [(mean + z * error) / math.log(2) for z in (0, -Z95, Z95)]
    assert [worse.value, worse.low, worse.high] == pytest.approx(ends)


def test_class_weights_count_in_a_comparison_and_in_no_metric() -> None:
    plain = Reference("binary", 2, (0.75, 0.25))
    weighted = plain.with_class_weights([1.0, 3.0])
    assert weighted.prior == pytest.approx((0.5, 0.5))
    assert weighted.class_weights == pytest.approx(
        (1 / 1.5, 2.0)
    )  # a train row weighs 1 on average
    labels = np.array([0, 0, 0, 1], np.int32)
    ours = np.array([[0.6, 0.4]] * 3 + [[0.2, 0.8]])
    paired = PairedComparison.of(weighted, labels, ours, np.full((4, 2), 0.5))
    loss = (3 * -math.log(0.6) + 3 * -math.log(0.8)) / 6
    assert paired.losses == pytest.approx({"model": loss, "rival": math.log(2)})
    assert paired.worse.value == pytest.approx(loss / math.log(2) - 1)
    without = PairedComparison.of(plain, labels, ours, np.full((4, 2), 0.5))
    metrics = [str(p.statistics.metrics()) for p in (paired, without)]  # NaN equals no NaN
    assert metrics[0] == metrics[1]
    assert without.losses is None


@pytest.mark.parametrize("reference", [NUMBERS, CLASSES], ids=["regression", "binary"])
def test_any_cut_of_the_rows_gives_the_same_comparison(reference: Reference) -> None:
    rng = np.random.default_rng(7)
    if reference is NUMBERS:
        labels, ours, theirs = rng.normal(size=(3, 300)).astype(np.float32)
    else:
        labels = rng.integers(0, 2, 300).astype(np.int32)
        ours, theirs = (np.stack([1 - p, p], axis=1) for p in rng.random((2, 300)))
    rows = [slice(0, 300), slice(200, 300), slice(0, 9), slice(9, 200)]
    whole, *parts = (PairedComparison.of(reference, labels[r], ours[r], theirs[r]) for r in rows)
    assert (parts[0] + parts[2] + parts[1]).worse == whole.worse
