"""Trees beside the network: fits both and blends or chooses by the validation split."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import tensorflow as tf

from .boosted.boosting import boost
from .examples import Split
from .network import fit_network
from .predictor import Fitting, Head, Predictor

log = logging.getLogger("trainer")
SHARES = np.linspace(0.0, 1.0, 21)
"""The shares of the network that are tried: a finer search would only follow the noise."""
GAIN = 0.002
"""`auto` blends where that lowers the log-loss or RMSE of the better part by at least this."""
_BATCH = 8_192
_LEAST_PROBABILITY = 1e-15


def fit_trees(fitting: Fitting) -> Predictor | None:
    """Fits boosted trees to all rows, on the chief; the other workers have nothing to do.

    The same rows give the same trees, so a job that is started again fits them again.

    Raises:
        TrainerError: LightGBM is not installed, or a loss is not a number.
    """
    if not fitting.cluster.is_chief:
        return None
    head, engineered = fitting.head, fitting.examples.transform.engineered
    cardinalities = [c.cardinality for c in engineered if c.cardinality]
    boosted = boost(*fitting.splits, cardinalities, head, fitting.job.settings, fitting.report)
    trees = boosted.trees
    with tf.init_scope():
        variables = trees.variables()

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        return head.predicted(trees.tensor(numbers, indices, variables)[:, None, :])

    return Predictor(
        predict,
        variables,
        boosted.progress,
        boosted.stopped,
        {"trees": 1.0},
        {"trees": boosted.progress.best_loss},
    )


def fit_blend(fitting: Fitting) -> Predictor | None:
    """Fits the network, then the trees, and blends them; `auto` may keep one of them alone.

    The replicas train the network; the chief alone goes on. After the network's epochs it reports
    the outcome, once.

    Raises:
        TrainerError: The rows or the settings cannot train one of them.
    """
    job, head, report = fitting.job, fitting.head, fitting.report
    _, validation = fitting.splits
    tabm = replace(job, settings=replace(job.settings, model="tabm"))
    network = fit_network(replace(fitting, job=tabm))
    trees = fit_trees(replace(fitting, report=lambda epoch: None))
    if trees is None:
        return None
    predicted = [predictions(part, validation) for part in (network, trees)]
    losses = losses_by_share(predicted[0], predicted[1], head, validation)
    share = choose_share(losses, head, frugal=job.settings.model == "auto")
    predictor = _mixed(network, trees, share)
    found = {"tabm": losses[-1], "trees": losses[0], "blend": losses.min()}
    told = ", ".join(f"{name} {loss:.4f}" for name, loss in found.items())
    log.info("share of the network %.2f; validation losses: %s", share, told)
    last = network.progress.history[-1]
    outcome = float(losses[np.searchsorted(SHARES, share)])
    steps = last.step + trees.progress.steps
    report(replace(last, epoch=last.epoch + 1, step=steps, validation_loss=outcome))
    return replace(predictor, losses={name: float(loss) for name, loss in found.items()})


def losses_by_share(network: np.ndarray, trees: np.ndarray, head: Head, split: Split) -> np.ndarray:
    """Returns the mean loss of the weighted mean of two predictions, for each of `SHARES`.

    Args:
        network: Class probabilities `[N, C] float32`, or labels `[N, 1]`.
        trees: The same.
        head: The task.
        split: The labels and weights.

    Returns:
        `[21] float64`: log-losses, or squares in the label's unit.
    """
    if head.task == "regression":
        parts = [p[:, 0].astype(np.float64) - split.labels for p in (network, trees)]
    else:
        rows = np.arange(split.rows)
        parts = [p[rows, split.labels].astype(np.float64) for p in (network, trees)]
    losses = []
    for share in SHARES:
        mean = share * parts[0] + (1.0 - share) * parts[1]
        if head.task == "regression":
            each = mean**2
        else:
            each = -np.log(np.maximum(mean, _LEAST_PROBABILITY))
        losses.append(np.average(each, weights=split.weights))
    return np.array(losses)


def choose_share(losses: np.ndarray, head: Head, frugal: bool) -> float:
    """Returns the share of the network that loses least; frugally, 0 or 1 unless it costs 0.2 %.

    A blend costs both parts with every row that is served.
    """
    best, alone = int(np.argmin(losses)), int(np.argmin(losses[[0, -1]])) * (len(losses) - 1)
    power = 2 if head.task == "regression" else 1  # the loss is a square, the gain is of its root
    if frugal and losses[best] > losses[alone] * (1.0 - GAIN) ** power:
        best = alone
    return float(SHARES[best])


def _mixed(network: Predictor, trees: Predictor, share: float) -> Predictor:
    """Returns the blend; a part without a share is left out."""
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


def predictions(predictor: Predictor, split: Split) -> np.ndarray:
    """Returns what a predictor predicts of a split, `[N, C] float32`."""
    predict = tf.function(predictor.predict, autograph=False, reduce_retracing=True)
    cuts = range(0, split.rows, _BATCH)
    parts = [
        predict(
            tf.constant(split.numbers[cut : cut + _BATCH]),
            tf.constant(split.indices[cut : cut + _BATCH]),
        ).numpy()
        for cut in cuts
    ]
    return np.concatenate(parts)
