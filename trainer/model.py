"""The model: reads the rows, fits the predictor that `settings.model` names, exports it.

Bring your own by replacing this module; `task.py` calls `train(job, report)` and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import tensorflow as tf

from trainer.blend import fit_blend, fit_trees
from trainer.checkpoints import Epoch
from trainer.cluster import Cluster, join_cluster
from trainer.examples import Examples, Split, read_examples
from trainer.export import Exported, export
from trainer.job import Job
from trainer.network import fit_network
from trainer.predictor import Head, Predictor
from trainer.settings import TrainerError

log = logging.getLogger("trainer")
Fit = Callable[
    [Job, Cluster, Examples, Head, Split, Split, Callable[[Epoch], None]], Predictor | None
]
FITS: dict[str, Fit] = {
    "auto": fit_blend,
    "tabm": fit_network,
    "trees": fit_trees,
    "blend": fit_blend,
    "linear": fit_network,
}
"""By `settings.model`: what makes a `Predictor` of the rows; None where the chief alone fits."""


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
    job = replace(job, settings=job.settings.settled(train_rows.rows))
    head = head_of(examples, train_rows)
    fit = FITS[job.settings.model]
    predictor = fit(job, cluster, examples, head, train_rows, validation_rows, report)
    if cluster.is_chief and predictor is not None:
        export(_exported(predictor, head, examples), job, predictor, cluster, examples)
    cluster.agree(0.0)  # a worker that leaves early would take the chief's cluster down
    return job.outputs.model


def head_of(examples: Examples, train_rows: Split) -> Head:
    """Returns the head of the examples' task.

    Raises:
        TrainerError: A label of the train split is not finite.
    """
    task, classes = examples.transform.task, examples.transform.label.classes
    if task != "regression":
        return Head(task, classes)
    labels = train_rows.labels.astype(np.float64)
    if not np.isfinite(labels).all():
        raise TrainerError(f"{examples.uri}: a label of the train split is not finite")
    return Head(task, (), float(labels.mean()), float(labels.std()) or 1.0)


def _exported(predictor: Predictor, head: Head, examples: Examples) -> Exported:
    def answer(numbers: tf.Tensor, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        return head.answer(predictor.predict(numbers, indices))

    return Exported(examples.transform, answer, predictor.variables)
