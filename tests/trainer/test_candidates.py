"""The candidates of a training: the chosen one, and how far the others are behind."""

import numpy as np
import pytest

from quatrain.trainer.candidates import Candidate, choose
from quatrain.trainer.predictor import Head


def test_candidates_are_compared_row_by_row_with_the_exported_one() -> None:
    tried = [
        Candidate("tabm", 1.75, row_losses=np.array([1.0, 2.0, 1.0, 3.0])),
        Candidate("trees", 1.25, row_losses=np.array([1.0, 1.0, 1.0, 2.0])),
    ]
    other, best = choose(tried, "trees", np.ones(4, np.float32))
    assert (other.chosen, best.chosen) == (False, True)
    assert other.behind == pytest.approx(0.5)  # the differences are 0, 1, 0, 1
    assert other.behind_error == pytest.approx(0.5 / 2)  # a deviation of 0.5 over 4 rows
    assert (best.behind, best.behind_error) == (0.0, 0.0)


def test_a_row_without_weight_does_not_take_part_in_the_comparison() -> None:
    tried = [
        Candidate("tabm", 2.0, row_losses=np.array([2.0, 2.0, 9.0])),
        Candidate("trees", 1.0, row_losses=np.array([1.0, 1.0, 0.0])),
    ]
    other, _ = choose(tried, "trees", np.array([1, 1, 0], np.float32))
    assert (other.behind, other.behind_error) == (1.0, 0.0)


def test_how_far_candidates_are_behind_is_unknown_without_the_losses_of_rows() -> None:
    (only,) = choose([Candidate("tabm", 0.5, seconds=2.0, steps=30)], "tabm")
    assert only.as_json() == {
        "name": "tabm",
        "validation_loss": 0.5,
        "seconds": 2.0,
        "steps": 30,
        "chosen": True,
        "members": 1,
        "behind": None,
        "behind_error": None,
    }


def test_losses_of_rows_are_those_of_the_task() -> None:
    labels = np.array([1, 0])
    predicted = np.array([[0.75, 0.25], [1.0, 0.0]], np.float32)
    classes = Head("binary", ("no", "yes")).row_losses(predicted, labels)
    assert classes.tolist() == pytest.approx([-np.log(0.25), 0.0])
    values = Head("regression").row_losses(np.array([[3.0], [1.0]], np.float32), labels)
    assert values.tolist() == [4.0, 1.0]
