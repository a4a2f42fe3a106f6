"""Weights of rows: every part of a model, and every loss that chooses among parts, goes by them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.trainer.boosted import folding
from quatrain.trainer.examples import read_examples
from quatrain.trainer.model import train
from quatrain.trainer.predictor import Head
from quatrain.trainer.settings import TrainerError
from tests.trainer.exported import answers, metadata
from tests.trainer.small import CLASSES, job, write_examples

Spoil = Mapping[str, Callable[[pa.Table], pa.Table]]
FEW = {"rounds": 30, "epochs": 3}


def with_weights(shard: pa.Table) -> pa.Table:
    """Gives each row a weight between 0.1 and 3."""
    weights = np.random.default_rng(len(shard)).uniform(0.1, 3.0, len(shard)).astype(np.float32)
    return shard.set_column(shard.column_names.index("weight"), "weight", [weights])


def with_rows_of_weight_zero(shard: pa.Table) -> pa.Table:
    """Puts two rows of weight 0 after each row: opposite labels and, of train, other delays."""
    shard, n = with_weights(shard), len(shard)
    label, delay = (shard.column(name).to_numpy() for name in ("label", "delay"))
    opposite = label.max() - label if label.dtype.kind == "i" else -1000 * label
    spoiled = shard
    for name, values in {
        "label": opposite.astype(label.dtype),
        "delay": (delay + 5).astype(np.float32) if "raw_delay" not in shard.column_names else delay,
        "weight": np.zeros(n, np.float32),
    }.items():
        spoiled = spoiled.set_column(spoiled.column_names.index(name), name, [values])
    order = np.arange(3 * n).reshape(3, n).T.ravel()
    return pa.concat_tables([shard, spoiled, spoiled]).take(pa.array(order))


def examples_of(folder: Path, task: str, change: Callable[[pa.Table], pa.Table]) -> Path:
    spoil: Spoil = {"train": change, "validation": change}
    return write_examples(folder, task, weighted=True, spoil=spoil)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("binary", {"model": "blend"}),
        ("multiclass", {"model": "auto"}),
        ("regression", {"model": "blend"}),
        ("regression", {"model": "linear"}),
        ("binary", {"model": "tabm", "resident_mb": 0}),  # streamed
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_rows_of_weight_zero_do_not_change_a_model(
    task: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    plain = examples_of(tmp_path / "plain", task, with_weights)
    spoiled = examples_of(tmp_path / "spoiled", task, with_rows_of_weight_zero)
    written = []
    for name, folder in (("one", plain), ("two", spoiled)):
        train(job(folder, tmp_path / name, **FEW, **settings))
        document = metadata(tmp_path / name)
        histories = [{**e, "seconds": 0} for e in document["history"]]
        candidates = [{**c, "seconds": 0} for c in document["model"]["candidates"]]
        written.append((histories, candidates))
    assert written[0] == written[1]
    one, two = (answers(tmp_path / name, plain) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("model", ["tabm", "trees", "blend", "linear"])
def test_the_loss_that_chooses_is_weighted(
    model: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "MOST_ROWS", 0)  # other fits learn from the validation rows
    folder = examples_of(tmp_path / "examples", task, with_weights)
    train(job(folder, tmp_path, model=model, refit="never", **FEW))
    split = read_examples(str(folder)).split("validation")
    answered = answers(tmp_path, folder)
    predicted = answered[:, None] if task == "regression" else answered
    losses = Head(task, CLASSES[task]).row_losses(predicted, split.labels)  # type: ignore[arg-type]
    weighted, plain = np.average(losses, weights=split.weights), losses.mean()
    chosen = next(c for c in metadata(tmp_path)["model"]["candidates"] if c["chosen"])
    assert chosen["validation_loss"] == pytest.approx(weighted, rel=1e-4)
    assert abs(weighted - plain) > 1e-3 * plain


@pytest.mark.parametrize("resident_mb", [0, 100])
def test_a_split_without_weight_is_refused(resident_mb: int, tmp_path: Path) -> None:
    def without(shard: pa.Table) -> pa.Table:
        zeros = np.zeros(len(shard), np.float32)
        return shard.set_column(shard.column_names.index("weight"), "weight", [zeros])

    folder = write_examples(tmp_path / "examples", weighted=True, spoil={"validation": without})
    with pytest.raises(TrainerError, match="weight is 0 in every row of the validation split"):
        train(job(folder, tmp_path, resident_mb=resident_mb))
