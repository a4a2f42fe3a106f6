"""Columns that stand in the path of a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table.partitions import partition_of
from tests.components.conftest import Read

Table = Callable[..., str]


def test_folders_name_values_and_the_file_and_the_bucket_do_not() -> None:
    path = "gs://b/year=2013/city=S%C3%A3o%20Paulo/x=1/x=2/z=9.csv"
    named = partition_of(path, ["year", "city", "x", "z", "b"])
    assert named == {"year": "2013", "city": "São Paulo", "x": "2"}


def test_partitions_of_a_glob_become_columns_in_the_declared_order(table: Table) -> None:
    for month, rows in ((7, "a,b\n1,x\n2\n"), (12, "b,a\ny,3\n")):
        path = table(rows, f"year=2013/month={month}/t.csv")
    source = Source(uri=(path.replace("month=12", "*"),))
    result = Read(source, {"month": "int", "a": "int", "year": "string", "b": "string"})
    assert result.rows == [(12, 3, "2013", "y"), (7, 1, "2013", "x")]
    assert [(r["reason"], r["row"]) for r in result.rejected] == [("short_row", b"2")]


@pytest.mark.parametrize(
    ("form", "data"), [("csv", b"a\n1\n"), ("jsonl", b'{"a":1}\n'), ("parquet", None)]
)
def test_every_format_has_partitions(table: Table, form: Any, data: bytes | None) -> None:
    path = table(data or b"", "day=2013-07-01/t")
    if data is None:
        pq.write_table(pa.table({"a": [1]}), path)
    result = Read(Source(uri=(path,), format=form), {"a": "int", "day": "date"})
    assert result.rows == [(1, date(2013, 7, 1))]


def test_a_column_of_the_file_is_never_taken_from_the_path(table: Table) -> None:
    source = Source(uri=(table("a\n1\n", "a=2/t.csv"),))
    assert Read(source, {"a": "int"}).rows == [(1,)]


@pytest.mark.parametrize("text", ["", "__HIVE_DEFAULT_PARTITION__"])
def test_a_partition_may_be_missing(table: Table, text: str) -> None:
    source = Source(uri=(table("a\n1\n", f"year={text}/t.csv"),))
    assert Read(source, {"a": "int", "year": "int"}).rows == [(1, None)]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"a": "int", "y": "int"}, r"y=x/t\.csv: the folder y=x: y: 'x' is not an int"),
        ({"y": "string"}, r"every declared column is in the path and none in the file"),
        ({"a": "int", "z": "int"}, r"there is no column 'z'"),
    ],
)
def test_a_wrong_partition_is_one_sentence(
    table: Table, columns: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence):
        Read(Source(uri=(table("a\n1\n", "y=x/t.csv"),)), columns)
