"""One table for the rows of pandas, polars, Arrow and plain Python, and what is refused."""

import datetime
import subprocess
import sys
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from quatrain.components.errors import FrameError
from quatrain.components.table.frame import to_arrow

NOON = datetime.datetime(2020, 1, 1, 12)
ROWS = [
    {"size": 1.5, "colour": "red", "n": 3, "new": True, "sold": NOON, "day": NOON.date()},
    {"size": None, "colour": None, "n": 4, "new": False, "sold": None, "day": None},
]
TABLE = pa.Table.from_pylist(ROWS)


def values_of(table: pa.Table) -> dict[str, list[Any]]:
    return table.to_pydict()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(TABLE, id="arrow"),
        pytest.param(TABLE.to_batches()[0], id="batch"),
        pytest.param(TABLE.to_reader(), id="reader"),
        pytest.param(ROWS, id="dicts"),
        pytest.param(TABLE.to_pandas(), id="pandas"),
        pytest.param(TABLE.to_pandas(types_mapper=pd.ArrowDtype), id="pandas-arrow"),
        pytest.param(pd.DataFrame(ROWS).astype({"colour": "category"}), id="pandas-category"),
        pytest.param(pl.DataFrame(ROWS), id="polars"),
        pytest.param(
            pl.DataFrame(ROWS).with_columns(pl.col("colour").cast(pl.Categorical)), id="c"
        ),
        pytest.param(duckdb.from_arrow(TABLE), id="duckdb"),
    ],
)
def test_every_library_gives_the_same_values(data: Any) -> None:
    assert values_of(to_arrow(data)) == values_of(TABLE)


def test_a_single_dict_is_one_row() -> None:
    row = {"size": np.float32(1.5), "n": np.int8(3), "new": np.bool_(True)}
    assert to_arrow(row).to_pylist() == [{"size": 1.5, "n": 3, "new": True}]


def test_an_absent_key_is_a_missing_value() -> None:
    assert to_arrow([{"a": 1}, {"b": "x"}]).to_pylist() == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
    ]


def test_missing_values_of_pandas_are_null() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.0, float("nan")],
            "text": ["x", float("nan")],
            "time": [pd.Timestamp("2020-01-01"), pd.NaT],
            "whole": pd.array([1, None], dtype="Int64"),
            "object": pd.Series([1, pd.NA], dtype=object),
        }
    )
    table = to_arrow(frame)
    assert [table.column(name).is_null().to_pylist() for name in table.column_names] == [
        [False, True]
    ] * 5


def test_the_index_of_filtered_rows_is_left_out() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    assert to_arrow(frame[frame["a"] > 1]).to_pydict() == {"a": [2, 3]}


@pytest.mark.parametrize("data", [pl.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"a": [1.0, 2.0]})])
def test_numbers_are_not_copied(data: Any) -> None:
    numbers = data["a"].to_numpy()
    column = to_arrow(data).column("a").chunk(0)
    assert np.shares_memory(column.to_numpy(zero_copy_only=True), numbers)


def test_metadata_of_a_library_does_not_stay() -> None:
    field = pa.field("a", pa.int64(), metadata={"from": "there"})
    table = pa.table({"a": [1]}, schema=pa.schema([field], metadata={"pandas": "{}"}))
    assert to_arrow(table).schema.metadata is None
    assert to_arrow(table).schema.field("a").metadata is None


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("rows.csv", "a str is no table in memory; give a pandas or polars DataFrame"),
        (np.zeros((2, 2)), "is no table in memory; give a pandas or polars DataFrame"),
        (pl.LazyFrame({"a": [1]}), "a LazyFrame is no table in memory; call .collect() first"),
        (pl.Series([1]), "the Series cannot be read as a table"),
        (pd.Series([1]), "the Series cannot be read as a table"),
        ([], "[] has no rows; give a list of at least one dict"),
        ({}, "the dict has no columns"),
        (pd.DataFrame(), "the DataFrame has no columns"),
        ([3], "row 0 is an int, not a dict of values by column"),
        ([{"a": 1}, {2: 1}], "row 1 has the key 2, which is no text"),
        ({"": 1}, "the dict has a column without a name; rename it"),
        ({"a": [1, 2]}, "row 0, column 'a' holds list, not one value; give a dict for each row"),
        ([{"a": 1}, {"a": "x"}], "column 'a': row 0 holds int 1 and row 1 holds str 'x'; convert"),
        ([{"a": NOON.date()}, {"a": NOON}], "column 'a': row 0 holds date "),
        (pd.DataFrame({"a": [pd.NA, 1, "x"]}), "column 'a': row 1 holds int 1 and row 2 holds str"),
        (pd.DataFrame({"a": [1j]}), "column 'a': Unsupported numpy type"),
        (pd.DataFrame([[1]]), "a column named 0, which is no text; rename its columns"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are named 'a'; rename or drop"),
        (pa.table([[1], [2]], names=["a", "a"]), "two columns are named 'a'; rename or drop"),
        (
            pd.DataFrame({"a": [1]}, index=pd.Index([7], name="id")),
            "the index of the DataFrame is named 'id': call .reset_index() to have it as a column",
        ),
        (pd.DataFrame({"a": pd.interval_range(0, 2)}), "column 'a' is extension<pandas.interval"),
        (pl.DataFrame({"a": pl.Series([{1}], dtype=pl.Object)}), "column 'a' is fixed_size_binary"),
    ],
)
def test_what_is_no_table_is_refused_with_the_way_out(data: Any, sentence: str) -> None:
    with pytest.raises(FrameError) as refusal:
        to_arrow(data)
    assert sentence in str(refusal.value)


WITHOUT_THEM = """
import sys

class Absent:
    def find_spec(self, name, *_):
        if name in ("pandas", "polars"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from quatrain.components.table.frame import to_arrow
assert to_arrow([{"a": 1}, {"a": float("nan")}]).to_pydict() == {"a": [1, None]}
"""


def test_neither_pandas_nor_polars_need_be_installed() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_THEM], check=True)
