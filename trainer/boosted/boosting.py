"""Fits boosted trees with LightGBM and takes them over as arrays."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoints import Epoch, Progress, Stopped
from ..examples import Split
from ..settings import MOST_TREES, Hyperparameters, TrainerError
from .trees import LEAVES, Node, Trees

if TYPE_CHECKING:
    import lightgbm

    from ..predictor import Head

log = logging.getLogger("trainer")
ROUNDS_AN_EPOCH = 10  # both losses are computed once for so many: they cost as much as a round
PATIENCE = 5
ALL_CORES = 0
MANY_ROWS = 100_000  # with fewer, threads wait for each other longer than they work
PARAMETERS: dict[str, Any] = {
    "num_leaves": LEAVES - 1,  # LightGBM's default
    "min_data_in_leaf": 5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    # The same rows give the same trees, whatever the number of threads; a test holds it to that.
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
"""What differs from LightGBM's defaults; docs/decisions/0006 tells how each was chosen."""
_OBJECTIVES = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}
_METRICS = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "l2"}


@dataclass(frozen=True)
class Boosted:
    """A boosting that ended.

    Attributes:
        trees: Of the best epoch. Their sums are what a network's member gives: a logit, a logit
            a class, or a standardized value.
        progress: The history, in epochs of 10 rounds; a step is a round.
        stopped: What ended it.
    """

    trees: Trees
    progress: Progress
    stopped: Stopped


def boost(
    train: Split,
    validation: Split,
    cardinalities: Sequence[int],
    head: Head,
    settings: Hyperparameters,
    report: Callable[[Epoch], None] = lambda epoch: None,
    threads: int | None = None,
) -> Boosted:
    """Fits trees until a bound is met or the validation loss stops falling.

    Args:
        train: The rows to learn from.
        validation: The rows that decide when to stop.
        cardinalities: Of each index column.
        head: The task, and the unit of a regression's labels.
        settings: The bounds, the step size of a round and the seed.
        report: Called after each epoch.
        threads: Of LightGBM; by the rows if None. They change nothing but the speed.

    Raises:
        TrainerError: LightGBM is not installed, or a loss is not a number.
    """
    if threads is None:
        threads = ALL_CORES if train.rows >= MANY_ROWS else 1
    booster = _booster(train, validation, head, settings, threads)
    rounds = most_rounds(settings, head.units)
    if settings.max_steps:
        rounds = min(rounds, settings.max_steps)
    started, progress, stopped = time.monotonic(), Progress(), None
    while stopped is None:
        is_grown = _grow(booster, min(ROUNDS_AN_EPOCH, rounds - progress.steps))
        seconds = time.monotonic() - started
        epoch = _epoch(booster, progress.epochs + 1, head.loss_unit, seconds)
        progress = progress.add(epoch)
        report(epoch)
        stopped = "early_stopping" if is_grown else _stopped(settings, progress, rounds)
    best = progress.history[progress.best_epoch - 1].step
    log.info(
        "trees: %d rounds, kept %d, validation loss %.5f, %.1f s",
        *(progress.steps, best, progress.best_loss, progress.seconds),
    )
    dumped = booster.dump_model(num_iteration=best)["tree_info"]
    trees = [_read_tree(tree["tree_structure"]) for tree in dumped]
    n_numbers = train.numbers.shape[1]
    return Boosted(Trees.of(trees, n_numbers, cardinalities, head.units), progress, stopped)


def most_rounds(settings: Hyperparameters, units: int) -> int:
    """Returns `settings.rounds`, but no more trees in all than are served fast."""
    return max(ROUNDS_AN_EPOCH, min(settings.rounds, MOST_TREES // units))


def _booster(
    train: Split, validation: Split, head: Head, settings: Hyperparameters, threads: int
) -> lightgbm.Booster:
    try:
        import lightgbm  # scipy comes with it: a network alone need not wait for that
    except (ImportError, OSError) as error:
        raise TrainerError(
            f"LightGBM, which fits the trees, cannot be imported ({error}); install lightgbm and "
            "Debian's libgomp1, or use --model=tabm"
        ) from error
    parameters = {
        **PARAMETERS,
        "objective": _OBJECTIVES[head.task],
        "metric": _METRICS[head.task],
        "num_class": head.units,
        "learning_rate": settings.shrinkage,
        "seed": settings.seed,
        "num_threads": threads,
    }
    rows = _dataset(lightgbm.Dataset, train, head, parameters)
    booster = lightgbm.Booster(parameters, rows)
    validation_rows = _dataset(lightgbm.Dataset, validation, head, parameters, reference=rows)
    return booster.add_valid(validation_rows, "validation")


def _dataset(
    make: Callable[..., lightgbm.Dataset],
    split: Split,
    head: Head,
    parameters: dict[str, Any],
    **more: Any,
) -> lightgbm.Dataset:
    labels = split.labels.astype(np.float32)
    if head.task == "regression":
        labels = (labels - np.float32(head.mean)) / np.float32(head.scale)
    # Of mean 1, so that the bounds of a leaf's weight do not depend on the weights' unit.
    weights = split.weights * (split.rows / split.weights.sum(dtype=np.float64))
    columns = np.concatenate([split.numbers, split.indices.astype(np.float32)], axis=1)
    n_numbers, n_columns = split.numbers.shape[1], columns.shape[1]
    return make(
        columns,
        labels,
        weight=weights.astype(np.float32),
        categorical_feature=list(range(n_numbers, n_columns)),
        params=parameters,
        **more,
    )


def _grow(booster: lightgbm.Booster, rounds: int) -> bool:
    """Returns whether the trees cannot grow any more."""
    return any(booster.update() for _ in range(rounds))


def _epoch(booster: lightgbm.Booster, number: int, unit: float, seconds: float) -> Epoch:
    losses = [booster.eval_train()[0][2] * unit, booster.eval_valid()[0][2] * unit]
    step = booster.current_iteration()
    if not np.isfinite(losses).all():
        raise TrainerError(
            f"the losses of the trees are {losses[0]} on the train and {losses[1]} on the "
            f"validation split after {step} rounds; look for extreme labels"
        )
    return Epoch(number, step, losses[0], losses[1], round(seconds, 3))


def _stopped(settings: Hyperparameters, progress: Progress, rounds: int) -> Stopped | None:
    if progress.steps >= rounds:
        return "max_steps" if 0 < settings.max_steps <= progress.steps else "epochs"
    if 0 < settings.max_seconds <= progress.seconds:
        return "max_seconds"
    return "early_stopping" if progress.since_best >= PATIENCE else None


def _read_tree(root: dict[str, Any]) -> tuple[list[Node], list[float]]:
    """Returns the inner nodes and, from the left, the leaves of a dumped tree."""
    nodes: list[Node] = []
    leaves: list[float] = []

    def visit(at: dict[str, Any]) -> None:
        if "leaf_value" in at:
            leaves.append(at["leaf_value"])
            return
        first = len(leaves)
        visit(at["left_child"])
        cleared = 2 ** len(leaves) - 2**first
        nodes.append(_read_node(at, cleared))
        visit(at["right_child"])

    visit(root)
    return nodes, leaves


def _read_node(at: dict[str, Any], cleared: int) -> Node:
    """Reads a split as LightGBM's `Tree::NumericalDecision` and `CategoricalDecision` do.

    A number that is NaN is 0 where training saw none.
    """
    if at["decision_type"] == "==":
        left = tuple(int(index) for index in at["threshold"].split("||"))
        return Node(at["split_feature"], cleared, left=left)
    is_told = at["missing_type"] == "NaN"
    missing_left = at["default_left"] if is_told else at["threshold"] >= 0.0
    return Node(at["split_feature"], cleared, at["threshold"], missing_left)
