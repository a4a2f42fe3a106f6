"""Fits a small network to rows of a test's own class, in a process that may be killed."""

from collections.abc import Callable
from dataclasses import replace

import tensorflow as tf

from quatrain.trainer.cluster import Cluster, join_cluster
from quatrain.trainer.examples import Split, read_examples
from quatrain.trainer.export import export
from quatrain.trainer.job import Job
from quatrain.trainer.levels import count_levels
from quatrain.trainer.network import fit_network
from quatrain.trainer.neural.epochs import SAVE_EVERY_S
from quatrain.trainer.predictor import Fitting, head_of
from quatrain.trainer.rows import Resident


def fit(
    job: Job,
    wrap: Callable[[Split, Cluster], Resident],
    save_every_s: float = SAVE_EVERY_S,
) -> None:
    """Does what `trainer.model.train` does for a network, with `wrap`'s train rows."""
    tf.config.experimental.enable_op_determinism()
    cluster = join_cluster(job.strategy)
    examples = read_examples(job.examples)
    train, validation = (examples.split(name) for name in ("train", "validation"))
    job = replace(job, settings=job.settings.settled(train.rows))
    rows = wrap(train, cluster)
    rows.sample = train.numbers  # type: ignore[attr-defined]
    rows.levels = count_levels(train.indices, examples.transform.cardinalities)  # type: ignore[attr-defined]
    head = head_of(examples, train)
    fitting = Fitting(job, cluster, examples, head, rows, validation, lambda epoch: None)  # type: ignore[arg-type]
    predictor = fit_network(fitting, save_every_s)
    if cluster.is_chief:
        export(job, predictor, head, cluster, examples)
    cluster.agree(0.0)
