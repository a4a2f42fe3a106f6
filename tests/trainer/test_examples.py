import json
from pathlib import Path

import numpy as np
import pytest

from quatrain.trainer.examples import read_examples
from quatrain.trainer.settings import TrainerError
from tests.trainer.small import write_examples


def test_the_shards_of_a_split_are_read_in_order(examples: Path) -> None:
    read = read_examples(str(examples))
    train = read.split("train")
    assert train.rows == 333
    assert train.numbers.shape == (333, 4)  # a delay, whether it is missing, sine and cosine
    assert train.numbers.dtype == np.float32
    assert train.indices.shape == (333, 2)
    assert train.indices.dtype == np.int32
    validation, (_, first) = read.split("validation"), read.first_rows("validation", 5)
    assert [c.name for c in read.transform.engineered] == list(first)
    np.testing.assert_array_equal(validation.numbers[:5, 0], first["delay"])
    np.testing.assert_array_equal(validation.indices[:5, 1], first["carrier_stops"])


def test_raw_rows_come_as_the_signature_takes_them(examples: Path) -> None:
    raw, _ = read_examples(str(examples)).first_rows("validation", 20)
    assert list(raw) == ["delay", "carrier-code", "stops", "time"]
    assert raw["delay"].dtype == raw["time"].dtype == np.float64
    assert "" in raw["carrier-code"].to_pylist()


def test_without_a_weight_every_row_counts_one(examples: Path) -> None:
    assert set(read_examples(str(examples)).split("validation").weights) == {1.0}


def test_a_folder_without_a_manifest_counts_as_missing(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"has no manifest\.json"):
        read_examples(str(tmp_path))


def test_an_altered_shard_is_refused(tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples")
    shard = folder / "train-00001-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(TrainerError, match=r"train-00001-of-00002\.parquet has sha256"):
        read_examples(str(folder)).split("train")


def test_a_shard_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"train-/../../rows": "0"}}))
    with pytest.raises(TrainerError, match=r"names .train-/../../rows., outside"):
        read_examples(str(tmp_path))


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples", rows=(50, 50, 0))
    with pytest.raises(TrainerError, match="the validation split has no rows"):
        read_examples(str(folder)).split("validation")


def test_a_negative_weight_is_refused(tmp_path: Path) -> None:
    def negate(shard):
        index = shard.column_names.index("weight")
        return shard.set_column(index, "weight", [np.full(len(shard), -1, np.float32)])

    folder = write_examples(tmp_path / "examples", weighted=True, spoil={"train": negate})
    with pytest.raises(TrainerError, match="weights of the train split"):
        read_examples(str(folder)).split("train")


def test_the_first_rows_need_no_later_shard(tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples")
    (folder / "validation-00001-of-00002.parquet").unlink()
    read = read_examples(str(folder))
    assert len(read.first_rows("validation", 3)[0]["delay"]) == 3
    with pytest.raises(TrainerError, match=r"00001-of-00002\.parquet is in the manifest but not"):
        read.first_rows("validation", 10**6)
