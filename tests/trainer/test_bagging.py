"""Quality high: folds by content, greedy shares, and one model that is no worse."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.trainer.bagging import FOLDS, pick_greedily
from quatrain.trainer.examples import Split
from quatrain.trainer.folds import fold_rows
from quatrain.trainer.model import train
from quatrain.trainer.predictor import Head
from quatrain.trainer.settings import TrainerError
from tests.trainer.exported import answers, metadata
from tests.trainer.small import job, write_examples

BINARY = Head("binary", ("no", "yes"))


def rows(n: int, share: float = 0.5) -> Split:
    random = np.random.default_rng(0)
    return Split(
        random.normal(size=(n, 2)).astype(np.float32),
        random.integers(0, 5, (n, 1)).astype(np.int32),
        (np.arange(n) < share * n).astype(np.int32),
        np.ones(n, np.float32),
    )


def test_a_row_has_the_same_fold_in_any_order_of_the_rows() -> None:
    split, order = rows(200), np.random.default_rng(1).permutation(200)
    np.testing.assert_array_equal(
        fold_rows(split.take(order), FOLDS), fold_rows(split, FOLDS)[order]
    )


def test_equal_rows_share_a_fold_and_every_fold_has_its_share_of_each_class() -> None:
    split = rows(200, share=0.05)
    twice = split.take(np.repeat(np.arange(200), 2))
    folds = fold_rows(twice, FOLDS)
    np.testing.assert_array_equal(folds[::2], folds[1::2])
    assert np.bincount(folds[twice.labels == 1]).tolist() == [4] * FOLDS
    assert np.bincount(folds).tolist() == [80] * FOLDS


def test_greedy_picks_balance_two_models_that_err_on_different_rows() -> None:
    split = rows(2)
    one = np.array([[0.1, 0.9], [0.5, 0.5]], np.float32)  # the labels are 1 and 0
    other = np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)
    useless = np.full((2, 2), 0.01, np.float32)
    assert pick_greedily([one, other, useless], BINARY, split).tolist() == [0.5, 0.5, 0.0]
    assert pick_greedily([useless, one], BINARY, split).tolist() == [0.0, 1.0]


def chosen(written: dict[str, Any]) -> dict[str, Any]:
    return next(c for c in written["model"]["candidates"] if c["chosen"])


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_bag_is_one_model_of_both_learners_and_lists_what_it_cost(
    task: str, tmp_path: Path
) -> None:
    folder = write_examples(tmp_path / "examples", task=task)
    train(job(folder, tmp_path, model="auto", quality="high", rounds=30))
    written = metadata(tmp_path)
    candidates = {c["name"]: c for c in written["model"]["candidates"]}
    assert {"tabm", "trees", "tabm-folds", "trees-folds", "bag"} <= set(candidates)
    assert chosen(written) is candidates["bag"]
    assert candidates["bag"]["validation_loss"] <= min(
        c["validation_loss"] * (1 + 1e-6) for c in candidates.values()
    )
    assert sum(written["model"]["shares"].values()) == pytest.approx(1.0)
    assert candidates["tabm-folds"]["seconds"] > candidates["tabm"]["seconds"]
    assert np.isfinite(answers(tmp_path, folder)).all()


def test_trees_in_a_bag_repeat_to_the_byte(examples: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(job(examples, tmp_path / name, model="trees", quality="high", rounds=20))
    one, two = (answers(tmp_path / name, examples) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_a_bag_without_time_still_ends_with_a_model(examples: Path, tmp_path: Path) -> None:
    train(job(examples, tmp_path, model="blend", quality="high", epochs=50, max_seconds=1e-3))
    names = {c["name"] for c in metadata(tmp_path)["model"]["candidates"]}
    assert "bag" in names
    assert "tabm-folds" not in names
    assert np.isfinite(answers(tmp_path, examples)).all()


def test_rows_that_are_streamed_make_no_bag(examples: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"quality high needs all rows in memory.*resident_mb=0"):
        train(job(examples, tmp_path, model="tabm", quality="high", resident_mb=0))


@pytest.mark.parametrize("quality", ["standard", "high"])
def test_sixty_rows_and_a_class_of_three_train(quality: str, tmp_path: Path) -> None:
    def three_late(shard: pa.Table) -> pa.Table:
        late = np.arange(len(shard)) < (3 if len(shard) == 30 else 0)
        return shard.set_column(
            shard.schema.get_field_index("label"), "label", pa.array(late.astype(np.int32))
        )

    spoil = {"train": three_late}
    folder = write_examples(tmp_path / "examples", rows=(30, 18, 12), spoil=spoil)
    train(job(folder, tmp_path, model="auto", quality=quality, rounds=20))
    found = answers(tmp_path, folder)
    assert found.shape == (12, 2)
    assert np.isfinite(found).all()
