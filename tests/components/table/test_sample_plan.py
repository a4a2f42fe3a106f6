"""A sample: rows from even places of a source of any format, and what it says of itself."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.specification.source import Source
from quatrain.components.table import sample_plan, typed_blocks
from quatrain.components.table.files import find_files
from quatrain.components.table.range import EvenPlaces
from quatrain.components.table.read import read_range
from quatrain.components.table.sample_plan import SampledSource, evenly, plan_sample
from quatrain.components.table.typed_blocks import places_by_group

Table = Callable[..., str]
COLUMNS = {"n": "int", "text": "string"}


def sampled(source: Source, n_rows: int) -> tuple[list[int], SampledSource]:
    """The column `n` of the sampled rows, and the plan."""
    planned = plan_sample(source, COLUMNS, n_rows, find_files(source).listing)
    blocks = [b for r in planned.ranges for b in read_range(r, source, COLUMNS)]
    assert not any(block.all_rejected.num_rows for block in blocks)
    return [n for block in blocks for n in block.batch.column("n").to_pylist()], planned


def csv(n: int, first: int = 0) -> bytes:
    """Rows whose lengths differ by a factor of ten from the start to the end."""
    rows = (f'{i},"{"x" * (5 + 50 * i // n)}"' for i in range(first, first + n))
    return ("n,text\n" + "\n".join(rows) + "\n").encode()


def jsonl(n: int) -> bytes:
    return b"".join(b'{"n": %d, "text": "x"}\n' % i for i in range(n))


def parquet(path: Path, n: int, group: int) -> str:
    table = pa.table({"n": np.arange(n), "text": pa.repeat("x", n)})
    pq.write_table(table, path, row_group_size=group)
    return str(path)


FORMATS: dict[str, tuple[Callable[[int], bytes], str, dict[str, Any]]] = {
    "csv": (csv, "t.csv", {}),
    "gzip": (lambda n: gzip.compress(csv(n)), "t.csv.gz", {}),
    "quoted newlines": (csv, "t.csv", {"quoted_newlines": True}),
    "UTF-16": (lambda n: csv(n).decode().encode("utf-16"), "t.csv", {"encoding": "utf-16"}),
    "JSON Lines": (jsonl, "t.jsonl", {"format": "jsonl"}),
    "JSON Lines, gzip": (lambda n: gzip.compress(jsonl(n)), "t.jsonl.gz", {"format": "jsonl"}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_sample_of_text_has_its_rows_from_even_places(name: str, table: Table) -> None:
    write, file, how = FORMATS[name]
    n = 30_000
    rows, _ = sampled(Source(uri=(table(write(n), file),), **how), 2000)
    assert len(rows) == 2000
    assert rows == sorted(set(rows))
    # In a hundred places of twenty rows; by bytes, the short rows at the start are further apart.
    gaps = np.diff([-1, *rows, n])
    assert np.sum(gaps > 1) >= 98
    assert max(gaps) < 0.06 * n


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_with_fewer_rows_is_read_as_a_whole(name: str, table: Table) -> None:
    write, file, how = FORMATS[name]
    rows, planned = sampled(Source(uri=(table(write(777), file),), **how), 2000)
    assert rows == list(range(777))
    assert planned.n_rows in (777, None)


def test_the_last_row_of_a_sampled_file_may_have_no_line_end(table: Table) -> None:
    rows, planned = sampled(Source(uri=(table(csv(777)[:-1]),)), 2000)
    assert rows == list(range(777))
    assert planned.n_rows == 777


@pytest.mark.parametrize("group", [300, 5000, 100_000])
def test_a_sample_of_row_groups_has_its_rows_from_even_places(group: int, tmp_path: Path) -> None:
    source = Source(uri=(parquet(tmp_path / "t.parquet", 30_000, group),), format="parquet")
    rows, planned = sampled(source, 2000)
    assert len(rows) == 2000
    assert rows == sorted(set(rows))
    assert max(np.diff([-1, *rows, 30_000])) <= 300
    assert planned.n_rows == 30_000
    assert sampled(source, 50_000)[0] == list(range(30_000))


def test_the_positions_of_sampled_rows_are_those_in_the_file(tmp_path: Path, table: Table) -> None:
    source = Source(uri=(parquet(tmp_path / "t.parquet", 9000, 700),), format="parquet")
    span = plan_sample(source, COLUMNS, 500, find_files(source).listing).ranges[0]
    for block in read_range(span, source, COLUMNS):
        assert block.batch_positions.to_pylist() == block.batch.column("n").to_pylist()
    data = csv(9000)
    text = Source(uri=(table(data),))
    span = plan_sample(text, COLUMNS, 500, find_files(text).listing).ranges[0]
    [block] = read_range(span, text, COLUMNS)
    for at, n in zip(block.batch_positions.to_pylist(), block.batch["n"].to_pylist(), strict=True):
        assert data[at:].startswith(b"%d," % n)


def test_large_row_groups_are_decoded_in_part_and_no_row_is_taken_twice() -> None:
    bounds = np.arange(41) * 1_000_000
    found = places_by_group(bounds, EvenPlaces(100, 200))
    assert list(found) == list(range(40))
    decoded = sum(places[-1][0] + places[-1][1] for places in found.values())
    assert decoded <= typed_blocks.MAX_DECODED_ROWS
    for places in found.values():
        ends = [at + n for at, n in places]
        assert all(end <= at for end, (at, _) in zip(ends, places[1:], strict=False))
    assert sum(n for places in found.values() for _, n in places) == 20_000


def test_of_many_files_evenly_spaced_ones_are_read_and_a_warning_says_so(table: Table) -> None:
    for i in range(100):
        table(csv(200, 1000 * i), f"t{i:03}.csv")
    source = Source(uri=(str(Path(table(b"", "x/empty")).parents[1] / "t*.csv"),))
    rows, planned = sampled(source, 2000)
    assert len({row // 1000 for row in rows}) == sample_plan.MAX_FILES
    assert max(np.diff(sorted({row // 1000 for row in rows}))) <= 4
    assert len(rows) == pytest.approx(2000, rel=0.05)
    assert planned.warnings == ("the sample is from 32 of 100 files, evenly spaced",)
    assert planned.n_rows == pytest.approx(20_000, rel=0.05)


def test_a_large_file_that_is_read_whole_for_its_sample_has_a_warning(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_plan, "LARGE_BYTES", 100)
    path = table(gzip.compress(csv(5000)), "t.csv.gz")
    _, planned = sampled(Source(uri=(path,)), 100)
    assert planned.warnings == (
        f"{path} cannot be read from the middle, so the sample of it takes reading all of its 0 MB",
    )
    assert planned.n_rows is None


def test_evenly_spaced_numbers_lie_in_the_middle_of_equal_parts() -> None:
    assert evenly(3, 5) == [0, 1, 2]
    assert evenly(100, 4) == [12, 37, 62, 87]


def test_a_file_of_a_header_alone_has_no_rows(table: Table) -> None:
    assert sampled(Source(uri=(table("n,text\n"),)), 100)[0] == []
