"""Ranges: cut by sizes alone, once every file has the declared columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table.ranges import plan_ranges

Table = Callable[..., str]
AB = {"a": "int", "b": "int"}


def test_a_parquet_column_of_an_impossible_type_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1]]}), tmp_path / "t.parquet")
    source = Source(uri=(str(tmp_path / "t.parquet"),), format="parquet")
    with pytest.raises(SourceError, match=r"column 'a' is list<.*int64> and cannot be read as int"):
        plan_ranges(source, {"a": "int"})


def test_every_file_is_checked_and_may_order_its_columns(table: Table) -> None:
    paths = [table("a,b\n1,2\n", "1.csv"), table("b,a\n1,2\n", "2.csv")]
    assert [r.header for r in plan_ranges(Source(uri=tuple(paths)), AB)] == [("a", "b"), ("b", "a")]
    paths.append(table("a\n1\n", "3.csv"))
    with pytest.raises(SourceError, match=r"3\.csv: there is no column 'b'"):
        plan_ranges(Source(uri=tuple(paths)), AB)


def test_ranges_depend_on_sizes_alone(table: Table) -> None:
    spans = plan_ranges(Source(uri=(table("a,b\n" + "1,2\n" * 10),)), AB, range_bytes=15)
    assert [(s.index, s.start, s.stop) for s in spans] == [(0, 4, 19), (1, 19, 34), (2, 34, 44)]
