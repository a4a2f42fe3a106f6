"""Any table reconciles: every row is kept with its values, or stands in `rejected/` as it was."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quatrain.components.errors import SourceError
from quatrain.components.preprocess import passes
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.job import PreprocessJob, rules_of
from quatrain.components.preprocess.kept_rows import read_kept_rows
from quatrain.components.preprocess.output_folder import Folder
from quatrain.components.table.ranges import plan_ranges
from tests.components.conftest import model_of

COLUMNS = {"day": "int", "delay": "int", "carrier": "string", "arrival": "float", "at": "timestamp"}
HEADER = ",".join(COLUMNS)

NUMBERS = st.integers() | st.integers(-(2**53) - 1, 2**53 + 1) | st.floats() | st.integers(0, 40)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(str)
TEXTS = st.text(max_size=6) | st.text('ab",\r\n\t\0 é\u2028', max_size=6)
ODD = st.sampled_from(["", "NA", "nan", "-inf", "1e400", "0x1F", "2013-02-29", " 7 ", "NULL", "+5"])
ANY = NUMBERS.map(str) | TIMES | TEXTS | ODD
GOOD = st.tuples(
    st.integers(-99, 99).map(str),
    st.integers(0, 9).map(str),
    st.sampled_from(["A", "é", "b c", "x,y", 'q"q', "NA"]),
    st.integers(0, 40).map(str),
    st.sampled_from(["2013-01-01T10:00:00Z", "2013-01-01 10:00:00", ""]),
)


def _quoted(cells: tuple[str, ...] | list[str]) -> str:
    always = [
        c if c and not set(c) & set('",\r\n') else '"' + c.replace('"', '""') + '"' for c in cells
    ]
    return ",".join(always)


LINES = (
    GOOD.map(_quoted)
    | st.tuples(*[ANY] * 5).map(_quoted)
    | st.lists(ANY, max_size=7).map(_quoted)
    | st.lists(ANY, max_size=7).map(",".join)
)
BYTES = LINES.map(lambda line: line.encode("utf-8", "replace")) | st.binary(max_size=12)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[PreprocessJob, Cleaner]]:
    """Jobs over one scratch file, without and with quoted newlines."""
    folder = tmp_path_factory.mktemp("any")
    by_quoting = {}
    for quoted in (False, True):
        spec = model_of(
            str(folder / "t.csv"),
            source={"uri": str(folder / "t.csv"), "quoted_newlines": quoted},
            columns=COLUMNS,
            evaluate={"slices": ["day", "arrival", "at"]},
        )
        job = PreprocessJob(spec, rules_of(spec), Folder(str(folder / str(quoted))), 1)
        by_quoting[quoted] = (job, Cleaner(job.rules))
    return by_quoting


def _rows(data: bytes, quoted_newlines: bool) -> Iterator[tuple[int, bytes]]:
    """The rows by their byte, without line ends; an oracle that looks at one byte after another."""
    start, inside = 0, False
    for at, byte in enumerate(data):
        inside ^= quoted_newlines and byte == ord('"')
        if byte == ord("\n") and not inside:
            yield start, data[start:at].removesuffix(b"\r")
            start = at + 1
    if start < len(data):  # a file may end in half of a \r\n
        yield start, data[start:].removesuffix(b"\r")


def _same(kept: dict[str, Any], row: bytes) -> bool:
    """Whether typed values are what a row says, as Python reads it."""
    [cells] = csv.reader([row.decode()], strict=True)
    day, delay, carrier, arrival, at = ("" if c == "NA" else c for c in cells)
    return (
        kept["day"] == (int(day) if day else None)
        and kept["delay"] == int(delay)
        and (kept["carrier"] or "") == carrier
        and math.isclose(kept["arrival"], float(arrival))
        and (kept["at"] is None) == (at == "")
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(BYTES, max_size=9),
    end=st.sampled_from([b"\n", b"\r\n"]),
    is_ended=st.booleans(),
    quoted_newlines=st.booleans(),
)
@example(rows=[b"0,0,A,0,", b"\r"], end=b"\n", is_ended=False, quoted_newlines=False)
@example(rows=[b"0,0,A,x,\r"], end=b"\n", is_ended=False, quoted_newlines=False)
def test_any_table_reconciles_and_its_rejected_rows_stand_as_they_were_read(
    jobs: dict[bool, tuple[PreprocessJob, Cleaner]],
    rows: list[bytes],
    end: bytes,
    is_ended: bool,
    quoted_newlines: bool,
) -> None:
    job, cleaner = jobs[quoted_newlines]
    data = end.join([HEADER.encode(), *rows]) + (end if is_ended else b"")
    Path(job.spec.source.uri[0]).write_bytes(data)
    [span] = plan_ranges(job.spec.source, job.spec.columns)
    body = data[span.start :]
    if quoted_newlines and body.count(b'"') % 2:
        with pytest.raises(SourceError, match="never closes"):
            passes.clean_range(job, span, cleaner)
        return
    cleaned, total = passes.clean_range(job, span, cleaner)
    expected = {span.start + at: row for at, row in _rows(body, quoted_newlines) if row}
    assert total.read == len(expected)
    assert total.rows["read"] == sum(total.rows[s] for s in total.splits) + total.rejected
    rejected = pq.read_table(next(Path(job.folder.uri, "rejected").iterdir())).to_pylist()
    assert len(rejected) == total.rejected
    assert all(expected[r["position"]] == r["row"] for r in rejected)
    kept = [row for batch in passes.read_spilled(job, cleaned) for row in batch.to_pylist()]
    # Rows are spilled by their split, those of a split in their order.
    positions = [k.positions.to_pylist() for k in read_kept_rows(job.spec, span, cleaner)]
    good = [at for of_block in positions for at in of_block]
    assert sorted(good) == sorted({*expected} - {r["position"] for r in rejected})
    assert all(_same(k, expected[at]) for k, at in zip(kept, good, strict=True))
