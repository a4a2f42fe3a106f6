"""Boosted trees: the arrays by hand, in numpy and TensorFlow, and against LightGBM itself."""

from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace

import lightgbm
import numpy as np
import pytest
import tensorflow as tf

from quatrain.trainer.boosted.boosting import (
    PARAMETERS,
    boost,
    forms_for,
    most_rounds,
    rare_levels_tell,
)
from quatrain.trainer.boosted.model_text import read_model_text
from quatrain.trainer.boosted.trees import SHARED_WORDS, Node, Trees
from quatrain.trainer.checkpoints import Epoch
from quatrain.trainer.examples import Split
from quatrain.trainer.levels import merge_few
from quatrain.trainer.predictor import Head
from quatrain.trainer.settings import Hyperparameters

BINARY = Head("binary", ("no", "yes"))
NAN = float("nan")


def handmade(shared_words: int = SHARED_WORDS) -> Trees:
    """Returns two trees of one number and one index of 4 levels.

    The first: number <= 0.5 ? (index in {1, 3} ? 1 : 2) : 4. The second: number <= -1 ? 10 : 20,
    where NaN goes left.
    """
    first = [Node(1, 0b01, left=(1, 3)), Node(0, 0b11, 0.5)]
    second = [Node(0, 0b1, -1.0, missing_left=True)]
    trees = [(first, [1.0, 2.0, 4.0]), (second, [10.0, 20.0])]
    return Trees.of(trees, 1, [4], 1, shared_words)


def in_tensorflow(trees: Trees) -> Callable[..., tf.Tensor]:
    variables = trees.variables()
    return lambda numbers, indices: trees.tensor(numbers, indices, variables)


@pytest.mark.parametrize(
    ("number", "index", "expected"),
    [
        (-2.0, 1, 11.0),
        (-1.0, 0, 12.0),  # a threshold itself goes left
        (0.5, 3, 21.0),
        (0.6, 3, 24.0),
        (0.6, 2, 24.0),
        (NAN, 1, 14.0),
        (np.inf, 1, 24.0),
        (-np.inf, 2, 12.0),
    ],
)
def test_a_row_takes_one_leaf_of_each_tree(number: float, index: int, expected: float) -> None:
    numbers, indices = np.array([[number]], np.float32), np.array([[index]], np.int32)
    assert handmade().numpy(numbers, indices) == [[expected]]
    assert in_tensorflow(handmade())(numbers, indices).numpy() == [[expected]]


def test_an_odd_number_of_trees_is_added_up() -> None:
    nodes = [Node(0, 0b1, 0.5)]
    built = Trees.of([(nodes, [t, 10 * t]) for t in (1.0, 2.0, 4.0)], 1, [], 1)
    numbers, indices = np.array([[0.0], [1.0]], np.float32), np.zeros((2, 0), np.int32)
    np.testing.assert_array_equal(built.numpy(numbers, indices), [[7.0], [70.0]])
    np.testing.assert_array_equal(in_tensorflow(built)(numbers, indices), [[7.0], [70.0]])


def test_trees_take_turns_among_the_units() -> None:
    trees = [([], [float(t)]) for t in (1, 2, 10, 20)]
    built = Trees.of(trees, 1, [], 2)
    numbers, indices = np.zeros((3, 1), np.float32), np.zeros((3, 0), np.int32)
    np.testing.assert_array_equal(built.numpy(numbers, indices), [[11.0, 22.0]] * 3)
    np.testing.assert_array_equal(in_tensorflow(built)(numbers, indices), [[11.0, 22.0]] * 3)
    assert built.rounds == 2


def test_a_threshold_between_two_float32_parts_them() -> None:
    low = np.float32(0.1)
    high = np.nextafter(low, np.float32(1))
    between = (float(low) + float(high)) / 2
    built = Trees.of([([Node(0, 0b1, between)], [0.0, 1.0])], 1, [], 1)
    numbers = np.array([[low], [high]])
    assert built.numpy(numbers, np.zeros((2, 0), np.int32)).tolist() == [[0.0], [1.0]]


def test_any_batch_gives_a_row_the_same_answer() -> None:
    trees = handmade()
    random = np.random.default_rng(0)
    numbers = random.normal(size=(1000, 1)).astype(np.float32)
    indices = random.integers(0, 4, (1000, 1)).astype(np.int32)
    graph = tf.function(in_tensorflow(trees))
    at_once = graph(tf.constant(numbers), tf.constant(indices)).numpy()
    np.testing.assert_array_equal(at_once, trees.numpy(numbers, indices))
    assert graph(tf.constant(numbers[:0]), tf.constant(indices[:0])).shape == (0, 1)
    np.testing.assert_array_equal(
        graph(tf.constant(numbers[-1:]), tf.constant(indices[-1:])), at_once[-1:]
    )


def test_columns_of_few_levels_share_a_table() -> None:
    # The number has NaN and three intervals; the index 1, 3 and all others: 12 rows for 2 trees.
    assert handmade().words.shape == (12, 2)
    numbers = np.array([[NAN], [-2.0], [0.0], [1.0]] * 4, np.float32)
    indices = np.repeat(np.arange(4, dtype=np.int32), 4)[:, None]
    expected = handmade().numpy(numbers, indices)
    apart = handmade(shared_words=23)
    assert apart.words.shape == (4 + 3, 2)
    np.testing.assert_array_equal(apart.numpy(numbers, indices), expected)
    np.testing.assert_array_equal(in_tensorflow(apart)(numbers, indices), expected)


def test_an_odd_round_of_several_units_is_added_up() -> None:
    trees = [([], [float(t)]) for t in (1, 2, 10, 20, 100, 200)]
    built = Trees.of(trees, 0, [3], 2)
    numbers, indices = np.zeros((2, 0), np.float32), np.zeros((2, 1), np.int32)
    np.testing.assert_array_equal(built.numpy(numbers, indices), [[111.0, 222.0]] * 2)
    np.testing.assert_array_equal(in_tensorflow(built)(numbers, indices), [[111.0, 222.0]] * 2)


def rows_of(task: str, rows: int, seed: int, missing: bool = False) -> Split:
    """Returns rows whose label depends on two numbers and a category of 200 levels."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(rows, 3)).astype(np.float32)
    indices = np.stack(
        [np.minimum(random.geometric(0.05, rows), 199), random.integers(0, 3, rows)], axis=1
    ).astype(np.int32)
    score = numbers[:, 0] * (indices[:, 1] - 1) + np.sin(indices[:, 0]) + 0.3 * numbers[:, 1] ** 2
    score += random.normal(size=rows) * 0.3
    if missing:
        numbers[random.random(rows) < 0.2, 0] = NAN
    labels = {
        "binary": (score > 0).astype(np.int32),
        "multiclass": np.digitize(score, [-0.5, 0.5]).astype(np.int32),
        "regression": (score * 1000 + 1e5).astype(np.float32),
    }[task]
    return Split(numbers, indices, labels, random.uniform(0, 2, rows).astype(np.float32))


def columns_of(split: Split) -> np.ndarray:
    """Returns the columns in the form of LightGBM, `[N, 5] float32`."""
    return np.concatenate([split.numbers, split.indices.astype(np.float32)], axis=1)


HEADS = {
    "binary": BINARY,
    "multiclass": Head("multiclass", ("low", "mid", "high")),
    "regression": Head("regression", (), 1e5, 1000.0),
}
FEW = Hyperparameters(rounds=30)


@pytest.mark.parametrize("task", HEADS)
@pytest.mark.parametrize("missing", [False, True])
def test_the_arrays_answer_as_lightgbm_does(task: str, missing: bool) -> None:
    train, units = rows_of(task, 2000, 0, missing), HEADS[task].units
    parameters = {**PARAMETERS, "objective": task, "num_class": units}
    labels = (train.labels - 1e5) / 1000.0 if task == "regression" else train.labels
    rows = lightgbm.Dataset(columns_of(train), labels, categorical_feature=[3, 4])
    booster = lightgbm.train(parameters, rows, num_boost_round=30)
    test = rows_of(task, 1000, 2, missing=True)  # NaN even in a column that had none in training
    test.indices[:5, 0] = [999, 500, 0, 198, 300]  # some are new
    for rounds in (30, 7):
        expected = booster.predict(columns_of(test), num_iteration=rounds, raw_score=True)
        expected = np.reshape(expected, [1000, -1])
        text = booster.model_to_string(num_iteration=rounds)
        trees = Trees.of(read_model_text(text), 3, [1000, 3], units)
        sums = trees.numpy(test.numbers, test.indices)
        np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-5)
        graph = tf.function(in_tensorflow(trees))
        answers = graph(tf.constant(test.numbers), tf.constant(test.indices))
        np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-5)


def test_the_number_of_threads_changes_no_bit() -> None:
    train, validation = rows_of("binary", 5000, 0), rows_of("binary", 500, 1)
    one, three = (
        boost(train, validation, [200, 3], BINARY, Hyperparameters(max_steps=5), threads=n).trees
        for n in (1, 3)
    )
    np.testing.assert_array_equal(one.words, three.words)
    np.testing.assert_array_equal(one.leaves, three.leaves)
    np.testing.assert_array_equal(one.thresholds, three.thresholds)


def test_trees_stop_when_validation_no_longer_improves_and_keep_the_best() -> None:
    train, validation = (
        replace(rows, indices=rows.indices[:, 1:])
        for rows in (rows_of("binary", 500, s) for s in (0, 1))
    )
    boosted = boost(train, validation, [3], BINARY, Hyperparameters(shrinkage=0.3))
    losses = [e.validation_loss for e in boosted.progress.history]
    best = int(np.argmin(losses))
    assert boosted.stopped == "early_stopping"
    assert (boosted.progress.best_epoch, len(losses)) == (best + 1, best + 6)
    assert boosted.trees.rounds == 10 * (best + 1)
    logit = boosted.trees.numpy(validation.numbers, validation.indices)[:, 0]
    each = np.log1p(np.exp(np.where(validation.labels == 1, -logit, logit)))
    assert np.average(each, weights=validation.weights) == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("bounds", "rounds", "stopped"),
    [
        ({"max_steps": 5}, 5, "max_steps"),
        ({"max_steps": 5000, "rounds": 20}, 20, "epochs"),
        ({"max_steps": 20, "rounds": 5000}, 20, "max_steps"),
    ],
)
def test_the_lower_of_two_bounds_holds(bounds: dict[str, int], rounds: int, stopped: str) -> None:
    train, validation = rows_of("binary", 500, 0), rows_of("binary", 500, 1)
    boosted = boost(train, validation, [200, 3], BINARY, Hyperparameters(**bounds))
    assert (boosted.progress.steps, boosted.stopped) == (rounds, stopped)


def test_a_weight_counts_as_so_many_rows() -> None:
    # 0 leaves a row out of the losses and the leaves: labels of such rows may be anything.
    train, validation = rows_of("binary", 1000, 0), rows_of("binary", 300, 1)
    train.weights[:] = validation.weights[:] = 1.0
    train.weights[:500] = validation.weights[:150] = 0.0
    trees = []
    for spoiled in (0, 1):
        train.labels[:500] = validation.labels[:150] = spoiled
        trees.append(boost(train, validation, [200, 3], BINARY, FEW).trees)
    np.testing.assert_array_equal(trees[0].leaves, trees[1].leaves)


def test_rows_without_a_pattern_give_a_constant() -> None:
    nothing = Split(
        np.zeros((40, 1), np.float32),
        np.zeros((40, 0), np.int32),
        np.repeat([0, 1], [30, 10]).astype(np.int32),
        np.ones(40, np.float32),
    )
    boosted = boost(nothing, nothing, [], BINARY, FEW)
    logit = boosted.trees.numpy(nothing.numbers[:1], nothing.indices[:1])
    assert boosted.stopped == "early_stopping"
    assert logit == pytest.approx(np.log(10 / 30), abs=1e-5)


def test_many_classes_get_fewer_rounds() -> None:
    # 2 000 trees in all, at least 10 rounds
    assert [most_rounds(Hyperparameters(), units) for units in (1, 2, 26, 10_000)] == [
        1000,
        1000,
        76,
        10,
    ]


def levels_with_a_value_each(rows: int, seed: int, n_levels: int) -> Split:
    """Returns rows of a regression whose label depends on the level of one category alone."""
    random = np.random.default_rng(seed)
    levels = random.integers(0, n_levels, (rows, 1)).astype(np.int32)
    labels = (levels[:, 0] * 7919 % n_levels + random.normal(size=rows) * 0.01).astype(np.float32)
    return Split(np.zeros((rows, 0), np.float32), levels, labels, np.ones(rows, np.float32))


def test_smaller_groups_win_where_small_levels_explain_the_label() -> None:
    head = Head("regression", (), 25.0, 14.0)
    train, validation = (levels_with_a_value_each(n, n, 50) for n in (1500, 400))
    reported: list[Epoch] = []
    boosted = boost(train, validation, [50], head, Hyperparameters(rounds=200), reported.append)
    by_name = {c.name: c for c in boosted.candidates}
    assert set(by_name) == {"trees", "trees-20"}
    best = min(by_name.values(), key=lambda c: c.validation_loss)
    assert best.name == "trees-20"
    assert best.validation_loss < 0.5 * by_name["trees"].validation_loss
    predicted = boosted.trees.numpy(validation.numbers, validation.indices) * 14.0 + 25.0
    loss = np.mean((predicted[:, 0] - validation.labels) ** 2)
    assert loss == pytest.approx(best.validation_loss, rel=1e-3)
    assert best.row_losses is not None
    assert best.row_losses.mean() == pytest.approx(best.validation_loss, rel=1e-3)
    # Tuning reads the last report.
    assert reported[-1].validation_loss == best.validation_loss
    assert [e.epoch for e in reported] == list(range(1, len(reported) + 1))


def test_a_losing_form_is_given_up_on_early() -> None:
    train, validation = rows_of("binary", 5000, 0), rows_of("binary", 1000, 1)
    train.labels[:] = np.random.default_rng(0).integers(0, 2, 5000)  # categories are only noise
    boosted = boost(train, validation, [200, 3], BINARY, Hyperparameters(rounds=1000))
    first, *others = boosted.candidates
    assert all(c.steps <= first.steps for c in others)
    assert all(c.steps < 1000 for c in boosted.candidates)


@pytest.mark.parametrize(
    ("rows", "forms"),
    [
        ([100] * 5, ["trees"]),  # no level has fewer rows than the first form's groups
        ([100, 100, 100, 100, 100, 99], ["trees", "trees-20"]),
        ([300, 100, 99, 1], ["trees"]),  # few levels are tried one by one
    ],
)
def test_only_levels_below_the_limits_need_other_forms(rows: list[int], forms: list[str]) -> None:
    assert [form.name for form in forms_for([np.array(rows)], False)] == forms


def test_a_form_with_all_levels_is_tried_where_others_merge_some() -> None:
    names = [form.name for form in forms_for([np.array([100] * 5 + [1])], True)]
    assert names == ["trees", "trees-20", "trees-20-all"]


def rare_levels(rows: int, tell: bool) -> tuple[Split, Split]:
    """Returns rows of 1 600 levels, 8 train rows each, that give the label or say nothing."""
    random = np.random.default_rng(0)
    splits = []
    for n in (rows, 2000):
        levels = random.integers(0, 1600, (n, 1)).astype(np.int32)
        source = levels[:, 0] if tell else random.integers(0, 1600, n)
        labels = (source * 7919 % 2).astype(np.int32)
        numbers = random.normal(size=(n, 1)).astype(np.float32)
        splits.append(Split(numbers, levels, labels, np.ones(n, np.float32)))
    return splits[0], splits[1]


@pytest.mark.parametrize("tell", [True, False])
def test_rare_levels_are_kept_apart_where_they_tell_something(tell: bool) -> None:
    # Of 12 800 rows, a level needs 20 to be trusted.
    train, validation = rare_levels(12_800, tell)
    settings = Hyperparameters(rounds=60)
    assert rare_levels_tell(train, validation, [1601], BINARY, settings) == tell
    hurried = replace(settings, max_seconds=1e-6)
    assert not rare_levels_tell(train, validation, [1601], BINARY, hurried)
    boosted = boost(train, validation, [1601], BINARY, settings)
    best = min(boosted.candidates, key=lambda c: c.validation_loss)
    assert (best.name == "trees-20-all") == tell


def test_merged_levels_answer_alike_and_new_ones_with_them() -> None:
    train, validation = rows_of("binary", 5000, 0), rows_of("binary", 500, 1)
    counts = np.bincount(train.indices[:, 0], minlength=300)
    boosted = boost(train, validation, [300, 3], BINARY, FEW)
    assert [c.name for c in boosted.candidates] == ["trees", "trees-20", "trees-20-all"]
    best = min(boosted.candidates, key=lambda c: c.validation_loss)
    logit = boosted.trees.numpy(validation.numbers, validation.indices)[:, 0]
    each = np.log1p(np.exp(np.where(validation.labels == 1, -logit, logit)))
    assert best.row_losses is not None
    np.testing.assert_allclose(each, best.row_losses, atol=1e-5)
    (merged, _) = merge_few([counts, np.array([2000, 2000, 1000])], 7) or ((), ())
    few = np.flatnonzero(counts < 7)
    assert len(few) > 200
    assert set(merged[few]) == {merged.max()}
    np.testing.assert_array_equal(
        np.sort(merged[counts >= 7]), np.arange(np.count_nonzero(counts >= 7))
    )


def test_the_bound_on_seconds_holds_for_all_forms_together() -> None:
    train, validation = rows_of("binary", 500, 0), rows_of("binary", 500, 1)
    boosted = boost(train, validation, [200, 3], BINARY, Hyperparameters(max_seconds=1e-6))
    assert boosted.stopped == "max_seconds"
    assert [(c.name, c.steps) for c in boosted.candidates] == [("trees", 10)]


def test_unwanted_trees_end_after_an_epoch() -> None:
    train, validation = rows_of("binary", 500, 0), rows_of("binary", 500, 1)
    epochs: list[Epoch] = []
    with pytest.raises(CancelledError):
        boost(
            train,
            validation,
            [200, 3],
            BINARY,
            Hyperparameters(),
            epochs.append,
            is_unwanted=lambda: len(epochs) == 1,
        )
    assert [epoch.step for epoch in epochs] == [10]
