"""Fits boosted trees with LightGBM, and reads them as arrays."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoints import Epoch, Progress, Stopped
from ..examples import Split
from ..importing import unnamed, without
from ..settings import MOST_TREES, Hyperparameters, TrainerError
from .trees import LEAVES, Node, Trees

if TYPE_CHECKING:
    import lightgbm

    from ..predictor import Head

log = logging.getLogger("trainer")
ROUNDS_AN_EPOCH = 10
"""Rounds between two computations of the losses, which take as long as a round."""
PATIENCE = 5
"""Epochs (50 rounds) without a better validation loss after which boosting stops."""
ALL_CORES = 0
MANY_ROWS = 100_000
"""Train rows from which all cores are used; with fewer, threads wait longer than they work."""
PARAMETERS: dict[str, Any] = {
    "num_leaves": LEAVES - 1,  # LightGBM's default
    "min_data_in_leaf": 5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    # With these two, the number of threads does not change the trees, which a test checks.
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
"""The parameters that differ from LightGBM's defaults; docs/decisions/0009 says why."""
_OBJECTIVES = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}
_METRICS = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "l2"}


@dataclass(frozen=True)
class Boosted:
    """Fitted trees.

    Attributes:
        trees: The trees up to the best epoch. Their sums have the meaning of a network's outputs: a
            logit, a logit a class, or a standardized value.
        progress: The history, in epochs of 10 rounds; a step is a round.
        stopped: What ended the boosting.
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
    """Fits trees until a bound is reached or the validation loss stops falling.

    Args:
        train: The rows to learn from.
        validation: The rows that decide when to stop.
        cardinalities: Cardinality of each index column.
        head: The task, and the mean and scale of a regression's labels.
        settings: The bounds, the shrinkage and the seed.
        report: Called after each epoch.
        threads: Threads of LightGBM; None: all cores or one, by the number of rows. They change
            only the speed.

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
        is_finished = _grow(booster, min(ROUNDS_AN_EPOCH, rounds - progress.steps))
        seconds = time.monotonic() - started
        epoch = _epoch(booster, progress.epochs + 1, head.loss_unit, seconds)
        progress = progress.add(epoch)
        report(epoch)
        stopped = "early_stopping" if is_finished else _stopped(settings, progress, rounds)
    best = progress.history[progress.best_epoch - 1].step
    log.info(
        "trees: %d rounds, best %d, validation loss %.5f, %.1f s",
        *(progress.steps, best, progress.best_loss, progress.seconds),
    )
    trees = read_trees(booster, best, train.numbers.shape[1], cardinalities, head.units)
    return Boosted(trees, progress, stopped)


def read_trees(
    booster: lightgbm.Booster,
    rounds: int,
    n_numbers: int,
    cardinalities: Sequence[int],
    units: int,
) -> Trees:
    """Returns the trees of LightGBM's first rounds as arrays.

    Args:
        booster: Fitted to numbers, followed by index columns as categorical features.
        rounds: Number of rounds.
        n_numbers: Number of columns that are numbers.
        cardinalities: Cardinality of each index column.
        units: Trees of a round.
    """
    dump = booster.dump_model(num_iteration=rounds)["tree_info"]
    trees = [_read_tree(tree["tree_structure"]) for tree in dump]
    return Trees.of(trees, n_numbers, cardinalities, units)


def most_rounds(settings: Hyperparameters, units: int) -> int:
    """Returns the bound on rounds: `settings.rounds`, or fewer so that serving stays fast.

    With a tree a unit in each round, `MOST_TREES` bounds the trees of all units.
    """
    return max(ROUNDS_AN_EPOCH, min(settings.rounds, MOST_TREES // units))


def _booster(
    train: Split, validation: Split, head: Head, settings: Hyperparameters, threads: int
) -> lightgbm.Booster:
    """Returns a LightGBM booster without trees, with the train and validation rows."""
    try:
        with without(unnamed()):
            import lightgbm  # here, since it imports scipy, for which a network need not wait
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
    """Returns the rows as LightGBM's dataset: numbers, then indices as categorical features."""
    labels = split.labels.astype(np.float32)
    if head.task == "regression":
        labels = (labels - np.float32(head.mean)) / np.float32(head.scale)
    # Scaled to mean 1, so that LightGBM's least weight of a leaf does not depend on their unit.
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
    """Adds trees, and returns whether LightGBM found no further split, so boosting should end."""
    return any(booster.update() for _ in range(rounds))


def _epoch(booster: lightgbm.Booster, number: int, unit: float, seconds: float) -> Epoch:
    """Returns the history's line for the trees so far.

    Raises:
        TrainerError: A loss is not a number.
    """
    losses = [booster.eval_train()[0][2] * unit, booster.eval_valid()[0][2] * unit]
    step = booster.current_iteration()
    if not np.isfinite(losses).all():
        raise TrainerError(
            f"the losses of the trees are {losses[0]} on the train and {losses[1]} on the "
            f"validation split after {step} rounds; look for extreme labels"
        )
    return Epoch(number, step, losses[0], losses[1], round(seconds, 3))


def _stopped(settings: Hyperparameters, progress: Progress, rounds: int) -> Stopped | None:
    """Returns what ends the boosting now, or None if it goes on."""
    if progress.steps >= rounds:
        return "max_steps" if 0 < settings.max_steps <= progress.steps else "epochs"
    if 0 < settings.max_seconds <= progress.seconds:
        return "max_seconds"
    return "early_stopping" if progress.since_best >= PATIENCE else None


def _read_tree(root: dict[str, Any]) -> tuple[list[Node], list[float]]:
    """Returns the inner nodes of a tree, and the values of its leaves from the left.

    Args:
        root: The tree in LightGBM's dump.
    """
    nodes: list[Node] = []
    leaves: list[float] = []

    def visit(node: dict[str, Any]) -> None:
        if "leaf_value" in node:
            leaves.append(node["leaf_value"])
            return
        first = len(leaves)
        visit(node["left_child"])
        cleared = 2 ** len(leaves) - 2**first  # the bits of the leaves that the left child added
        nodes.append(_read_node(node, cleared))
        visit(node["right_child"])

    visit(root)
    return nodes, leaves


def _read_node(node: dict[str, Any], cleared: int) -> Node:
    """Reads a node as LightGBM's `Tree::NumericalDecision` and `CategoricalDecision` do.

    In a column without NaN in training, LightGBM treats a NaN as 0.
    """
    if node["decision_type"] == "==":
        left = tuple(int(index) for index in node["threshold"].split("||"))
        return Node(node["split_feature"], cleared, left=left)
    had_missing = node["missing_type"] == "NaN"
    missing_left = node["default_left"] if had_missing else node["threshold"] >= 0.0
    return Node(node["split_feature"], cleared, node["threshold"], missing_left)
