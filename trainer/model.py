"""Reads the rows, fits the predictor that `settings.model` names, and exports it.

Replace this module to bring your own model, as docs/own-model.md shows: `task.py` calls
`train(job, report)` and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import tensorflow as tf

from .bagging import FOLDS, fit_bag
from .boosted.blend import fit_blend, fit_trees
from .candidates import LeftOut
from .checkpoints import Epoch
from .class_weights import with_class_weights
from .cluster import join_cluster
from .examples import Split, read_examples
from .export import export
from .folds import fold_rows
from .job import Job
from .network import fit_network
from .predictor import Fitting, Head, Predictor, head_of
from .refit import fit_alone, rows_of_both
from .rows import Streamed, read_rows
from .settings import Hyperparameters, TrainerError
from .text_fit import fit_text_scores

log = logging.getLogger("trainer")
FITS: dict[str, Callable[[Fitting], Predictor | None]] = {
    "auto": fit_blend,
    "tabm": fit_alone(fit_network),
    "trees": fit_alone(fit_trees),
    "blend": fit_blend,
    "linear": fit_alone(fit_network),
}
"""The function that fits each `settings.model`; it returns None on a worker that takes no part."""


def train(job: Job, report: Callable[[Epoch], None] = lambda epoch: None) -> str:
    """Trains, evaluates and exports a model.

    Args:
        job: The rows, the settings and the places of the outputs.
        report: Called by the chief after each epoch.

    Returns:
        The folder of the model.

    Raises:
        TrainerError: No model can be trained with these rows or settings.
    """
    tf.config.experimental.enable_op_determinism()
    cluster = join_cluster(job.strategy)
    examples = with_class_weights(read_examples(job.examples), job.settings.class_weights)
    train_rows, validation_rows = (
        read_rows(examples, name, job.settings.resident_mb) for name in ("train", "validation")
    )
    log.info("%d rows to train, %d to validate", train_rows.rows, validation_rows.rows)
    job = replace(job, settings=job.settings.settled(train_rows.rows))
    head = head_of(examples, train_rows)
    text, started, folds = None, time.monotonic(), None
    if isinstance(train_rows, Split) and job.settings.quality == "high":
        folds = fold_rows(train_rows, FOLDS)
    if isinstance(train_rows, Split) and isinstance(validation_rows, Split):
        text, train_rows, validation_rows = fit_text_scores(
            examples, train_rows, validation_rows, head
        )
    job = replace(job, settings=_after(job.settings, time.monotonic() - started))
    left_out: list[LeftOut] = []
    if monotone := examples.transform.monotone:
        settings, left_out = _constrained(job.settings, [f.name for f in monotone], head)
        job = replace(job, settings=settings)
    if isinstance(train_rows, Streamed) or isinstance(validation_rows, Streamed):
        job = replace(job, settings=_streaming(job.settings))
    both = rows_of_both(job.settings, train_rows, validation_rows)
    fitting = Fitting(job, cluster, examples, head, train_rows, validation_rows, report, both=both)
    fit = FITS[job.settings.model]
    predictor = fit(fitting) if folds is None else fit_bag(fitting, folds)
    if cluster.is_chief and predictor is not None:
        predictor = replace(predictor, left_out=left_out, text=text)
        export(job, predictor, head, cluster, examples)
    cluster.agree(0.0)  # wait for the chief: a worker that leaves takes the cluster down
    return job.outputs.model


def _constrained(
    settings: Hyperparameters, features: Sequence[str], head: Head
) -> tuple[Hyperparameters, list[LeftOut]]:
    """Returns the settings of models that keep the order of features, and those that are left out.

    Raises:
        TrainerError: The settings name a model that cannot keep it, or the task has no answer that
            could rise or fall.
    """
    shown = ", ".join(features)
    if head.task == "multiclass":
        raise TrainerError(
            f"a multiclass model cannot keep monotone {shown}, since it has no single answer; "
            "remove `monotone`"
        )
    if settings.model not in ("auto", "trees"):
        raise TrainerError(
            f"model {settings.model} cannot keep monotone {shown}; choose model auto or trees, or "
            "remove `monotone`"
        )
    if settings.model == "trees":
        return settings, []
    left_out = LeftOut("tabm", f"it cannot keep monotone {shown}")
    log.info("%s is left out: %s", left_out.name, left_out.why)
    return replace(settings, model="trees"), [left_out]


def _after(settings: Hyperparameters, seconds: float) -> Hyperparameters:
    """Returns the settings with what a step took cut from `max_seconds`."""
    if not settings.max_seconds:
        return settings
    return replace(settings, max_seconds=max(settings.max_seconds - seconds, 1e-3))


def _streaming(settings: Hyperparameters) -> Hyperparameters:
    """Returns the settings for rows that do not fit into memory: trees cannot be fitted to these.

    Raises:
        TrainerError: The settings name a model with trees.
    """
    if settings.quality == "high":
        raise TrainerError(
            "quality high needs all rows in memory, and they take more than "
            f"resident_mb={settings.resident_mb}; raise it, or leave out train.quality"
        )
    if settings.model in ("trees", "blend"):
        raise TrainerError(
            f"model {settings.model} needs all rows in memory, and they take more than "
            f"resident_mb={settings.resident_mb}; raise it, or choose model tabm and no `monotone`"
        )
    log.info("the rows take more than resident_mb=%d and are streamed", settings.resident_mb)
    return replace(settings, model="tabm") if settings.model == "auto" else settings
