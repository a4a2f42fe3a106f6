"""The second fit of a small table: to train and validation rows, by what the first one chose."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quatrain.local import training_job
from quatrain.trainer import refit
from quatrain.trainer.boosted.boosting import boost
from quatrain.trainer.boosted.folding import boost_folds
from quatrain.trainer.boosted.refitting import refit_trees
from quatrain.trainer.cluster import join_cluster
from quatrain.trainer.examples import Examples, Split, joined, read_examples
from quatrain.trainer.model import train
from quatrain.trainer.network import Columns, build_tabm
from quatrain.trainer.neural.epochs import run_again
from quatrain.trainer.neural.steps import Loop
from quatrain.trainer.predictor import head_of
from quatrain.trainer.refit import rows_of_both
from quatrain.trainer.rows import Resident
from quatrain.trainer.settings import Hyperparameters
from tests.trainer.exported import answers, metadata
from tests.trainer.small import SMALL, job, write_examples

TRAIN, VALIDATION = 333, 90
"""Rows of the small examples."""
CLUSTER = join_cluster("one_device")


def splits(examples: Path) -> tuple[Examples, Split, Split]:
    read = read_examples(str(examples))
    return read, read.split("train"), read.split("validation")


def loop_of(read: Examples, train_rows: Split, learned: Split, validation: Split) -> Loop:
    """Returns a loop on some rows, of a network whose columns are those of the train rows."""
    head, columns = head_of(read, train_rows), Columns.of(read, train_rows, SMALL.bins)
    build = partial(build_tabm, columns, head.units, SMALL)
    return Loop(CLUSTER, build, head, SMALL, Resident(learned), Resident(validation))


def test_a_network_fitted_again_is_one_that_was_fitted_to_these_rows_first(examples: Path) -> None:
    read, train_rows, validation = splits(examples)
    both = joined([train_rows, validation])
    again, first = (loop_of(read, train_rows, rows, validation) for rows in (train_rows, both))
    assert run_again(again, CLUSTER, Resident(train_rows), 1, np.inf)
    assert run_again(again, CLUSTER, Resident(both), 2, np.inf)
    for epoch in range(2):
        (window,) = first.windows(epoch)
        first.run_steps(window, 0, first.steps)
    assert first.steps == again.steps == 7
    for one, other in zip(first.average.get_weights(), again.average.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again._run_steps.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_trees_fitted_again_to_their_own_rows_are_the_same(task: str, tmp_path: Path) -> None:
    read, train_rows, validation = splits(write_examples(tmp_path / "examples", task))
    cardinalities = read.transform.cardinalities
    head = head_of(read, train_rows)
    settings = Hyperparameters(rounds=60)
    one = boost(train_rows, validation, cardinalities, head, settings)
    same = refit_trees(one, train_rows, cardinalities, head)
    assert same is not None
    np.testing.assert_array_equal(same.trees.leaves, one.trees.leaves)
    np.testing.assert_array_equal(same.trees.words, one.trees.words)
    np.testing.assert_array_equal(same.judged, one.judged)


def test_each_fit_of_the_mean_is_grown_again_for_its_rounds(examples: Path) -> None:
    read, train_rows, validation = splits(examples)
    cardinalities, head = read.transform.cardinalities, head_of(read, train_rows)
    settings = Hyperparameters(rounds=60)
    rows = train_rows, validation, cardinalities, head, settings
    five = boost_folds(boost(*rows), *rows)
    again = refit_trees(five, joined([train_rows, validation]), cardinalities, head)
    assert again is not None
    assert len(again.members) == len(five.members) == 5
    assert again.candidates == five.candidates
    assert len(again.trees.leaves) == sum(member.rounds for member in five.members)
    texts = (member.booster.model_to_string() for member in again.members)
    assert len({text.partition("end of trees")[0] for text in texts}) == 5, "their seeds differ"


@pytest.mark.parametrize("model", ["tabm", "trees", "linear", "auto"])
def test_the_answers_are_of_the_second_fit_and_the_losses_of_the_first(
    model: str, examples: Path, tmp_path: Path
) -> None:
    for name in ("auto", "never"):
        train(job(examples, tmp_path / name, model=model, rounds=40, refit=name))
    twice, once = (metadata(tmp_path / name) for name in ("auto", "never"))
    assert (twice["model"].pop("refit_rows"), once["model"].pop("refit_rows")) == (423, 0)
    for written in (twice, once):
        for timed in (*written["model"]["candidates"], *written["history"]):
            timed.pop("seconds")
    assert twice["model"] == once["model"]
    assert twice["history"] == once["history"]
    one, other = (answers(tmp_path / name, examples) for name in ("auto", "never"))
    assert not np.array_equal(one, other)
    labels = read_examples(str(examples)).split("validation").labels
    losses = [-np.log(a[np.arange(len(labels)), labels]).mean() for a in (one, other)]
    assert losses[0] < losses[1], "the second fit has learned the validation rows"


def test_validation_rows_are_learned_by_their_weights(tmp_path: Path) -> None:
    """A weight of nearly 0 in all validation rows: they teach next to nothing."""

    def weigh(weight: float) -> Any:
        def spoil(shard: Any) -> Any:
            place = shard.column_names.index("weight")
            return shard.set_column(place, "weight", [np.full(len(shard), weight, np.float32)])

        return spoil

    found = []
    for name, weight in (("light", 1e-4), ("heavy", 700.0)):
        spoil = {"validation": weigh(weight)}
        folder = write_examples(tmp_path / name / "examples", weighted=True, spoil=spoil)
        for key in ("auto", "never"):
            small = job(folder, tmp_path / name / key, model="trees", rounds=40, refit=key)
            train(small)
        pair = [answers(tmp_path / name / key, folder) for key in ("auto", "never")]
        labels = read_examples(str(folder)).split("validation").labels
        losses = [-np.log(p[np.arange(len(labels)), labels]).mean() for p in pair]
        found.append(losses[0] / losses[1])
    assert found[1] < 0.9 * found[0]


@pytest.mark.parametrize("model", ["tabm", "trees", "auto"])
def test_without_time_for_a_second_fit_the_first_is_exported(
    model: str, examples: Path, tmp_path: Path
) -> None:
    train(job(examples, tmp_path, model=model, rounds=20, max_seconds=1e-3))
    assert metadata(tmp_path)["model"]["refit_rows"] == 0
    assert np.isfinite(answers(tmp_path, examples)).all()


def test_a_time_that_ends_within_the_second_fit_leaves_it(examples: Path) -> None:
    read, train_rows, validation = splits(examples)
    cardinalities, head = read.transform.cardinalities, head_of(read, train_rows)
    loop = loop_of(read, train_rows, train_rows, validation)
    assert not run_again(loop, CLUSTER, Resident(train_rows), 2, 1e-9)
    assert int(loop.step.numpy()) == loop.steps, "one call, then the clock was read"
    trees = boost(train_rows, validation, cardinalities, head, Hyperparameters(rounds=20))
    assert refit_trees(trees, train_rows, cardinalities, head, 1e-9) is None


def test_with_time_a_bounded_training_is_fitted_again_too(examples: Path, tmp_path: Path) -> None:
    for name, seconds in (("bounded", 600.0), ("free", 0.0)):
        small = job(examples, tmp_path / name, model="blend", rounds=20, max_seconds=seconds)
        train(small)
        assert metadata(tmp_path / name)["model"]["refit_rows"] == TRAIN + VALIDATION
    one, other = (answers(tmp_path / name, examples) for name in ("bounded", "free"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "change", [{"refit": "never"}, {"quality": "high"}, {"max_steps": 100}, {"rows": 32_000}]
)
def test_large_tables_and_bounded_trainings_are_fitted_once(change: dict[str, Any]) -> None:
    def rows_of(n: int) -> Split:
        zeros = np.zeros((n, 1), np.float32)
        return Split(zeros, zeros.astype(np.int32), np.zeros(n, np.int32), np.ones(n, np.float32))

    n_rows, settings = change.pop("rows", 31_999), Hyperparameters(**change)
    assert refit.MOST_ROWS == 32_000
    assert rows_of_both(settings, rows_of(n_rows), rows_of(10)) is None
    both = rows_of_both(Hyperparameters(), rows_of(31_999), rows_of(10))
    assert both is not None and both.rows == 32_009


KILLED = """
import os, signal, sys
from pathlib import Path

from quatrain.trainer.model import train
from quatrain.trainer.neural.steps import Loop
from tests.trainer.small import job


class FatalLoop(Loop):
    is_second = False

    def restart(self, rows):
        super().restart(rows)
        self.is_second = True

    def run_steps(self, window, first, steps):
        if self.is_second:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run_steps(window, first, steps)


import quatrain.trainer.network as network
network.Loop = FatalLoop
train(job(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_killed_within_its_second_fit_a_job_gives_the_same_model(
    examples: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED, str(examples), str(tmp_path / "killed")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not os.path.exists(tmp_path / "killed/model")
    for name in ("killed", "whole"):
        train(job(examples, tmp_path / name))
    one, other = (answers(tmp_path / name, examples) for name in ("killed", "whole"))
    np.testing.assert_array_equal(one, other)


WORKER = """
import sys
from dataclasses import replace
from pathlib import Path

from quatrain.trainer.model import train
from tests.trainer.small import job

examples, folder, model = map(str, sys.argv[1:])
small = job(Path(examples), Path(folder), model=model, rounds=20)
train(replace(small, strategy="multi_worker"))
"""


@pytest.mark.parametrize("model", ["blend", "tabm", "trees"])
def test_two_workers_fit_again_what_one_does(model: str, examples: Path, tmp_path: Path) -> None:
    arguments = ["-c", WORKER, str(examples), str(tmp_path / "two"), model]
    container = {"image_uri": "toy", "command": ["python"], "args": arguments}
    payload = {
        "job_spec": {
            "worker_pool_specs": [{"replica_count": 1, "container_spec": container}] * 2,
            "scheduling": {"restart_job_on_worker_restart": False, "timeout": "300s"},
            "base_output_directory": {"output_uri_prefix": str(tmp_path / "two")},
        }
    }
    (tmp_path / "two").mkdir()
    outcome = training_job.run_job(payload, dict(os.environ), tmp_path / "chief.log")
    assert outcome.succeeded, outcome.reason
    train(job(examples, tmp_path / "one", model=model, rounds=20))
    two, one = (metadata(tmp_path / name)["model"] for name in ("two", "one"))
    assert two["refit_rows"] == one["refit_rows"] == TRAIN + VALIDATION
    np.testing.assert_allclose(
        answers(tmp_path / "two", examples), answers(tmp_path / "one", examples), atol=1e-3
    )
