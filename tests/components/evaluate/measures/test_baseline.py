from __future__ import annotations

import numpy as np
import pytest

from quatrain.components.evaluate.measures.baseline import (
    LabelSums,
    SingleInputModel,
    codes,
    label_terms,
    trivial_answer,
)
from quatrain.components.evaluate.measures.reference import Reference

REFERENCE = Reference("binary", 2, (0.75, 0.25))


def test_codes_of_numbers_keep_their_order() -> None:
    values = np.array([-np.inf, -2, -1e-3, -0.0, 0.0, 1e-30, 0.5, 0.51, 3e38], np.float32)
    ordered = codes(values)
    assert (np.diff(ordered) >= 0).all()
    assert ordered[3] == ordered[4]
    assert len(set(ordered.tolist())) == 8


def fit(values: np.ndarray, labels: np.ndarray, is_number: bool = False) -> SingleInputModel:
    terms = label_terms(REFERENCE, labels, None)
    sums = LabelSums.of(values[:2], terms[:2]) + LabelSums.of(values[2:], terms[2:])
    return SingleInputModel.fit(sums, REFERENCE, is_number)


def test_a_category_gets_its_rate_drawn_to_the_prior() -> None:
    values, labels = np.array([7, 7, 9, 7], np.int32), np.array([1, 1, 0, 0], np.int32)
    answers = fit(values, labels).answer(np.array([7, 9, 8], np.int32))
    # Ten rows of prior: (2 + 2.5) / 13, (0 + 2.5) / 11; 8 was not in the train split.
    assert answers[:, 1].tolist() == pytest.approx([4.5 / 13, 2.5 / 11, 0.25])


def test_an_unseen_number_takes_the_bin_below() -> None:
    values, labels = np.array([1, 1, 5, 5], np.float32), np.array([0, 0, 1, 1], np.int32)
    answers = fit(values, labels, is_number=True).answer(np.array([-3, 1, 2, 5, 99], np.float32))
    low, high = 2.5 / 12, 4.5 / 12
    assert answers[:, 1].tolist() == pytest.approx([low, low, low, high, high])


@pytest.mark.parametrize(("rows", "in_bin"), [(320, 20), (1600, 80)])
def test_a_number_of_few_rows_has_bins_that_outweigh_the_prior(rows: int, in_bin: int) -> None:
    values = 1.02 ** np.arange(rows, dtype=np.float32)  # each has a code of its own
    labels = (np.arange(rows) >= rows // 2).astype(np.int32)
    answers = fit(values, labels, is_number=True).answer(values)
    low, high = 2.5 / (in_bin + 10), (in_bin + 2.5) / (in_bin + 10)
    assert answers[:, 1] == pytest.approx(np.repeat([low, high], rows // 2), rel=1e-6)


def test_a_regression_gets_the_mean_of_its_bin() -> None:
    reference = Reference("regression", 0, (2.0,), deviation=4.0)
    labels = np.array([10, 14, 2, 2], np.float32)
    sums = LabelSums.of(np.array([1, 1, 2, 2], np.int32), label_terms(reference, labels, None))
    answers = SingleInputModel.fit(sums, reference, False).answer(np.array([1, 2, 3], np.int32))
    # Ten rows of the mean 2: 2 + (8 + 12) / 12.
    assert answers.tolist() == pytest.approx([2 + 20 / 12, 2, 2], rel=1e-6)


def test_the_trivial_answer_is_the_prior() -> None:
    assert trivial_answer(REFERENCE, 2).tolist() == [[0.75, 0.25], [0.75, 0.25]]
    assert trivial_answer(Reference("regression", 0, (2.5,)), 2).tolist() == [2.5, 2.5]
