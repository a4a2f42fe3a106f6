"""The model: input, network, loss, serving signatures, training and evaluation.

Bring your own by replacing this module; `task.py` calls `train(job, report)` and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from trainer.checkpoints import Checkpoints, Epoch
from trainer.cluster import join_cluster
from trainer.epochs import run_epochs
from trainer.examples import Examples, Split, read_examples
from trainer.export import Exported, export
from trainer.features import Engineered, Task
from trainer.job import Job
from trainer.layers import Dropout
from trainer.loop import Loop
from trainer.settings import BOUNDS, Hyperparameters, TrainerError

log = logging.getLogger("trainer")
ONE_HOT = 8  # up to this many levels a one-hot is smaller than its embedding would be


def train(job: Job, report: Callable[[Epoch], None] = lambda epoch: None) -> str:
    """Trains, evaluates and exports; returns the model's folder.

    Args:
        job: What to train on, how, and where outputs go.
        report: Called by the chief after each epoch.

    Raises:
        TrainerError: The rows or the settings cannot train a model.
    """
    tf.config.experimental.enable_op_determinism()
    cluster = join_cluster(job.strategy)
    examples = read_examples(job.examples)
    train_rows, validation_rows = examples.split("train"), examples.split("validation")
    log.info("%d rows to train, %d to validate", train_rows.rows, validation_rows.rows)
    head = Head.of(examples, train_rows)
    build = partial(build_network, examples.transform.engineered, head.units, job.settings)
    loop = Loop(cluster, build, head.losses, job.settings, train_rows, validation_rows)
    checkpoints = Checkpoints(job.outputs.checkpoints, _identity(job, examples), cluster.is_chief)
    run = run_epochs(loop, cluster, job, checkpoints, head.loss_unit, report)
    if cluster.is_chief:
        network = build(tf.Variable(0, dtype=tf.int64))
        network.set_weights(run.best_weights)
        export(_exported(network, head, examples), job, run, cluster, examples)
    cluster.agree(0.0)  # a worker that leaves early would take the chief's cluster down
    return job.outputs.model


def build_network(
    engineered: Sequence[Engineered], units: int, settings: Hyperparameters, step: tf.Variable
) -> keras.Model:
    """Returns a perceptron on engineered columns.

    Args:
        engineered: The columns; numbers enter as they are, indices as one-hot or embedding.
        units: Width of the output.
        settings: Widths, dropout and seed.
        step: Counts the training steps; dropout depends on it.

    Returns:
        A model from numbers `[B, F] float32` and indices `[B, K] int32` to `[B, units] float32`.
    """
    seeds = iter(range(1000 * settings.seed, 1000 * (settings.seed + 1)))
    levels = [c.cardinality for c in engineered if c.cardinality is not None]
    numbers = keras.Input([len(engineered) - len(levels)], dtype="float32", name="numbers")
    indices = keras.Input([len(levels)], dtype="int32", name="indices")
    parts = [encode(indices[:, k], n, next(seeds)) for k, n in enumerate(levels)]
    x = keras.layers.Concatenate()([numbers, *parts]) if parts else numbers
    for width in settings.hidden_units:
        start = keras.initializers.HeUniform(seed=next(seeds))
        x = keras.layers.Dense(width, activation="relu", kernel_initializer=start)(x)
        x = Dropout(settings.dropout, step, next(seeds))(x)
    start = keras.initializers.GlorotUniform(seed=next(seeds))
    x = keras.layers.Dense(units, kernel_initializer=start)(x)
    return keras.Model([numbers, indices], x)


def encode(index: tf.Tensor, levels: int, seed: int) -> tf.Tensor:
    """Returns an index `[B] int32` as one-hot, or as embedding when it has many levels."""
    if levels <= ONE_HOT:
        return keras.ops.one_hot(index, levels)
    start = keras.initializers.RandomNormal(stddev=0.05, seed=seed)
    return keras.layers.Embedding(levels, embedding_size(levels), start)(index)


def embedding_size(levels: int) -> int:
    """Returns fastai's rule of thumb, 1.6 levels**0.56, at most 16."""
    return min(16, round(1.6 * levels**0.56))


@dataclass(frozen=True)
class Head:
    """What a task makes of the network's output.

    Attributes:
        task: binary (one logit), multiclass (a logit a class) or regression (a standardized value).
        classes: The labels' names.
        mean: Of a regression's train labels; 0 for classes.
        scale: Their standard deviation; 1 for classes.
    """

    task: Task
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, examples: Examples, train_rows: Split) -> Head:
        """Makes the head of the examples' task."""
        task, classes = examples.transform.task, examples.transform.label.classes
        if task != "regression":
            return cls(task, classes)
        labels = train_rows.labels.astype(np.float64)
        if not np.isfinite(labels).all():
            raise TrainerError(f"{examples.uri}: a label of the train split is not finite")
        return cls(task, (), float(labels.mean()), float(labels.std()) or 1.0)

    @property
    def units(self) -> int:
        """Width of the output."""
        return len(self.classes) if self.task == "multiclass" else 1

    @property
    def loss_unit(self) -> float:
        """Turns a loss into the label's units: squared for a regression."""
        return self.scale**2

    def losses(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each row, `[B] float32`: log-loss, or the standardized square."""
        if self.task == "multiclass":
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)
        if self.task == "binary":
            labels = tf.cast(labels, tf.float32)
            return tf.nn.sigmoid_cross_entropy_with_logits(labels, outputs[:, 0])
        return tf.square((labels - self.mean) / self.scale - outputs[:, 0])

    def answer(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what the signatures say.

        Args:
            outputs: `[B, units] float32`.

        Returns:
            `prediction` `[B]`; or `probabilities` and `classes` `[B, C]`, `predicted_class` `[B]`.
        """
        if self.task == "regression":
            return {"prediction": outputs[:, 0] * self.scale + self.mean}
        if self.task == "binary":
            probabilities = tf.sigmoid(tf.concat([-outputs, outputs], axis=1))
        else:
            probabilities = tf.nn.softmax(outputs)
        names = tf.constant(self.classes)
        return {
            "probabilities": probabilities,
            "classes": tf.broadcast_to(names, tf.shape(probabilities)),
            "predicted_class": tf.gather(names, tf.argmax(probabilities, axis=1)),
        }


def _exported(network: keras.Model, head: Head, examples: Examples) -> Exported:
    def answer(numbers: tf.Tensor, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        return head.answer(network([numbers, indices], training=False))

    return Exported(examples.transform, answer, [v.value for v in network.variables])


def _identity(job: Job, examples: Examples) -> dict[str, object]:
    """Returns what a checkpoint's job must share with this one: the rows and the settings."""
    settings = {k: v for k, v in asdict(job.settings).items() if k not in BOUNDS}
    return {
        "transform": examples.transform_sha256,
        "examples": examples.manifest["files"],
        **settings,
    }
