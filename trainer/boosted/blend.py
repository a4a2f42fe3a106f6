"""Fits trees beside the network, and blends the two or picks one by the validation loss."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import tensorflow as tf

from ..candidates import Candidate, choose
from ..examples import Split
from ..network import fit_network
from ..predictor import (
    BATCH_CELLS,
    BATCH_ROWS,
    LEAST_PROBABILITY,
    Fitting,
    Head,
    Predictor,
    rows_at_once,
)
from ..refit import once, seconds_left
from .boosting import MANY_ROWS, Boosted, boost, import_lightgbm, rare_levels_tell
from .folding import boost_folds
from .refitting import refit_trees

log = logging.getLogger("trainer")
SHARES = np.linspace(0.0, 1.0, 21)
"""The shares of the network that are tried: a finer grid would follow the noise of the rows."""
GAIN = 0.002
"""`auto` blends if that lowers the log-loss or RMSE of the better part by at least this share."""
NETWORK_TIME = 0.6
"""The share of `max_seconds` that the network may take; the trees get what it leaves."""


def fit_trees(fitting: Fitting) -> Predictor | None:
    """Fits boosted trees to all rows, on the chief; other workers return None at once.

    There are no checkpoints of trees: a restarted job fits them again, and gets the same ones.

    Raises:
        TrainerError: LightGBM is not installed, or a loss is not a number.
    """
    return _predictor(_grow(fitting), fitting) if fitting.cluster.is_chief else None


def _grow(fitting: Fitting, is_unwanted: Callable[[], bool] = lambda: False) -> Boosted:
    """Fits boosted trees to the rows of a training; no TensorFlow, so in any thread."""
    transform, (train, _) = fitting.examples.transform, fitting.splits
    signs = dict(zip(transform.numbers, transform.signs, strict=True))
    settings, started = fitting.job.settings, time.monotonic()
    monotone = [signs.get(name, 0) for name in train.names]
    boosted = boost(
        *fitting.splits,
        transform.cardinalities,
        fitting.head,
        settings,
        fitting.report,
        monotone=monotone,
        is_unwanted=is_unwanted,
    )
    if not fitting.folds_trees:
        return boosted
    if settings.max_seconds:
        left = settings.max_seconds - (time.monotonic() - started)
        settings = replace(settings, max_seconds=max(left, 1e-3))
    return boost_folds(
        boosted,
        *fitting.splits,
        transform.cardinalities,
        fitting.head,
        settings,
        monotone,
        is_unwanted,
    )


def _predictor(boosted: Boosted, fitting: Fitting) -> Predictor:
    """Returns fitted trees as TensorFlow operations."""
    head, trees = fitting.head, boosted.trees
    both, cardinalities = fitting.both, fitting.examples.transform.cardinalities
    with tf.init_scope():
        variables = trees.variables()

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        return head.predicted(trees.tensor(numbers, indices, variables)[:, None, :])

    best = min(boosted.candidates, key=lambda c: c.validation_loss)
    _, validation = fitting.splits
    predictor = Predictor(
        predict,
        variables,
        boosted.progress,
        boosted.stopped,
        {"trees": 1.0},
        choose(boosted.candidates, best.name, validation.weights),
        judged=boosted.judged,
    )
    if both is None:
        return predictor

    def refit(seconds: float) -> Predictor | None:
        again = refit_trees(boosted, both, cardinalities, head, seconds)
        if again is None:
            return None
        return replace(_predictor(again, replace(fitting, both=None)), refit_rows=both.rows)

    return replace(predictor, refit=refit)


@contextmanager
def _grown_beside(fitting: Fitting) -> Iterator[Callable[[], Boosted]]:
    """Fits trees in a thread of their own while the block runs; yields the wait for them.

    A block that fails takes the trees with it: they end after the round that they are in.
    """
    import_lightgbm()  # hides modules from imports, so in no thread beside others
    left = threading.Event()
    with ThreadPoolExecutor(1, "trees") as pool:
        growing = pool.submit(_grow, fitting, left.is_set)
        try:
            yield growing.result
        finally:
            left.set()


def fit_blend(fitting: Fitting) -> Predictor | None:
    """Fits the network and the trees, and blends them; `auto` may take only one of the two.

    All replicas train the network; the trees and the blend are the chief's, and other workers
    return None. The chief reports the network's epochs, and at the end one more for the blend.

    Raises:
        TrainerError: One of the two cannot be trained with these rows or settings.
    """
    job, head, report = fitting.job, fitting.head, fitting.report
    _, validation = fitting.splits
    started = time.monotonic()
    network, trees = fit_parts(fitting)
    if trees is None:
        _refit_network(fitting, network, 0.0, started)
        return None
    predicted = [judged(part, validation) for part in (network, trees)]
    losses = losses_by_share(predicted[0], predicted[1], head, validation)
    share = choose_share(losses, head, frugal=job.settings.model == "auto")
    network, trees = _refit_parts(fitting, network, trees, share, started)
    predictor = _blended(network, trees, share)
    last = network.progress.history[-1]
    outcome = float(losses[np.searchsorted(SHARES, share)])
    steps = last.step + trees.progress.steps
    # Tuning reads the last report, which must be the loss of what is served.
    report(replace(last, epoch=last.epoch + 1, step=steps, validation_loss=outcome))
    candidates = [*network.candidates, *trees.candidates]
    best = float(SHARES[np.argmin(losses)])
    if 0.0 < best < 1.0:
        mixed = best * predicted[0] + (1.0 - best) * predicted[1]
        rows = head.row_losses(mixed, validation.labels)
        candidates.append(Candidate("blend", float(losses.min()), 0.0, steps, row_losses=rows))
    name = predictor.kind if predictor is not trees else _chosen(trees)
    candidates[0] = replace(
        candidates[0], row_losses=head.row_losses(predicted[0], validation.labels)
    )
    return replace(predictor, candidates=choose(candidates, name, validation.weights))


def fit_parts(fitting: Fitting) -> tuple[Predictor, Predictor | None]:
    """Fits the network and the trees; other workers than the chief get None for the trees.

    Trees that take one core grow beside the network. Not under `max_seconds`, of which the trees
    have what the network left: the result would depend on the cores that both share.
    """
    job, settings, cluster = fitting.job, fitting.job.settings, fitting.cluster
    started = time.monotonic()
    keeps_rare = _keeps_rare(fitting)
    bound = settings.max_seconds
    if bound:  # the same on every worker, since each must stop at the same step
        bound = max(bound - cluster.agree(time.monotonic() - started), 1e-3)
    tabm = replace(settings, model="tabm", max_seconds=NETWORK_TIME * bound)
    beside = replace(fitting, job=replace(job, settings=tabm), keeps_rare=keeps_rare)
    forest = replace(fitting, report=lambda epoch: None)
    train, _ = fitting.splits
    if cluster.is_chief and not bound and train.rows < MANY_ROWS:
        with _grown_beside(forest) as wait:
            return fit_network(beside), _predictor(wait(), forest)
    network = fit_network(beside)
    rest = max(bound - network.progress.seconds, 1e-3) if bound else 0.0
    forest = replace(forest, job=replace(job, settings=replace(settings, max_seconds=rest)))
    return network, fit_trees(forest)


def _refit_parts(
    fitting: Fitting, network: Predictor, trees: Predictor, share: float, started: float
) -> tuple[Predictor, Predictor]:
    """Returns the chief's parts, fitted again if they have a share and the time suffices.

    As in `fit_parts`, the trees grow beside the network, unless `max_seconds` bounds both.
    """
    if network.refit is None or trees.refit is None:
        return network, trees
    if fitting.job.settings.max_seconds or share in (0.0, 1.0):
        again = _refit_network(fitting, network, share, started)
        forest: Predictor | None = trees
        if share < 1.0 and again is not None:
            forest = trees.refit(seconds_left(fitting, started, network))
    else:
        with ThreadPoolExecutor(1, "trees") as pool:
            growing = pool.submit(trees.refit, math.inf)
            again = _refit_network(fitting, network, share, started)
            forest = growing.result()
    if again is None or forest is None:
        once(network)
        return network, trees
    return again, forest


def _refit_network(
    fitting: Fitting, network: Predictor, share: float, started: float
) -> Predictor | None:
    """Fits the network again on all workers, if the chief gives it a share.

    Args:
        fitting: The input of the first fit.
        network: Its result.
        share: The share of the network in the blend; other workers than the chief have 0.
        started: When the first fit started.

    Returns:
        The second fit, or the first without a share; None if the time was too short.
    """
    if network.refit is None or fitting.cluster.agree(share) == 0.0:
        return network
    return network.refit(seconds_left(fitting, started, network))


def _keeps_rare(fitting: Fitting) -> bool:
    """Returns whether the network shall tell rare levels apart: where trees gain by it, it does."""
    cluster, settings = fitting.cluster, fitting.job.settings
    cardinalities = fitting.examples.transform.cardinalities
    tell = cluster.is_chief and rare_levels_tell(
        *fitting.splits, cardinalities, fitting.head, settings
    )
    return cluster.agree(float(tell)) > 0.0  # the mean over all workers


def _chosen(trees: Predictor) -> str:
    """Returns the name of the form that was chosen among the trees."""
    return next(c.name for c in trees.candidates if c.chosen)


def losses_by_share(network: np.ndarray, trees: np.ndarray, head: Head, split: Split) -> np.ndarray:
    """Returns the loss of a blend for each of `SHARES`: a weighted mean of two predictions.

    Args:
        network: Class probabilities `[N, C] float32`, or labels `[N, 1] float32`.
        trees: The same from the trees.
        head: The task.
        split: The labels and weights of the rows.

    Returns:
        `[21] float64`: mean log-losses, or mean squared errors in the label's unit.
    """
    if head.task == "regression":
        parts = [p[:, 0].astype(np.float64) - split.labels for p in (network, trees)]
    else:
        rows = np.arange(split.rows)
        parts = [p[rows, split.labels].astype(np.float64) for p in (network, trees)]
    losses = []
    for share in SHARES:
        blended = share * parts[0] + (1.0 - share) * parts[1]
        if head.task == "regression":
            by_row = blended**2
        else:
            by_row = -np.log(np.maximum(blended, LEAST_PROBABILITY))
        losses.append(np.average(by_row, weights=split.weights))
    return np.array(losses)


def choose_share(losses: np.ndarray, head: Head, frugal: bool) -> float:
    """Returns the share of the network with the least loss.

    Args:
        losses: The loss for each of `SHARES`.
        head: The task.
        frugal: Whether to prefer 0 or 1 unless a blend is better by `GAIN`, since serving a blend
            costs as much as serving both parts.
    """
    best = int(np.argmin(losses))
    single = int(np.argmin(losses[[0, -1]])) * (len(losses) - 1)
    power = (
        2 if head.task == "regression" else 1
    )  # GAIN is a share of the RMSE, whose square is the loss
    if frugal and losses[best] > losses[single] * (1.0 - GAIN) ** power:
        best = single
    return float(SHARES[best])


def _blended(network: Predictor, trees: Predictor, share: float) -> Predictor:
    """Returns the blend, or one of the two predictors if the share of the other is 0."""
    if share in (0.0, 1.0):
        return network if share else trees

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        parts = [p.predict(numbers, indices) for p in (network, trees)]
        return share * parts[0] + (1.0 - share) * parts[1]

    return replace(
        network,
        predict=predict,
        variables=[*network.variables, *trees.variables],
        shares={"tabm": share, "trees": 1.0 - share},
    )


def judged(predictor: Predictor, split: Split) -> np.ndarray:
    """Returns predictions of the validation rows by what has not seen them, as `predictions`."""
    return predictions(predictor, split) if predictor.judged is None else predictor.judged


def predictions(predictor: Predictor, split: Split) -> np.ndarray:
    """Returns the predictions for a split: class probabilities `[N, C] float32`, or `[N, 1]`."""
    predict = tf.function(predictor.predict, autograph=False, reduce_retracing=True)
    size = rows_at_once(BATCH_ROWS, BATCH_CELLS, split.numbers.shape[1])
    parts = [
        predict(
            tf.constant(split.numbers[cut : cut + size]),
            tf.constant(split.indices[cut : cut + size]),
        ).numpy()
        for cut in range(0, split.rows, size)
    ]
    return np.concatenate(parts)
