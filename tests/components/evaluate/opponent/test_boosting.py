"""The trees of the opponent, on rows that are hard to fit to."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from quatrain.components.evaluate.opponent.boosting import fit_trees
from quatrain.components.evaluate.opponent.rows import Rows


def rows(n: int, n_columns: int = 6, seed: int = 0, n_classes: int = 2, **changes: Any) -> Rows:
    """Rows of which the first column decides the class."""
    random = np.random.default_rng(seed)
    columns = random.normal(size=(n, n_columns))
    score = columns[:, 0] + random.normal(scale=0.3, size=n)
    bounds = np.quantile(score, np.linspace(0, 1, n_classes + 1)[1:-1])
    labels = np.searchsorted(bounds, score).astype(np.int32)
    return Rows(**{"columns": columns, "labels": labels, "weights": None, **changes})


def log_loss(answers: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(np.maximum(answers[np.arange(len(labels)), labels], 1e-15)).mean())


def answered(train: Rows, test: Rows, task: str, n_classes: int, n_numbers: int = 6) -> np.ndarray:
    trees = fit_trees(train, test, task, n_classes, n_numbers)
    answers = trees.answer(trees.load(), test.columns)
    assert np.isfinite(answers).all()
    if n_classes:
        assert answers.shape == (len(test.labels), n_classes)
        assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
    return answers


@pytest.mark.parametrize(
    ("n", "n_columns", "n_classes"),
    [(60, 6, 2), (60, 6, 5), (3_000, 6, 100), (200, 5_000, 2), (3_000, 1, 2)],
    ids=["60 rows", "60 rows of 5 classes", "100 classes", "5,000 columns", "1 column"],
)
def test_hard_tables_get_trees_that_answer(n: int, n_columns: int, n_classes: int) -> None:
    task = "binary" if n_classes == 2 else "multiclass"
    train, test = (rows(n, n_columns, seed, n_classes) for seed in (0, 1))
    answers = answered(train, test, task, n_classes, n_columns)
    if n >= 200:
        assert log_loss(answers, test.labels) < 0.95 * np.log(n_classes)


def test_a_class_of_three_rows_and_one_without_any_have_small_probabilities() -> None:
    labels = np.array([0] * 500 + [1] * 497 + [2] * 3, np.int32)
    train = rows(1_000, labels=labels)
    answers = answered(train, rows(100, seed=1), "multiclass", 4)
    assert answers[:, 2].mean() < 0.05 and answers[:, 3].max() < 1e-3
    assert answers[:, 3].min() > 1e-5, "one row of it would cost a loss of 34.5 otherwise"


def test_two_classes_of_which_one_has_no_row_leave_it_a_small_probability() -> None:
    train = rows(100, labels=np.zeros(100, np.int32))
    answers = answered(train, rows(60, seed=1), "binary", 2)
    np.testing.assert_allclose(answers[:, 1], 0.5 / 101, rtol=1e-5)


def test_a_weight_counts_as_so_many_rows() -> None:
    good, test = rows(1_000), rows(500, seed=1)
    flipped = Rows(good.columns, 1 - good.labels, None)
    both = Rows(
        np.concatenate([good.columns, flipped.columns]),
        np.concatenate([good.labels, flipped.labels]),
        np.repeat([1.0, 1e-6], 1_000),
    )
    assert log_loss(answered(both, test, "binary", 2), test.labels) < 0.4


def test_labels_with_a_large_mean_keep_their_digits() -> None:
    train, test = (rows(2_000, seed=seed, labels=None) for seed in (0, 1))
    train, test = (Rows(r.columns, 1e9 + r.columns[:, 0], None) for r in (train, test))
    trees = fit_trees(train, test, "regression", 0, 6)
    error = trees.answer(trees.load(), test.columns).astype(float) - test.labels
    assert np.sqrt(np.mean(error**2)) < 64, "a float32 of 1e9 is 64 wide"


def test_the_same_rows_give_the_same_trees() -> None:
    train, test = rows(2_000, 8), rows(500, 8, seed=1)
    texts = {fit_trees(train, test, "binary", 2, 6).text for _ in range(2)}
    assert len(texts) == 1


def test_rare_levels_count_where_the_validation_rows_say_so() -> None:
    random = np.random.default_rng(0)
    effects = random.normal(size=200)

    def shops(n: int, seed: int) -> Rows:
        shop = np.random.default_rng(seed).integers(0, 200, n)
        return Rows(shop[:, None].astype(float), effects[shop], None)

    train, test = shops(3_000, 1), shops(1_000, 2)
    trees = fit_trees(train, test, "regression", 0, 0)
    error = trees.answer(trees.load(), test.columns) - test.labels
    assert np.sqrt(np.mean(error**2)) < 0.1, "15 rows of a shop say what it is"


@pytest.mark.parametrize("n_classes", [2, 10])
def test_a_table_of_3000_rows_costs_less_than_a_second(n_classes: int) -> None:
    def tables(n: int, seed: int) -> Rows:
        table = rows(n, 21, seed, n_classes)
        table.columns[:, -1] = np.random.default_rng(seed).integers(0, 30, n)
        return table

    train, test = tables(2_400, 0), tables(300, 1)
    task = "binary" if n_classes == 2 else "multiclass"
    fit_trees(train, test, task, n_classes, 21)  # imports LightGBM
    costs = []
    for _ in range(3):
        started = time.process_time()
        trees = fit_trees(train, test, task, n_classes, 20)
        trees.answer(trees.load(), test.columns)
        costs.append(time.process_time() - started)
    assert min(costs) < 1.0


def test_the_three_hundredth_level_is_told_apart_from_the_rest() -> None:
    def breeds(n: int, seed: int) -> Rows:
        breed = np.random.default_rng(seed).integers(0, 400, n)
        return Rows(breed[:, None].astype(float), (breed % 2).astype(np.int32), None)

    train, test = breeds(12_000, 1), breeds(2_000, 2)
    assert log_loss(answered(train, test, "binary", 2, 0), test.labels) < 0.05
