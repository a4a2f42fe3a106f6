"""Class weights: they multiply the weights of rows, whatever is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.trainer.class_weights import with_class_weights
from quatrain.trainer.examples import read_examples
from quatrain.trainer.model import train
from quatrain.trainer.settings import TrainerError
from tests.trainer.exported import answers, metadata
from tests.trainer.small import CLASSES, job, write_examples
from tests.trainer.test_weights import FEW


def by_class(weights: list[float]) -> Callable[[pa.Table], pa.Table]:
    """Returns what gives each row of a shard the weight of its class."""

    def change(shard: pa.Table) -> pa.Table:
        of_row = np.array(weights, np.float32)[shard.column("label").to_numpy()]
        return shard.set_column(shard.column_names.index("weight"), "weight", [of_row])

    return change


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("binary", {"model": "blend"}),
        ("multiclass", {"model": "trees"}),
        ("binary", {"model": "tabm", "resident_mb": 0}),
    ],
    ids=["blend", "trees", "streamed"],
)
def test_a_class_weight_is_the_weight_of_each_row_of_the_class(
    task: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    classes, factors = CLASSES[task], [1.0, 3.0, 0.5][: len(CLASSES[task])]
    change = by_class(factors)
    spoil = {"train": change, "validation": change}
    plain = write_examples(tmp_path / "plain", task)
    weighted = write_examples(tmp_path / "weighted", task, weighted=True, spoil=spoil)
    named = {c: f for c, f in zip(classes, factors, strict=True) if f != 1.0}
    train(job(plain, tmp_path / "one", class_weights=named, **FEW, **settings))
    train(job(weighted, tmp_path / "two", **FEW, **settings))
    one, two = (answers(tmp_path / name, plain) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)
    written = metadata(tmp_path / "one")
    assert written["class_weights"] == dict(zip(classes, factors, strict=True))
    assert metadata(tmp_path / "two")["class_weights"] is None


def test_balanced_gives_each_class_the_same_total_weight(tmp_path: Path) -> None:
    change = by_class([2.0, 1.0, 0.5])
    spoil = {"train": change}
    folder = write_examples(tmp_path / "examples", "multiclass", weighted=True, spoil=spoil)
    examples = with_class_weights(read_examples(str(folder)), "balanced")
    split = examples.split("train")
    totals = np.bincount(split.labels, split.weights)
    assert totals == pytest.approx([split.weights.sum() / 3] * 3, rel=1e-5)
    plain = read_examples(str(folder)).split("train").weights.sum()
    assert split.weights.sum() == pytest.approx(plain, rel=1e-5)


def test_the_mean_probability_is_the_share_by_the_class_weights(tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples", rows=(600, 400, 400))
    train(job(folder, tmp_path, model="trees", class_weights={"late": 4}, rounds=200))
    split = with_class_weights(read_examples(str(folder)), {"late": 4}).split("validation")
    late, share = answers(tmp_path, folder)[:, 1], split.labels.mean()
    of_weights = 4 * share / (4 * share + 1 - share)
    assert np.average(late, weights=split.weights) == pytest.approx(of_weights, abs=0.03)
    assert late.mean() > share + 0.02


@pytest.mark.parametrize(
    ("task", "weights", "sentence"),
    [
        (
            "binary",
            {"Late": 2},
            r"train.class_weights.Late: the label 'late' has no such class; use",
        ),
        (
            "regression",
            "balanced",
            r"train.class_weights: a regression has no classes; leave it out",
        ),
    ],
)
def test_class_weights_of_no_class_are_refused(
    task: str, weights: Any, sentence: str, tmp_path: Path
) -> None:
    folder = write_examples(tmp_path / "examples", task)
    with pytest.raises(TrainerError, match=sentence):
        train(job(folder, tmp_path, class_weights=weights))
