"""Trees of tables with very many columns."""

import numpy as np
import pytest

from quatrain.trainer.boosted.boosting import WIDE, WIDE_BINS, boost
from quatrain.trainer.boosted.folding import boost_folds
from quatrain.trainer.examples import Split
from quatrain.trainer.predictor import Head
from quatrain.trainer.settings import Hyperparameters

HEAD = Head("binary", ("no", "yes"))


def rows_of(n: int, n_numbers: int) -> Split:
    """Rows whose first number decides the label."""
    numbers = np.random.default_rng(n).normal(size=(n, n_numbers)).astype(np.float32)
    labels = (numbers[:, 0] > 0).astype(np.int32)
    return Split(numbers, np.zeros((n, 0), np.int32), labels, np.ones(n, np.float32))


@pytest.mark.parametrize(("n_numbers", "bins", "members"), [(WIDE, 100, 5), (WIDE + 1, 63, 1)])
def test_a_very_wide_table_has_few_bins_and_one_fit_of_the_trees(
    n_numbers: int, bins: int, members: int
) -> None:
    train, validation = rows_of(300, n_numbers), rows_of(80, n_numbers)
    settings = Hyperparameters(rounds=10)
    boosted = boost(train, validation, [], HEAD, settings)
    most = max(boosted.leader.data.train.feature_num_bin(k) for k in range(5))
    assert WIDE_BINS < bins <= most if members > 1 else most <= bins == WIDE_BINS
    assert boosted.progress.best_loss < 0.5
    folded = boost_folds(boosted, train, validation, [], HEAD, settings)
    assert folded.candidates[0].members == members
