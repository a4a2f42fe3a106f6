"""XLA compiles the steps of every network, as it must for a TPU, and they train the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from quatrain.trainer.cluster import Cluster
from quatrain.trainer.examples import read_examples
from quatrain.trainer.job import Job
from quatrain.trainer.network import fit_network
from quatrain.trainer.predictor import Fitting, head_of
from quatrain.trainer.rows import Streamed, read_rows
from quatrain.trainer.settings import MODELS
from tests.trainer.small import job, write_examples

NETWORKS = ("tabm", "linear")


class XlaStrategy(tf.distribute.OneDeviceStrategy):
    """Runs the function of a replica as TPUStrategy does: compiled whole by XLA, or refused."""

    def run(self, fn: Callable[..., Any], args: Any = (), *_: Any, **__: Any) -> Any:
        return super().run(tf.function(fn, autograph=False, jit_compile=True), args)


def losses(job: Job, cluster: Cluster) -> list[float]:
    """Trains a network; returns the losses of both splits in each epoch."""
    examples = read_examples(job.examples)
    rows = [read_rows(examples, s, job.settings.resident_mb) for s in ("train", "validation")]
    assert isinstance(rows[0], Streamed) == (job.settings.resident_mb == 0)
    fitting = Fitting(job, cluster, examples, head_of(examples, rows[0]), *rows, lambda epoch: None)
    history = fit_network(fitting).progress.history
    return [loss for epoch in history for loss in (epoch.loss, epoch.validation_loss)]


def test_every_kind_of_network_is_among_the_cases() -> None:
    assert set(MODELS) == {"auto", "blend", "trees", *NETWORKS}  # the first two train a tabm


@pytest.mark.parametrize(
    ("model", "task", "settings"),
    [
        ("tabm", "binary", {"resident_mb": 0}),  # windows of unequal length
        ("tabm", "multiclass", {"members": 8, "averaging": 0.9, "dropout": 0.5}),
        ("tabm", "regression", {"batch_size": 77, "hidden_units": (8,)}),
        ("linear", "binary", {}),
        ("linear", "multiclass", {}),
        ("linear", "regression", {}),
    ],
)
def test_the_compiled_steps_follow_the_same_curve(
    model: str, task: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    tf.config.experimental.enable_op_determinism()
    folder = write_examples(tmp_path / "examples", task, weighted=True, group_rows=50)
    changes = {"model": model, "epochs": 2, **settings}
    compiled, interpreted = (
        losses(job(folder, tmp_path / name, **changes), cluster)
        for name, cluster in (
            ("xla", Cluster(XlaStrategy("/cpu:0"), is_chief=True, compiles=True)),
            ("not", Cluster(tf.distribute.get_strategy(), is_chief=True)),
        )
    )
    assert len(compiled) == 4
    np.testing.assert_allclose(compiled, interpreted, rtol=1e-4)
