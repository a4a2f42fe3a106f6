"""The networks: `build_tabm` and `build_linear` build one, `fit_network` trains it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from .candidates import Candidate, choose
from .checkpoints import Checkpoints
from .examples import Examples, Split
from .features.categories import least_rows
from .job import Job
from .levels import count_levels, merge_few
from .neural.epochs import SAVE_EVERY_S, run_again, run_epochs
from .neural.intercept import Intercept, find_intercept
from .neural.knots import knots_of, pieces_of
from .neural.layers import (
    ONE_HOT,
    Dropout,
    IndexEmbedding,
    MemberDense,
    MemberHeads,
    NumberEmbedding,
    Renumbering,
    SharedDense,
    embedding_width,
    trusted,
)
from .neural.steps import Loop
from .predictor import Fitting, Head, Predict, Predictor
from .rows import Resident, Streamed
from .settings import BOUNDS, Hyperparameters


@dataclass(frozen=True, eq=False)
class Columns:
    """The engineered columns, as far as they shape a network.

    Attributes:
        knots: The knots of each number, ascending `[P] float32`.
        trust: How much each level of each index counts for itself, `[levels] float32`.
        merged: The level of each index's values, `[cardinality] int32`; None: the value.
    """

    knots: list[np.ndarray]
    trust: list[np.ndarray]
    merged: list[np.ndarray] | None = None

    @classmethod
    def of(
        cls, examples: Examples, train: Split | Streamed, bins: int, keeps_rare: bool = False
    ) -> Columns:
        """Computes the knots from the train split's numbers, with at most `bins` pieces each.

        The values of an index that few rows have share a level, or with `keeps_rare` a part of
        their embedding.
        """
        if isinstance(train, Split):
            numbers = train.numbers
            counts = count_levels(train.indices, examples.transform.cardinalities)
        else:
            numbers, counts = train.sample, train.levels
        bins = pieces_of(numbers.shape[1], bins)
        knots = [knots_of(column, bins) for column in numbers.T]
        least = least_rows(train.rows)
        if keeps_rare:
            return cls(knots, [trusted(rows, least) for rows in counts])
        merged = merge_few(counts, least)
        sizes = [len(rows) for rows in counts] if merged is None else [n.max() + 1 for n in merged]
        return cls(knots, [np.ones(size, np.float32) for size in sizes], merged)


def fit_network(fitting: Fitting, save_every_s: float = SAVE_EVERY_S) -> Predictor:
    """Trains the network of `settings.model`, from the job's newest checkpoint if there is one.

    Args:
        fitting: The job, the rows and the task.
        save_every_s: Seconds between checkpoints within an epoch.

    Raises:
        TrainerError: No network can be trained with these rows or settings.
    """
    job, head, cluster = fitting.job, fitting.head, fitting.cluster
    columns = Columns.of(fitting.examples, fitting.train, job.settings.bins, fitting.keeps_rare)

    def build(step: tf.Variable) -> keras.Model:
        return BUILDERS[job.settings.model](columns, head.units, job.settings, step)

    splits = (fitting.train, fitting.validation)
    rows = [Resident(r) if isinstance(r, Split) else r for r in splits]
    loop = Loop(cluster, build, head, job.settings, *rows)
    identity = _identity(job, fitting.examples)
    checkpoints = Checkpoints(job.outputs.checkpoints, identity, cluster.is_chief)
    trained = run_epochs(
        loop, cluster, job, checkpoints, head.loss_unit, fitting.report, save_every_s
    )
    network = _folded(build, trained.best_weights)

    def answer(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        return network([numbers, indices], training=False)

    intercept = Intercept(0.0, trained.progress.best_loss)
    if head.task == "binary" and cluster.is_chief:
        intercept = find_intercept(answer, head, *rows)
    name, progress = job.settings.model, trained.progress
    candidate = Candidate(name, intercept.loss, progress.seconds, progress.steps)
    predictor = Predictor(
        _prediction(network, head, intercept.shift),
        [v.value for v in network.variables],
        progress,
        trained.stopped,
        {name: 1.0},
        choose([candidate], name),
    )
    both = fitting.both
    if both is None:
        return predictor

    def refit(seconds: float) -> Predictor | None:
        left = cluster.agree(seconds) if math.isfinite(seconds) else seconds
        if not run_again(loop, cluster, Resident(both), progress.best_epoch, left):
            return None
        again = _folded(build, loop.average.get_weights())
        return replace(
            predictor,
            predict=_prediction(again, head, intercept.shift),
            variables=[v.value for v in again.variables],
            refit_rows=both.rows,
        )

    return replace(predictor, refit=refit)


def _folded(
    build: Callable[[tf.Variable], keras.Model], weights: Sequence[np.ndarray]
) -> keras.Model:
    """Returns a network with trained weights, in the form that answers fastest."""
    with tf.init_scope():
        network = build(tf.Variable(0, dtype=tf.int64))
    network.set_weights(weights)
    for layer in network.layers:
        if isinstance(layer, MemberDense | MemberHeads):
            layer.fold()
    return network


def _prediction(network: keras.Model, head: Head, shift: float) -> Predict:
    """Returns the function that answers by a network, with a shift of its logits."""

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        return head.predicted(network([numbers, indices], training=False) + shift)

    return predict


def build_tabm(
    columns: Columns, units: int, settings: Hyperparameters, step: tf.Variable
) -> keras.Model:
    """Builds TabM-mini with piecewise-linear embeddings.

    Gorishniy, Kotelnikov & Babenko, "TabM: Advancing tabular deep learning with parameter-efficient
    ensembling" (ICLR 2025). The members share all layers but their scaling of the first one's
    inputs and their heads, and each is trained on its own loss.

    Args:
        columns: The engineered columns.
        units: Width of a member's output.
        settings: Members, widths, dropout and seed.
        step: The variable that counts the training steps, on which dropout depends.

    Returns:
        A model from numbers `[B, F] float32` and indices `[B, K] int32` to
        `[B, members, units] float32`.
    """
    # Seeds are 10 apart: Keras's initializers repeat their values for equal seeds, and a layer may
    # also use the seeds right after its own.
    seeds = iter(range(1000 * settings.seed, 1000 * (settings.seed + 1), 10))
    inputs = _inputs(columns)
    parts, chunks = [], []
    size = embedding_width(len(columns.knots) + len(columns.trust), settings.embedding_size)
    if columns.knots:
        parts.append(NumberEmbedding(columns.knots, size, next(seeds))(inputs[0]))
        chunks += [size] * len(columns.knots)
    if columns.trust:
        one_hot = ONE_HOT if size == settings.embedding_size else 2 * size
        table = IndexEmbedding(columns.trust, size, next(seeds), one_hot)
        parts.append(table(_levels(columns, inputs[1])))
        chunks += table.widths
    x = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    first, *others = settings.hidden_units
    x = MemberDense(settings.members, first, chunks, next(seeds))(x)
    x = Dropout(settings.dropout, step, next(seeds))(x)
    for width in others:
        x = SharedDense(width, next(seeds))(x)
        x = Dropout(settings.dropout, step, next(seeds))(x)
    return keras.Model(inputs, MemberHeads(units, next(seeds))(x))


def build_linear(
    columns: Columns, units: int, settings: Hyperparameters, step: tf.Variable
) -> keras.Model:
    """Builds a linear model as a network of one member: a slope a number, a weight a level.

    Takes and returns the same as `build_tabm`.
    """
    inputs = _inputs(columns)
    parts = [keras.layers.Dense(units, kernel_initializer="zeros")(inputs[0])]
    levels = _levels(columns, inputs[1])
    parts += [
        keras.layers.Embedding(len(trust), units, "zeros")(levels[:, k])
        for k, trust in enumerate(columns.trust)
    ]
    x = keras.layers.Add()(parts) if len(parts) > 1 else parts[0]
    return keras.Model(inputs, keras.layers.Reshape([1, units])(x))


BUILDERS = {"tabm": build_tabm, "linear": build_linear}


def _inputs(columns: Columns) -> list[tf.Tensor]:
    return [
        keras.Input([len(columns.knots)], dtype="float32", name="numbers"),
        keras.Input([len(columns.trust)], dtype="int32", name="indices"),
    ]


def _levels(columns: Columns, indices: tf.Tensor) -> tf.Tensor:
    """Returns the level of each index, `[B, K] int32`."""
    return indices if columns.merged is None else Renumbering(columns.merged)(indices)


def _identity(job: Job, examples: Examples) -> dict[str, object]:
    """Returns what must be equal for a job to resume a checkpoint: the rows and the settings.

    The bounds of a training may differ, so that it can be extended.
    """
    settings = {k: v for k, v in asdict(job.settings).items() if k not in BOUNDS}
    return {
        "transform": examples.transform_sha256,
        "examples": examples.manifest["files"],
        **settings,
    }
