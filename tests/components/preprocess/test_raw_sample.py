"""The raw values of train rows that preprocess writes for the opponent of the evaluation."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.preprocess.raw_sample import (
    MOST_ROWS,
    PlainColumns,
    sampled_places,
    share_of,
)
from quatrain.components.preprocess.run import preprocess
from quatrain.trainer.features import (
    Calendar,
    Input,
    Log,
    Standardize,
    Text,
    Vocabulary,
)
from quatrain.trainer.features.transform import Label, Transform
from quatrain.validation.load import validate


def test_the_sample_of_a_large_split_stays_below_its_bound_and_is_no_smaller_than_needed() -> None:
    n = 3_000_000
    drawn = len(sampled_places(0, 0, n, share_of(n, MOST_ROWS)))
    assert 0.96 * MOST_ROWS < drawn <= MOST_ROWS


def test_a_small_split_is_sampled_whole() -> None:
    assert share_of(MOST_ROWS, MOST_ROWS) == 1.0
    assert sampled_places(3, 50, 4, 1.0).tolist() == [0, 1, 2, 3]


def test_a_row_is_drawn_by_its_number_however_its_range_is_cut_into_blocks() -> None:
    whole = sampled_places(2, 0, 10_000, 0.3)
    cuts = [0, 1, 4_000, 4_001, 10_000]
    parts = [start + sampled_places(2, start, end - start, 0.3) for start, end in pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(sampled_places(1, 0, 10_000, 0.3), whole), "another range draws alike"


def test_trees_take_numbers_and_categories_raw_and_what_they_cannot_compute_engineered() -> None:
    inputs = (
        Input("amount", "float"),
        Input("shop", "string"),
        Input("note", "string"),
        Input("time", "timestamp"),
        Input("code", "int"),
    )
    features = (
        Log(name="amount", columns=("amount",), types=("float",)),
        Vocabulary(name="shop", columns=("shop",), types=("string",), tokens=("a",)),
        Text(name="note", columns=("note",), types=("string",), buckets=2),
        Calendar(name="time", columns=("time",), types=("timestamp",), part="hour"),
        Vocabulary(name="code", columns=("code",), types=("int",), tokens=("1",)),
        Standardize(name="code_number", columns=("code",), types=("int",)),
    )
    plain = PlainColumns.of(Transform("binary", Label("y"), None, inputs, features))
    assert [i.name for i in plain.numbers] == ["amount", "time", "code"]
    assert [i.name for i in plain.categories] == ["shop", "code"]
    assert {e.name for e in plain.engineered} == {o.name for f in features[2:4] for o in f.outputs}
    assert "note" not in plain.raw


def test_a_sample_of_many_columns_has_fewer_rows() -> None:
    features = tuple(
        Standardize(name=f"x{i}", columns=(f"x{i}",), types=("float",)) for i in range(5_000)
    )
    inputs = tuple(Input(f.name, "float") for f in features)
    plain = PlainColumns.of(Transform("binary", Label("y"), None, inputs, features))
    assert plain.most_rows() == 4_000
    assert replace(plain, numbers=plain.numbers[:3]).most_rows() == MOST_ROWS


def raw_rows(examples: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(examples.glob("raw-*")))


def test_the_sample_holds_the_train_rows_as_they_were_read(tmp_path: Path) -> None:
    rows = "".join(f"{i},{'seldom' if i % 97 == 0 else 'often'},{i % 2}\n" for i in range(2_000))
    (tmp_path / "rows.csv").write_text("x,shop,y\n" + rows)
    value: dict[str, Any] = {
        "name": "sampled",
        "source": {"uri": str(tmp_path / "rows.csv")},
        "columns": {"x": "int", "shop": "string", "y": "int"},
        "label": "y",
        "task": "binary",
        "split": {"by": "hash", "keys": ["x"]},
        "features": [
            {"name": "x", "from": "x", "transform": "standardize"},
            {"name": "shop", "from": "shop", "transform": "vocabulary", "min_count": 100},
        ],
    }
    spec = validate(value).as_json()
    for name, size in (("one", None), ("several", 2_000)):
        preprocess(spec, runner="local", out=str(tmp_path / name), range_bytes=size)
    one, several = raw_rows(tmp_path / "one"), raw_rows(tmp_path / "several")
    assert one.equals(several)
    assert one.column_names == ["label", "raw_x", "raw_shop"]
    assert set(one["raw_shop"].to_pylist()) == {"seldom", "often"}
    train = pa.concat_tables(
        pq.read_table(path) for path in sorted((tmp_path / "one").glob("train-*"))
    )
    assert train.num_rows == one.num_rows and one["label"].equals(train["label"])
