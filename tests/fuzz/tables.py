"""Files of rows: bytes that are nearly a table, and any table that Parquet can hold."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from quatrain.components.errors import QuatrainError
from quatrain.components.specification.source import Source
from quatrain.components.table import csv_blocks, json_blocks, typed_blocks
from quatrain.components.table.block import Block
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.read import read_range
from quatrain.trainer.features.text_format import Spelling
from tests.fuzz.door import Door, refusal
from tests.fuzz.mutation import mutated

TYPES = ["int", "float", "bool", "string", "timestamp", "date"]
SPELLINGS = {
    "timestamp": [Spelling(format="%d.%m.%Y %H:%M"), Spelling(epoch="ms"), Spelling(epoch="ns")],
    "date": [Spelling(format="%m/%d/%y"), Spelling(format="%d %b %Y")],
    "bool": [Spelling(true_values=("yes", "J"), false_values=("no", "N"))],
}
CSVS = [
    b"a,b,c\n1,x,2.5\n2,y,\n3,,1e3\n",
    b'a,b,c\r\n1,"x, y",true\r\n2,"q""q",0\r\n-7,\xc3\xa9,1\r\n',
    b'a,b,c\n1,"two\nlines",2013-01-01\n2,z,2013-12-31\n3,NA,2014-02-28',
    b"a,b,c\n2013-01-01T10:00:00Z,1,t\n2013-01-01 10:00,2,u\n2013-06-30T23:59:59.999+02:00,3,v\n",
    b"a;b;c\n1,5;x;yes\n2,5;y;no\n",
    b"a\tb\tc\n01.02.2013 10:00\t1/31/13\tJ\n",
    b"a\n1\n\n3\n",
    b"\xef\xbb\xbfa,b,c\n1,2,3\n4,5,6\n7,8,9\n",
    b"a,b,c\n" + b"".join(b"%d,k%d,%d.5\n" % (i, i % 3, i) for i in range(40)),
]
JSONS = [
    b'{"a": 1, "b": "x", "c": 2.5}\n{"a": 2, "b": null, "c": 1e3}\n{"a": 3, "b": "", "c": -0.0}\n',
    b'{"a": "2013-01-01T10:00:00Z", "b": true, "c": [1]}\r\n{"a": null, "b": "1", "c": {}}\r\n',
    b'\xef\xbb\xbf{"a": "\\u00e9", "b": "\\"", "c": "\\ud83d\\ude00"}\n\n{"c": 1, "a": 2, "b": 3}',
    b"".join(b'{"a": %d, "b": "k%d", "c": %d.5}\n' % (i, i % 3, i) for i in range(12)),
]
JSON_TOKENS = [
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r"),
    *(b"null", b"true", b"NaN", b"Infinity", b"-", b"1e999", b"9" * 400, b"0.1", b'"a": 1, '),
    *(
        b"\x00",
        b"\xff",
        b"\xc3\xa9",
        b"//",
        b"/*",
        b"'",
        b" ",
        b"\t",
        b"01",
        b"1.0",
        b"\xe2\x80\xa8",
    ),
]


@dataclass(frozen=True)
class Case:
    """A file, how it is read, and how it is cut.

    Attributes:
        data: The bytes of the file.
        columns: The declared types.
        range_bytes: The size of a range in the second reading.
        block_bytes: The size of a block there.
        spellings: The formats of columns.
        settings: More settings of the source.
    """

    data: bytes
    columns: dict[str, str]
    range_bytes: int
    block_bytes: int
    spellings: dict[str, Spelling] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@st.composite
def _cases(draw: Any, data: Any, settings: Any) -> Case:
    names = draw(st.sampled_from(["a", "abc", "abc", "c", "cb"]))
    columns = {name: draw(st.sampled_from(TYPES)) for name in names}
    spellings = {
        name: draw(st.sampled_from(SPELLINGS[type_]))
        for name, type_ in columns.items()
        if type_ in SPELLINGS and draw(st.booleans())
    }
    sizes = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    return Case(draw(data), columns, *sizes, spellings, draw(settings))


Row = tuple[int, tuple[Any, ...]]


@dataclass(frozen=True)
class Reading:
    """What a file holds: its rows with their positions, and its rejected rows."""

    rows: list[Row]
    rejected: list[tuple[int, str, str, bytes]]

    @classmethod
    def of(cls, blocks: Iterator[Block]) -> Reading:
        rows: list[Row] = []
        rejected = []
        for block in (b.without_faults() for b in blocks):
            block.batch.validate(full=True)
            values = zip(*(map(repr, c.to_pylist()) for c in block.batch.columns), strict=True)
            rows += zip(block.batch_positions.to_pylist(), values, strict=True)
            rejected += [
                (r["position"], r["reason"], r["detail"], r["row"])
                for r in block.rejected.to_pylist()
            ]
        return cls(rows, rejected)

    @property
    def positions(self) -> list[int]:
        return sorted([at for at, _ in self.rows] + [at for at, *_ in self.rejected])


def _read(source: Source, case: Case, *, cut: bool, suspects: set[str] | None = None) -> Reading:
    """Reads a file as preprocessing does; cut: in ranges and blocks of the case's sizes."""
    ranges = plan_ranges(
        source, case.columns, case.range_bytes if cut else None, spellings=case.spellings
    )

    def blocks() -> Iterator[Block]:
        for span in ranges:
            if not cut:
                yield from read_range(span, source, case.columns, case.spellings, suspects)
            elif source.format == "csv":
                yield from csv_blocks.read_blocks(
                    span, source, case.columns, case.block_bytes, case.spellings, suspects
                )
            elif source.format == "jsonl":
                yield from json_blocks.read_blocks(
                    span, source, case.columns, case.block_bytes, case.spellings
                )
            else:
                yield from typed_blocks.read_blocks(
                    span, case.columns, max(case.block_bytes // 8, 1), case.spellings
                )

    return Reading.of(blocks())


def _outcome(read: Callable[[], Reading]) -> Reading | str:
    try:
        return read()
    except QuatrainError as error:
        refusal(error)
        return str(error)


def _agree(one: Reading | str, other: Reading | str, what: str) -> None:
    """Checks that two ways of reading have the same rows; both may refuse the file."""
    if isinstance(one, str) or isinstance(other, str):
        assert isinstance(one, str) and isinstance(other, str), f"{what}: {one} / {other}"
        return
    assert one.rows == other.rows, f"{what}: {one.rows} / {other.rows}"
    assert one.rejected == other.rejected, f"{what}: {one.rejected} / {other.rejected}"


def _lines(data: bytes, start: int, quoted_newlines: bool) -> dict[int, bytes]:
    """The rows by their byte, without line ends and marks, one byte after another."""
    rows, begin, inside = {}, start, False
    for at in range(start, len(data)):
        inside ^= quoted_newlines and data[at] == ord('"')
        if data[at] == ord("\n") and not inside:
            rows[begin] = data[begin:at].removesuffix(b"\r").removeprefix(codecs.BOM_UTF8)
            begin = at + 1
    if begin < len(data):
        rows[begin] = data[begin:].removesuffix(b"\r").removeprefix(codecs.BOM_UTF8)
    return rows


def _check_text(form: str, folder: Path) -> Callable[[Case], str]:
    def check(case: Case) -> str:
        path = folder / f"t.{form}"
        path.write_bytes(case.data)
        source = Source(uri=(str(path),), format=form, **case.settings)
        whole = _outcome(lambda: _read(source, case, cut=False))
        _agree(whole, _outcome(lambda: _read(source, case, cut=True)), "cut otherwise")
        if form == "csv":
            every = set(case.columns)
            slowly = _outcome(lambda: _read(source, case, cut=False, suspects=every))
            _agree(whole, slowly, "value by value")
        if isinstance(whole, str):
            return "refused"
        _check_encoding(whole, case, path, source)
        start, names = _start(path, source, case)
        quoted = bool(case.settings.get("quoted_newlines"))
        rows = _lines(case.data, start, quoted)
        is_row = {at for at, row in rows.items() if _is_row(row, form, names)}
        assert whole.positions == sorted(is_row)
        assert all(rows[at] == row for at, _, _, row in whole.rejected)
        for at, values in whole.rows:
            _check_texts(rows[at], dict(zip(case.columns, values, strict=True)), case, names, form)
        return "read"

    return check


def _check_encoding(whole: Reading, case: Case, path: Path, source: Source) -> None:
    """Checks that the same text in UTF-16 has the same rows."""
    try:
        text = case.data.decode()
    except UnicodeDecodeError:
        return
    if "\ufeff" in text:
        return  # a mark in the middle of UTF-16 is a character
    path.write_bytes(text.encode("utf-16"))
    wide = source.model_copy(update={"encoding": "utf-16"})
    again = _outcome(lambda: _read(wide, case, cut=False))
    assert isinstance(again, Reading), again
    assert [values for _, values in again.rows] == [values for _, values in whole.rows]
    assert [r[1:] for r in again.rejected] == [r[1:] for r in whole.rejected]
    path.write_bytes(case.data)


def _start(path: Path, source: Source, case: Case) -> tuple[int, tuple[str, ...]]:
    [first, *_] = plan_ranges(source, case.columns, spellings=case.spellings)
    start = 3 if not first.start and case.data.startswith(b"\xef\xbb\xbf") else first.start
    return start, first.header


def _is_row(row: bytes, form: str, names: tuple[str, ...]) -> bool:
    if form == "jsonl":
        return bool(row.strip(b"\r\n"))
    return bool(row.strip(b"\r\n")) or len(names) == 1


def _check_texts(
    row: bytes, values: dict[str, str], case: Case, names: tuple[str, ...], form: str
) -> None:
    """Checks the text columns of an accepted row against Python's own readers."""
    if form == "jsonl":
        parsed = json.loads(row)
        for name, type_ in case.columns.items():
            text = parsed.get(name)
            if type_ == "string" and (text is None or isinstance(text, str)):
                assert values[name] == repr(text or None), (row, values)
        return
    delimiter = case.settings.get("delimiter", ",")
    # Of a value, the rest of it may not be UTF-8 in a column that is not read.
    text = row.decode("utf-8", "surrogateescape")
    [cells, *rest] = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)) or [[]]
    cells, beyond = cells[: len(names)] or [""], cells[len(names) :]
    assert not rest and len(cells) == len(names) and not any(beyond), (row, cells)
    by_name = dict(zip(names, cells, strict=True))
    for name, type_ in case.columns.items():
        if type_ == "string":
            cell = by_name[name]
            expected = None if cell in ("", *case.settings.get("nulls", ("NA",))) else cell
            assert values[name] == repr(expected), (row, values)


_CSV_SETTINGS = st.fixed_dictionaries(
    {"quoted_newlines": st.booleans()},
    optional={"delimiter": st.sampled_from([",", ";", "\t", "|"]), "nulls": st.just(("", "x"))},
)

ARROW_TYPES = [
    *(pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
    *(pa.string(), pa.large_string(), pa.binary(), pa.date32(), pa.timestamp("ms")),
    *(pa.timestamp("us", "UTC"), pa.timestamp("ns", "America/New_York"), pa.decimal128(9, 2)),
    *(pa.dictionary(pa.int32(), pa.string()), pa.null(), pa.time64("us"), pa.duration("us")),
    *(pa.list_(pa.int64()), pa.struct([("x", pa.int64())]), pa.binary(4), pa.date64()),
    *(pa.decimal256(40, 3), pa.string_view(), pa.map_(pa.string(), pa.int64())),
]
_WHOLE = [0, 1, -1, 127, None, 20130131, 2**53, 2**53 + 1, -(2**63), 2**63 - 1]
_REALS = [0.0, -0.0, 1.5, float("nan"), float("inf"), 1e300, 3.0, None, 2.0**53 + 2]
_TEXTS = ["", "x", "1", "NA", "é", "\x00", "2013-01-01", "true", "1e400", None, "\U0001f600", " 1 "]


_ODD_VALUES: list[tuple[Callable[[pa.DataType], bool], list[Any]]] = [
    (lambda t: pa.types.is_nested(t) or pa.types.is_null(t), [None]),
    (pa.types.is_boolean, [True, False, None]),
    (pa.types.is_decimal, [None, 0, 1, -7, 12345]),
    (pa.types.is_fixed_size_binary, [b"abcd", b"\xff\x00\n,", None]),
    (pa.types.is_binary, [b"", b"x", b"\xff", "é".encode(), None]),
    (pa.types.is_float16, _REALS[:4]),
    (pa.types.is_floating, _REALS),
    (pa.types.is_int8, [0, 1, -1, -128, 127, None]),
    (pa.types.is_uint64, [0, 1, 2**53, 2**53 + 1, 2**64 - 1, None]),
    (pa.types.is_time, [0, 1, 16000, None]),
    (pa.types.is_date32, [0, 1, 16000, None, -(2**31), 2**31 - 1]),
    (lambda t: pa.types.is_integer(t) or pa.types.is_temporal(t), _WHOLE),
    (lambda t: True, _TEXTS),
]
"""The values of Arrow types; integers stand for times and days."""


def _values(type_: pa.DataType) -> st.SearchStrategy[Any]:
    return st.sampled_from(next(values for accepts, values in _ODD_VALUES if accepts(type_)))


@dataclass(frozen=True)
class ParquetCase:
    """A Parquet file by its columns and row groups, and how it is read."""

    types: dict[str, pa.DataType]
    values: dict[str, list[Any]]
    row_group: int
    case: Case

    def write(self, path: Path) -> None:
        """Writes the file."""
        columns = {n: _array(self.values[n], t) for n, t in self.types.items()}
        pq.write_table(pa.table(columns), path, row_group_size=self.row_group)


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_temporal(type_) and type_ != pa.date64():
        width = pa.int32() if type_ == pa.date32() else pa.int64()
        return pa.array(values, width).view(type_)
    if type_ == pa.date64():
        days = [None if v is None else (v % 10**6) * 86_400_000 for v in values]
        return pa.array(days, pa.int64()).view(type_)
    if pa.types.is_dictionary(type_):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, type_)


@st.composite
def _parquet_cases(draw: Any) -> ParquetCase:
    types = {name: draw(st.sampled_from(ARROW_TYPES)) for name in "abc"}
    n = draw(st.integers(0, 9))
    values = {
        name: draw(st.lists(_values(type_), min_size=n, max_size=n))
        for name, type_ in types.items()
    }
    case = draw(_cases(st.just(b""), st.just({})))
    return ParquetCase(types, values, draw(st.integers(1, 5)), case)


def _check_parquet(folder: Path) -> Callable[[ParquetCase], str]:
    path = folder / "t.parquet"
    source = Source(uri=(str(path),), format="parquet")

    def check(case: ParquetCase) -> str:
        case.write(path)
        whole = _outcome(lambda: _read(source, case.case, cut=False))
        _agree(whole, _outcome(lambda: _read(source, case.case, cut=True)), "cut otherwise")
        if isinstance(whole, str):
            return "refused"
        assert whole.positions == list(range(len(next(iter(case.values.values())))))
        return "read"

    return check


def _parquet_bytes() -> list[bytes]:
    n = 200
    table = pa.table(
        {
            "a": pa.array(range(n), pa.int64()),
            "b": pa.array([None if i % 7 == 0 else f"k{i % 9}" for i in range(n)], pa.string()),
            "c": pa.array([i / 3 for i in range(n)], pa.float64()),
        }
    )
    files = []
    for compression in ("snappy", "none", "zstd", "gzip"):
        sink = io.BytesIO()
        pq.write_table(table, sink, compression=compression, row_group_size=90)
        files.append(sink.getvalue())
    return files


def _check_damaged_parquet(folder: Path) -> Callable[[Case], str]:
    path = folder / "t.parquet"
    source = Source(uri=(str(path),), format="parquet")

    def check(case: Case) -> str:
        path.write_bytes(case.data)
        reading = _outcome(lambda: _read(source, case, cut=False))
        return "refused" if isinstance(reading, str) else "read"

    return check


DOORS = (
    Door("csv", _cases(mutated(CSVS), _CSV_SETTINGS), lambda f: _check_text("csv", f), 600),
    Door(
        "jsonl",
        _cases(
            mutated(JSONS, JSON_TOKENS), st.fixed_dictionaries({"optional_keys": st.booleans()})
        ),
        lambda f: _check_text("jsonl", f),
        300,
    ),
    Door("parquet", _parquet_cases(), _check_parquet, 600),
    Door(
        "damaged-parquet",
        _cases(mutated(_parquet_bytes(), most=4), st.just({})),
        _check_damaged_parquet,
        800,
    ),
)
