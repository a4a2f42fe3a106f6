"""Typed reading: every row is read right or rejected with its reason."""

from __future__ import annotations

import bz2
import gzip
import json
import sys
import weakref
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table import csv_blocks, json_blocks
from quatrain.components.table import text_pieces as lines
from quatrain.components.table.block import Block
from quatrain.components.table.range import Range
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.read import read_range
from quatrain.components.table.values.bounds import TYPES, finish_column
from quatrain.components.table.values.conversion import from_text
from tests.components.conftest import positions_of

Reader = Callable[..., Any]


def test_every_type_is_read_as_declared(read: Reader) -> None:
    data = "i,f,b,s,t,d,unread\n-3,1.5,true,x y,2013-01-01T10:00:00Z,2013-01-31,?\nNA,,0,NA,NA,,?\n"
    result = read(data, "i int, f float, b bool, s string, t timestamp, d date")
    assert result.rows == [
        (-3, 1.5, True, "x y", datetime(2013, 1, 1, 10), date(2013, 1, 31)),
        (None, None, False, None, None, None),
    ]
    assert result.rejected == []


def test_columns_come_in_the_declared_order_whatever_the_file_says(read: Reader) -> None:
    assert read("b,a\n1,2\n", "a int, b int").rows == [(2, 1)]


def test_two_columns_of_one_name_do_no_harm_when_they_are_not_read(read: Reader) -> None:
    result = read(b'\xef\xbb\xbf"a","",,b\n1,2,3,4\n5,6,7\n', "b int, a int", quoted_newlines=True)
    assert (result.rows, result.reasons) == ([(4, 1)], [(21, "short_row")])


def test_an_offset_moves_a_timestamp_to_utc(read: Reader) -> None:
    data = "t\n2013-01-01T10:00:00+02:00\n2013-01-01 10:00\n2013-01-01T10:00:00.5Z\n"
    times = [r[0] for r in read(data, "t timestamp").rows]
    assert times == [
        datetime(2013, 1, 1, 8),
        datetime(2013, 1, 1, 10),
        datetime(2013, 1, 1, 10, 0, 0, 500_000),
    ]


def test_short_and_long_rows_are_rejected_where_they_stand(read: Reader) -> None:
    result = read("a,b\n1,2\n3\n4,5,6\n7,8\n", "a int, b int")
    assert result.rows == [(1, 2), (7, 8)]
    assert result.positions == [4, 16]
    assert [tuple(r.values())[1:] for r in result.rejected] == [
        (8, "short_row", "1 values for 2 columns", b"3"),
        (10, "long_row", "3 values for 2 columns", b"4,5,6"),
    ]


@pytest.mark.parametrize(
    ("type_", "value", "sentence"),
    [
        ("int", "12x", "a: '12x' is not an int"),
        ("int", "1.5", "a: '1.5' is not an int"),
        ("int", "9007199254740993", "beyond 2**53"),
        ("int", "99999999999999999999", "is beyond 2**53"),
        ("float", "1,5", "is not a finite number"),
        ("float", "inf", "a: 'inf' is not a finite number"),
        ("bool", "yes", "is not a bool (true, false, 1 or 0)"),
        ("date", "2013-02-30", "is not an ISO date"),
        ("timestamp", "1.1.2013", "is not an ISO 8601 timestamp"),
    ],
)
def test_a_value_that_does_not_convert_rejects_only_its_row(
    read: Reader, type_: str, value: str, sentence: str
) -> None:
    result = read(f'a,b\n,1\n"{value}",2\n,3\n', f"b int, a {type_}")
    assert [r[0] for r in result.rows] == [1, 3]
    assert result.reasons == [(7, "bad_value")]
    assert sentence in result.rejected[0]["detail"]


def test_integers_up_to_2_to_the_53_are_read(read: Reader) -> None:
    assert read("a\n9007199254740992\n", "a int").rows == [(9007199254740992,)]


def test_nan_is_missing(read: Reader) -> None:
    assert read("a,b\nnan,1\n2,1\n", "a float").rows == [(None,), (2.0,)]


def test_bad_encoding_rejects_the_row_only_when_its_column_is_read(read: Reader) -> None:
    data = b"a,b\nx,1\ncaf\xe9,2\n\xc3\xa9,3\n"
    result = read(data, "a string, b int")
    assert result.rows == [("x", 1), ("é", 3)]
    assert result.reasons == [(8, "bad_encoding")]
    assert result.rejected[0]["row"] == b"caf\xe9,2"
    assert read(data, "b int").rows == [(1,), (2,), (3,)]


def test_bom_crlf_and_a_missing_last_line_end_leave_no_trace(read: Reader) -> None:
    result = read(b"\xef\xbb\xbfa,b\r\n1,x\r\n2,y z", "a int, b string")
    assert result.rows == [(1, "x"), (2, "y z")]
    assert result.positions == [8, 13]


def test_a_rejected_row_keeps_its_bytes_without_the_line_end(read: Reader) -> None:
    assert read(b"a,b\r\n1\r\n2,3\r\n", "a int, b int").rejected[0]["row"] == b"1"


def test_empty_lines_are_not_rows_but_missing_values_of_a_single_column(read: Reader) -> None:
    assert read("a,b\n\n1,2\n\r\n3,4\n\n", "a int, b int").rows == [(1, 2), (3, 4)]
    assert read("a\n1\n\n3\n", "a int").rows == [(1,), (None,), (3,)]


def test_an_open_quote_rejects_its_line_and_names_the_way_out(read: Reader) -> None:
    result = read('a,b\n1,"x\n2,y\n3,"z"\n', "a int, b string")
    assert result.rows == [(2, "y"), (3, "z")]
    assert result.reasons == [(4, "unclosed_quote")]
    assert "source.quoted_newlines: true" in result.rejected[0]["detail"]


def test_an_open_quote_in_the_last_line_rejects_it(read: Reader) -> None:
    result = read('a,b\n1,x\n2,"y\n', "a int, b string")
    assert (result.rows, result.reasons) == ([(1, "x")], [(8, "unclosed_quote")])


def test_quotes_inside_plain_values_are_text(read: Reader) -> None:
    result = read('a,b\n1,5" pipe\n2,"say ""hi"", twice"\n', "a int, b string")
    assert result.rows == [(1, '5" pipe'), (2, 'say "hi", twice')]


def test_quoted_newlines_are_read_when_the_source_says_so(read: Reader) -> None:
    data = 'a,b\n1,"x\ny"\n2\n3,"p ""q""\r\nr"\n'
    result = read(data, "a int, b string", quoted_newlines=True)
    assert result.rows == [(1, "x\ny"), (3, 'p "q"\r\nr')]
    assert result.reasons == [(12, "short_row")]


def test_a_quote_that_never_closes_is_refused_and_not_one_long_row(read: Reader) -> None:
    with pytest.raises(SourceError, match="a quote in the row at byte 8 never closes"):
        read('a,b\n1,x\n2,"y\n3,z\n', "a int, b string", quoted_newlines=True)


def test_a_stray_carriage_return_rejects_its_row(read: Reader) -> None:
    result = read(b"a,b\n1,x\n2,y\rz\n3,w\n", "a int, b string")
    assert (result.rows, result.reasons) == ([(1, "x"), (3, "w")], [(8, "stray_return")])


@pytest.mark.parametrize("quoted_newlines", [False, True])
def test_a_cell_of_10_mb_is_read(read: Reader, quoted_newlines: bool) -> None:
    cell = "y" * 10_000_000
    result = read(
        f'a,b\n1,x\n2,"{cell}"\n3,z\n', "a int, b string", quoted_newlines=quoted_newlines
    )
    assert result.rows == [(1, "x"), (2, cell), (3, "z")]


def test_a_row_beyond_the_bound_is_an_error_with_its_place(read: Reader) -> None:
    with pytest.raises(SourceError, match=r"t\.csv: the row at byte 4 is longer than 64 MB"):
        read("a,b\n1," + "x" * (65 << 20), "a int")


def test_wherever_a_file_is_cut_a_row_that_is_too_long_is_named_by_its_start(
    tmp_path: Path,
) -> None:
    (tmp_path / "t.csv").write_bytes(b"a\n1\n" + b"x" * (65 << 20) + b"\n2\n")
    for stop in (None, 5, 1 << 20):
        span = Range(0, str(tmp_path / "t.csv"), 2, stop, ("a",))
        with pytest.raises(SourceError, match="the row at byte 4 is longer than 64 MB"):
            list(lines.pieces(span, 100, quoted_newlines=False))


def _zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", _zstd)]
)
def test_compressed_files_are_one_range(
    read: Reader, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    data = compress(b"a\n1\n") + compress(b"2\n3x\n")
    result = read(data, "a int", name=f"t.csv{suffix}", range_bytes=1)
    assert (len(result.ranges), result.rows, result.reasons) == (
        1,
        [(1,), (2,)],
        [(6, "bad_value")],
    )


def test_a_compressed_file_that_is_cut_off_is_an_error(read: Reader) -> None:
    data = gzip.compress("\n".join(["a", *map(str, range(100_000))]).encode())
    with pytest.raises(SourceError, match=r"t\.csv\.gz cannot be read"):
        read(data[: len(data) // 2], "a int", name="t.csv.gz")


@pytest.mark.parametrize("delimiter", ["\t", ";", "|", "^"])
def test_other_delimiters_are_read(read: Reader, delimiter: str) -> None:
    data = f'a{delimiter}b\n1{delimiter}"x{delimiter}"\n2\n'
    result = read(data, "a int, b string", delimiter=delimiter)
    assert (result.rows, len(result.rejected)) == ([(1, f"x{delimiter}")], 1)


def test_parquet_row_groups_are_ranges_and_rejected_rows_are_json(tmp_path: Path) -> None:
    columns = pa.table(
        {
            "i": pa.array([1.0, 2.5, float("nan"), 4.0]),
            "s": pa.array(["a", "b", "", "d"], pa.large_string()).dictionary_encode(),
            "t": pa.array([0, 1, 2, 10**9], pa.timestamp("ns", "America/Sao_Paulo")),
        }
    )
    pq.write_table(columns, tmp_path / "t.parquet", row_group_size=2)
    source = Source(uri=(str(tmp_path / "t.parquet"),), format="parquet")
    types = {"i": "int", "s": "string", "t": "timestamp"}
    ranges = plan_ranges(source, types, range_bytes=1)
    blocks = [b.without_faults() for span in ranges for b in read_range(span, source, types)]
    rows = [tuple(r.values()) for b in blocks for r in b.batch.to_pylist()]
    assert len(ranges) == 2
    assert rows == [
        (1, "a", datetime(1970, 1, 1)),
        (None, None, datetime(1970, 1, 1)),
        (4, "d", datetime(1970, 1, 1, 0, 0, 1)),
    ]
    [rejected] = [r for b in blocks for r in b.rejected.to_pylist()]
    assert (rejected["position"], rejected["reason"]) == (1, "bad_value")
    assert rejected["row"].startswith(b'{"i":2.5,"s":"b"')


def test_string_views_of_parquet_are_read_and_rejected_as_strings(tmp_path: Path) -> None:
    views = pa.array(["a", "", None, "d"], pa.string_view())
    pq.write_table(pa.table({"s": views, "i": ["1", "2", "3", "x"]}), tmp_path / "t.parquet")
    source = Source(uri=(str(tmp_path / "t.parquet"),), format="parquet")
    types = {"s": "string", "i": "int"}
    [block] = [
        b.without_faults() for s in plan_ranges(source, types) for b in read_range(s, source, types)
    ]
    assert block.batch.column("s").to_pylist() == ["a", None, None]
    assert block.rejected.column("row").to_pylist() == [b'{"s":"d","i":"x"}']


def test_a_rejected_row_with_a_float16_is_written_as_json(tmp_path: Path) -> None:
    halves = pa.array(np.array([1.5, 2.5], np.float16))
    pq.write_table(pa.table({"x": halves, "i": ["1", "y"]}), tmp_path / "t.parquet")
    source = Source(uri=(str(tmp_path / "t.parquet"),), format="parquet")
    types = {"x": "float", "i": "int"}
    [block] = [
        b.without_faults() for s in plan_ranges(source, types) for b in read_range(s, source, types)
    ]
    assert block.batch.column("x").to_pylist() == [1.5]
    assert block.rejected.column("row").to_pylist() == [b'{"x":2.5,"i":"y"}']


def test_text_columns_of_parquet_are_read_as_csv_values_are(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"i": ["1", "x", ""], "n": [2**53, 2**53 + 1, 0]}), tmp_path / "t.parquet"
    )
    source = Source(uri=(str(tmp_path / "t.parquet"),), format="parquet")
    types = {"i": "int", "n": "int"}
    [block] = [
        b.without_faults() for s in plan_ranges(source, types) for b in read_range(s, source, types)
    ]
    assert block.batch.to_pylist() == [{"i": 1, "n": 2**53}, {"i": None, "n": 0}]
    assert block.rejected.column("detail").to_pylist() == ["i: 'x' is not an int"]


@pytest.mark.parametrize(
    ("column", "type_", "value"),
    [
        (pa.array([86_400_000_000], pa.timestamp("us")), "date", date(1970, 1, 2)),
        (pa.array([86_400_000], pa.date64()), "timestamp", datetime(1970, 1, 2)),
        (pa.array([1], pa.int8()), "bool", True),
        (pa.array(["1.5"]).cast(pa.decimal128(3, 1)), "float", 1.5),
        (pa.array([7], pa.uint64()), "int", 7),
        (pa.array([7]), "string", "7"),
        (pa.array([b"x"]), "string", "x"),
        (pa.nulls(1), "float", None),
    ],
)
def test_kindred_parquet_types_are_converted(
    tmp_path: Path, column: pa.Array, type_: str, value: Any
) -> None:
    pq.write_table(pa.table({"a": column}), tmp_path / "t.parquet")
    source = Source(uri=(str(tmp_path / "t.parquet"),), format="parquet")
    spans = plan_ranges(source, {"a": type_})
    [block] = [b.without_faults() for s in spans for b in read_range(s, source, {"a": type_})]
    assert block.batch.to_pylist() == [{"a": value}]


LINES = [
    b"1,x,2.5", b"22,,NA", b"3", b"4,y,1,9", b"", b'5,"a, b",1', b'6,"a""b",1', b'7,"open,1',
    b"8,caf\xe9,1", b"9x,z,1", b'10,5" pipe,1', b"11,\xc3\xa9,1e3", b'12,"x\ny",4', b'13,q,"',
    b"14,r\rs,5", b"16,caf\xe9", b'"17,x","a,b"c,7', b" 15 ,NA,inf",
]  # fmt: skip
TYPES_ABC = {"a": "int", "b": "string", "c": "float"}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that the property tests write again and again."""
    return tmp_path_factory.mktemp("ranges") / "t.csv"


def _outcome(
    source: Source, ranges: list[Range], block_bytes: int, suspects: frozenset[str] = frozenset()
) -> list[Any]:
    known = set(suspects)
    blocks = [
        b.without_faults()
        for r in ranges
        for b in csv_blocks.read_blocks(r, source, TYPES_ABC, block_bytes, suspects=known)
    ]
    good = [
        (p, tuple(r.values()))
        for b in blocks
        for p, r in zip(positions_of(b), b.batch.to_pylist(), strict=True)
    ]
    rejected = [
        (r["position"], r["reason"], r["detail"], r["row"])
        for b in blocks
        for r in b.rejected.to_pylist()
    ]
    return sorted(good, key=lambda k: k[0]) + sorted(rejected)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lines=st.lists(st.sampled_from(LINES), max_size=12),
    end=st.sampled_from([b"\n", b"\r\n"]),
    is_ended=st.booleans(),
    range_bytes=st.integers(1, 200),
    block_bytes=st.integers(1, 200),
    quoted_newlines=st.booleans(),
    suspects=st.frozensets(st.sampled_from(list(TYPES_ABC))),
)
def test_any_cut_into_ranges_and_blocks_reads_the_same_rows(
    scratch: Path,
    lines: list[bytes],
    end: bytes,
    is_ended: bool,
    range_bytes: int,
    block_bytes: int,
    quoted_newlines: bool,
    suspects: frozenset[str],
) -> None:
    scratch.write_bytes(end.join([b"a,b,c", *lines]) + (end if is_ended else b""))
    source = Source(uri=(str(scratch),), quoted_newlines=quoted_newlines)
    if quoted_newlines and sum(line.count(b'"') for line in lines) % 2:
        with pytest.raises(SourceError, match="never closes"):
            _outcome(source, plan_ranges(source, TYPES_ABC, range_bytes), block_bytes)
        return
    whole = _outcome(source, plan_ranges(source, TYPES_ABC), 1 << 20)
    cut = _outcome(source, plan_ranges(source, TYPES_ABC, range_bytes), block_bytes, suspects)
    assert cut == whole
    if not quoted_newlines:
        physical = b"\n".join([b"", *lines]).replace(b"\r\n", b"\n").split(b"\n")
        assert len(whole) == sum(line not in (b"", b"\r") for line in physical)


def test_quotes_that_only_pair_up_by_count_do_not_join_rows(read: Reader) -> None:
    lines = ['7,"open,1', '6,"a""b",1', '7,"open,1', '6,"a""b",1']
    result = read(
        "\n".join(["a,b,c", *lines, ""]), "a int, b string, c float", quoted_newlines=True
    )
    assert result.rows == [(6, 'a"b', 1.0)]
    assert result.reasons == [(6, "unclosed_quote")]


VALUES = st.text("0123456789-+.eExX naifNAIF:TZ/", max_size=12) | st.sampled_from(
    ["2013-01-31", "2013-02-29", "2013-01-01T10", "2013-01-01T10:00:00.123", "1e400", "0x1F",
     " 7 ", "\t7", "-0", "1_0", "+5", "2013-01-01 10:00:00+02:00", "2013-01-01T10:00Z", "TRUE"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(value=VALUES, type_=st.sampled_from(sorted(TYPES)))
def test_a_value_read_alone_is_the_value_that_the_csv_reader_reads(value: str, type_: str) -> None:
    text = pa.array([value.encode() or None])
    for values in (text, text.dictionary_encode()):
        column, faults = from_text("a", values, type_)
        alone = None if any(len(f.rows) for f in faults) else column.to_pylist()
        # The CSV reader takes less: what it refuses is converted alone, 7.0 for an int too.
        assert _typed(value, type_) in (alone, None)


def _typed(value: str, type_: str) -> list[Any] | None:
    """The value as the typed fast path reads it, or None when it refuses."""
    source = Source(uri=("x",), nulls=())
    suspects: set[str] = set()
    parser = csv_blocks._CsvParser(("a", "b"), source, {"a": type_}, {}, suspects)
    data = f'"{value}",1\n'.encode()
    batch = parser.parse_typed(data, data)
    if batch is None or suspects:
        return None
    column, faults = finish_column("a", batch.column("a"))
    return None if any(len(f.rows) for f in faults) else column.to_pylist()


def _observed(blocks: Iterator[Block], on_call: Callable[[str], None]) -> list[Block]:
    """Reads all blocks; `on_call` gets the name of each function of ours that is called."""

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            on_call(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        return [block.without_faults() for block in blocks]
    finally:
        sys.setprofile(None)


def test_the_fast_path_is_taken_for_clean_files(table: Callable[..., str]) -> None:
    source = Source(uri=(table("a,b\n1,2013-01-01T10:00:00Z\n"),))
    [span] = plan_ranges(source, {"b": "timestamp"})
    calls: set[str] = set()
    blocks = csv_blocks.read_blocks(span, source, {"b": "timestamp"})
    [block] = _observed(blocks, calls.add)
    assert "_read_typed" in calls and "_read_slowly" not in calls
    assert pc.year(block.batch.column("b")).to_pylist() == [2013]


@pytest.mark.parametrize("suspects", [set(), {"a"}])
def test_a_block_with_ragged_rows_and_bad_values_is_read_at_once(
    suspects: set[str], table: Callable[..., str]
) -> None:
    source = Source(uri=(table("a,b\n1,x\n2\nq,y\n4,z,5\n6,w\n"),))
    [span] = plan_ranges(source, {"a": "int"})
    calls: set[str] = set()
    blocks = csv_blocks.read_blocks(span, source, {"a": "int"}, suspects=suspects)
    [block] = _observed(blocks, calls.add)
    assert "_read_typed" in calls and "_read_slowly" not in calls
    assert suspects == {"a"}
    assert block.batch.column("a").to_pylist() == [1, 6]
    assert block.rejected.column("reason").to_pylist() == ["short_row", "bad_value", "long_row"]
    assert block.rejected.column("row").to_pylist() == [b"2", b"q,y", b"4,z,5"]
    assert block.rejected.column("detail").to_pylist() == [
        "1 values for 2 columns",
        "a: 'q' is not an int",
        "3 values for 2 columns",
    ]


def test_columns_with_bad_values_become_suspects_for_the_next_range(
    table: Callable[..., str],
) -> None:
    source = Source(uri=(table("a,b\n1,2\nx,3\n"),))
    [span] = plan_ranges(source, {"a": "int", "b": "int"})
    suspects: set[str] = set()
    [_] = csv_blocks.read_blocks(span, source, {"a": "int", "b": "int"}, suspects=suspects)
    assert suspects == {"a"}


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl"])
def test_a_block_is_released_before_the_next_one_is_built(
    name: str, table: Callable[..., str]
) -> None:
    is_json = name == "t.jsonl"
    data = b'{"a":1}\n' * 100 if is_json else b"a,b\n" + b"1,2\n" * 100
    path = table(gzip.compress(data) if name.endswith(".gz") else data, name)
    source = Source(uri=(path,), format="jsonl" if is_json else "csv")
    [span] = plan_ranges(source, {"a": "int"})
    reader: Any = json_blocks if is_json else csv_blocks
    alive: list[bool] = []

    def note(function: str) -> None:
        if function == "raw_block":
            alive.append(first() is not None)

    blocks = reader.read_blocks(span, source, {"a": "int"}, block_bytes=200)
    first = weakref.ref(next(blocks))
    assert 0 < sum(b.batch.num_rows for b in _observed(blocks, note)) < 100
    assert alive and not any(alive)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (pa.array([2**63 - 1, 0], pa.timestamp("ms")), "9223372036854775807"),
        (pa.array([1 - 2**63, 0], pa.timestamp("ms", "Europe/Berlin")), "-9223372036854775807"),
        (pa.array([2**31 - 1, 0], pa.int32()).view(pa.date32()), "infinity"),
        (pa.array([Decimal("1.5"), None], pa.decimal256(76, 3)), "1.500"),
        (pa.array([b"a\xff", None], pa.binary()), "a\\xff"),
        (pa.array([0.5, None], pa.float16()), 0.5),
    ],
    ids=lambda v: str(v.type) if isinstance(v, pa.Array) else "",
)
def test_a_rejected_row_of_parquet_has_values_of_every_type(
    tmp_path: Path, values: pa.Array, shown: Any
) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"i": [2.5, 3.0], "v": values}), path)
    source = Source(uri=(str(path),), format="parquet")
    types = {"i": "int", "v": "string" if pa.types.is_binary(values.type) else "float"}
    if pa.types.is_temporal(values.type):
        types["v"] = "timestamp"
    [span] = plan_ranges(source, types)
    [block] = [b.without_faults() for b in read_range(span, source, types)]
    row = json.loads(block.rejected.to_pylist()[0]["row"])
    assert row == {"i": 2.5, "v": shown}
