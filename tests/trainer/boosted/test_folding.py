"""Trees of small tables: the mean of fits that hold out other rows, unless rows are unlike."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quatrain.trainer.boosted import folding
from quatrain.trainer.boosted.boosting import Boosted, boost, predict_rows
from quatrain.trainer.boosted.folding import MOST_ROWS, MOST_TREES, boost_folds
from quatrain.trainer.examples import Split
from quatrain.trainer.predictor import Head
from quatrain.trainer.settings import Hyperparameters

HEAD = Head("binary", ("no", "yes"))
SETTINGS = Hyperparameters(rounds=200)


def rows_of(n: int, seed: int, noise: float = 1.0) -> Split:
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(n, 4)).astype(np.float32)
    score = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + noise * random.normal(size=n)
    indices = random.integers(0, 3, (n, 1)).astype(np.int32)
    return Split(numbers, indices, (score > 0).astype(np.int32), np.ones(n, np.float32))


def fits(train: Split, validation: Split, **settings: Any) -> tuple[Boosted, Boosted]:
    """Returns the first fit, and what folds make of it."""
    own = replace(SETTINGS, **settings)
    one = boost(train, validation, [3], HEAD, replace(own, max_seconds=0.0))
    return one, boost_folds(one, train, validation, [3], HEAD, own)


def loss_of(boosted: Boosted, split: Split) -> float:
    logit = boosted.trees.numpy(split.numbers, split.indices)[:, 0].astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, np.where(split.labels == 1, -logit, logit))))


def test_the_mean_of_five_fits_is_better_on_new_rows_and_says_what_it_cost() -> None:
    one, five = fits(rows_of(640, 0), rows_of(160, 1))
    new = rows_of(20_000, 2)
    assert loss_of(five, new) < 0.98 * loss_of(one, new)
    (before,), (after,) = one.candidates, five.candidates
    assert (before.members, after.members) == (1, 5)
    assert after.seconds > before.seconds
    assert after.validation_loss == before.validation_loss
    assert len(five.trees.leaves) <= MOST_TREES


def test_validation_rows_are_judged_by_the_fit_that_has_not_seen_them() -> None:
    validation = rows_of(160, 1)
    one, five = fits(rows_of(640, 0), validation)
    np.testing.assert_array_equal(five.judged, predict_rows(one.leader, validation, HEAD))
    assert loss_of(five, validation) < loss_of(one, validation)  # which the mean has learned


def test_one_fit_stays_alone_where_validation_rows_are_of_another_kind() -> None:
    validation = rows_of(160, 1, noise=10.0)
    one, same = fits(rows_of(640, 0), validation)
    assert same is one


@pytest.mark.parametrize("bound", [{"max_seconds": 1e-6}, {"max_steps": 20}])
def test_one_fit_stays_alone_under_a_bound_that_leaves_no_time(bound: dict[str, float]) -> None:
    one, same = fits(rows_of(640, 0), rows_of(160, 1), **bound)
    assert same is one


def test_one_fit_is_enough_for_many_rows() -> None:
    one, same = fits(rows_of(MOST_ROWS // 2 + 1, 0), rows_of(100, 1), rounds=10)
    assert same is one


@pytest.mark.parametrize(("share", "members"), [(1.0, 5), (0.6, 3), (0.01, 1)])
def test_as_many_fits_are_averaged_as_keep_the_trees_small(
    share: float, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(640, 0), rows_of(160, 1)
    size = fits(*rows)[1].trees.words.nbytes
    monkeypatch.setattr(folding, "MOST_BYTES", int(size * share))
    one, fewer = fits(*rows)
    assert fewer.candidates[0].members == members
    assert (fewer is one) == (members == 1)
    assert fewer.trees.words.nbytes <= size * share or fewer is one
