"""Rows in memory and streamed: every row once an epoch, in an order that the seed gives."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from quatrain.trainer.examples import Examples, Labels, Split, joined, read_examples
from quatrain.trainer.levels import count_levels
from quatrain.trainer.rows import Resident, Streamed, read_rows
from tests.trainer.small import write_examples

ROW_BYTES = 4 * (5 + 2)  # five engineered columns, label and weight


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Returns examples whose shards hold row groups of 40 rows: 5 and 4 to train."""
    folder = write_examples(tmp_path_factory.mktemp("grouped") / "examples", group_rows=40)
    return read_examples(str(folder))


def batches_of(
    rows: Resident | Streamed, epoch: int | None, batch_size: int = 64
) -> list[np.ndarray]:
    """Returns the delays of each batch of an epoch, without the filler."""
    batches = []
    for window in rows.windows(batch_size, None if epoch is None else (0, epoch)):
        numbers, order = window.tensors[0].numpy(), window.order.numpy()
        real = order[order < len(numbers) - 1]
        batches += np.split(numbers[real, 0], range(batch_size, len(real), batch_size))
    return batches


def test_streamed_batches_hold_every_row_once_and_are_full_but_for_the_last(
    grouped: Examples,
) -> None:
    streamed = Streamed(grouped, "train", 100 * ROW_BYTES)
    batches = batches_of(streamed, 1)
    assert [len(b) for b in batches] == [64, 64, 64, 64, 64, 13]
    everything = np.sort(grouped.split("train").numbers[:, 0])
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), everything)


def test_the_streamed_order_is_that_of_the_seed_and_the_epoch(grouped: Examples) -> None:
    one, other = (Streamed(grouped, "train", 100 * ROW_BYTES) for _ in range(2))
    first, second, third = batches_of(one, 1), batches_of(other, 1), batches_of(one, 2)
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))
    assert (np.concatenate(first) != np.concatenate(third)).mean() > 0.9


def test_unshuffled_rows_come_in_the_order_of_the_source(grouped: Examples) -> None:
    whole = grouped.split("train")
    for rows in (Resident(whole), Streamed(grouped, "train", 0)):
        np.testing.assert_array_equal(np.concatenate(batches_of(rows, None)), whole.numbers[:, 0])


def test_one_pass_gives_weight_labels_levels_and_a_sample(grouped: Examples) -> None:
    streamed, whole = Streamed(grouped, "train", 0), grouped.split("train")
    assert (streamed.rows, streamed.weight) == (333, 333.0)
    np.testing.assert_array_equal(streamed.labels.counts, np.bincount(whole.labels))
    np.testing.assert_array_equal(streamed.sample, whole.numbers)  # fewer rows than the sample
    counts = count_levels(whole.indices, grouped.transform.cardinalities)
    for rows, expected in zip(streamed.levels, counts, strict=True):
        np.testing.assert_array_equal(rows, expected)


def test_a_split_beyond_resident_mb_is_streamed(grouped: Examples) -> None:
    assert isinstance(read_rows(grouped, "train", 1), Split)
    assert isinstance(read_rows(grouped, "train", 0), Streamed)


def test_an_altered_shard_is_not_streamed(tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples")
    shard = folder / "train-00001-of-00002.parquet"
    pq.write_table(pq.read_table(shard).slice(1), shard)
    with pytest.raises(Exception, match=r"train-00001-of-00002\.parquet has sha256"):
        Streamed(read_examples(str(folder)), "train", 0)


def test_moments_of_parts_are_those_of_the_whole(tmp_path: Path) -> None:
    examples = read_examples(str(write_examples(tmp_path / "examples", "regression")))
    one, two = Labels.of(np.float32([1, 3]), examples.transform), np.float32([5, 5, 1])
    both = one + Labels.of(two, examples.transform)
    assert (both.weight, both.mean) == (5, 3.0)
    assert both.deviation == pytest.approx((16 / 5) ** 0.5)  # 4 + 0 + 4 + 4 + 4


def test_moments_are_the_same_for_any_order_of_the_rows(tmp_path: Path) -> None:
    transform = read_examples(str(write_examples(tmp_path / "examples", "regression"))).transform
    random = np.random.default_rng(0)
    labels = random.lognormal(0, 5, 1_000).astype(np.float32)
    weights = random.lognormal(0, 5, 1_000).astype(np.float32)
    moments = {
        Labels.of(labels[order], transform, weights[order]).deviation
        for order in (random.permutation(1_000) for _ in range(20))
    }
    assert len(moments) == 1


def test_moments_count_a_row_by_its_weight(tmp_path: Path) -> None:
    transform = read_examples(str(write_examples(tmp_path / "examples", "regression"))).transform
    parts = [([1, 5], [2, 1]), ([3], [0.5])]
    one, two = (Labels.of(np.float32(y), transform, np.float32(w)) for y, w in parts)
    both = one + two
    assert (both.weight, both.mean) == (3.5, pytest.approx(8.5 / 3.5))  # 1, 1, 5 and half of a 3
    squares = 2 * (1 - both.mean) ** 2 + (5 - both.mean) ** 2 + 0.5 * (3 - both.mean) ** 2
    assert both.deviation == pytest.approx((squares / 3.5) ** 0.5)


def test_joined_parts_keep_the_order(grouped: Examples) -> None:
    whole = grouped.split("train")
    parts = [whole.take(np.arange(0, 100)), whole.take(np.arange(100, 333))]
    np.testing.assert_array_equal(joined(parts).indices, whole.indices)
