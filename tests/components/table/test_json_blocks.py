"""JSON Lines: every line is a row that is read right or rejected with its reason."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table import json_blocks
from quatrain.components.table.ranges import plan_ranges
from quatrain.trainer.features.text_format import Spelling
from tests.components.conftest import Read, positions_of

Reader = Callable[..., Read]


def test_every_type_is_read_as_declared(read: Reader) -> None:
    data = (
        '{"i":-3,"f":1.5,"b":true,"s":"x y","t":"2013-01-01T10:00:00Z","d":"2013-01-31","q":[1]}\n'
        '{"d":null,"t":null,"s":null,"b":null,"f":null,"i":null}\n'
    )
    result = read(data, "i int, f float, b bool, s string, t timestamp, d date", format="jsonl")
    assert result.rows == [
        (-3, 1.5, True, "x y", datetime(2013, 1, 1, 10), date(2013, 1, 31)),
        (None,) * 6,
    ]
    assert result.rejected == []


@pytest.mark.parametrize(
    ("type_", "value", "typed"),
    [
        ("int", "2.0", 2),
        ("int", '"7"', 7),
        ("float", "2", 2.0),
        ("float", "NaN", None),
        ("bool", "0", False),
        ("bool", '"TRUE"', True),
        ("string", "7", "7"),
        ("string", '""', None),
        ("string", r'"a\"\\\n\u00e9"', 'a"\\\né'),
        ("string", '"NA"', "NA"),
    ],
)
def test_kindred_values_are_converted(read: Reader, type_: str, value: str, typed: Any) -> None:
    result = read(f'{{"a":{value}}}\n', f"a {type_}", format="jsonl")
    assert (result.rows, result.rejected) == ([(typed,)], [])


@pytest.mark.parametrize(
    ("type_", "value", "detail"),
    [
        ("int", "1.5", "a: '1.5' is not an int"),
        ("int", '"x"', "a: 'x' is not an int"),
        ("int", "9007199254740993", "a: '9007199254740993' is beyond 2**53, where float64"),
        ("float", "Infinity", "a: 'inf' is not a finite number"),
        ("float", "true", "a: 'true' is not a finite number"),
        ("bool", "2", "a: '2' is not a bool (true, false, 1 or 0)"),
        ("string", "2.50", "a: 2.5 is no JSON value of a column of type string"),
        ("string", '{"b":1}', 'a: {"b":1} is no JSON value of a column of type string'),
        ("timestamp", "1357034400", "a: '1357034400' is not an ISO 8601 timestamp"),
        ("date", '"31.1.2013"', "a: '31.1.2013' is not an ISO date"),
    ],
)
def test_a_value_of_another_type_rejects_only_its_row(
    read: Reader, type_: str, value: str, detail: str
) -> None:
    row = f'{{"a":{value}}}'
    result = read(f'{{"a":null}}\n{row}\n', f"a {type_}", format="jsonl")
    assert (result.rows, result.reasons) == ([(None,)], [(11, "bad_value")])
    assert result.rejected[0]["detail"].startswith(detail)
    assert result.rejected[0]["row"] == row.encode()


def test_lines_that_are_no_object_are_rejected_as_they_are(read: Reader) -> None:
    bad = [b'{"a":1', b"[1]", b"1", b'{"a":"\xff"}', b'{"a":1} {"a":2}', b" "]
    bad += [b'{"a":1,"a":2}', b"[" * 50_000, b'{"a":"\\ud800"}']
    result = read(b'{"a":1}\r\n\n' + b"\n".join(bad), "a int", format="jsonl")
    assert result.rows == [(1,)]
    assert [r["row"] for r in result.rejected] == bad
    assert [reason for _, reason in result.reasons] == [
        *("bad_json", "bad_json", "bad_json", "bad_encoding", "bad_json", "bad_json"),
        *("bad_json", "bad_json", "bad_json"),
    ]


def test_a_missing_key_rejects_its_row_unless_keys_are_optional(read: Reader) -> None:
    data = '{"a":1,"b/~c":2}\n{"a":3}\n'
    result = read(data, "a int, b/~c int", format="jsonl")
    assert (result.rows, result.reasons) == ([(1, 2)], [(17, "missing_key")])
    hint = "there is no key 'b/~c'; if rows may lack keys, set `source.optional_keys: true`"
    assert result.rejected[0]["detail"] == hint
    assert read(data, "a int, b/~c int", format="jsonl", optional_keys=True).rows == [
        (1, 2),
        (3, None),
    ]


def test_a_byte_order_mark_and_compression_leave_no_trace(read: Reader) -> None:
    data = b'\xef\xbb\xbf{"a":1}\n{"a":2}'
    for name, stored in (("t.jsonl", data), ("t.jsonl.gz", gzip.compress(data))):
        result = read(stored, "a int", name=name, format="jsonl", range_bytes=9)
        assert (result.rows, result.positions) == ([(1,), (2,)], [3, 11])


def test_an_empty_file_has_no_rows(read: Reader) -> None:
    assert read("", "a int", format="jsonl").rows == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("a,b\n1,2\n", r"t\.csv is not JSON Lines: each line must be one object, .* is 'a,b'"),
        ("[\n{}\n]", r"the first is '\['"),
        (
            '{"ab":1}\n',
            r"there is no column 'a'; did you mean 'ab'\?|choose one of ab; if rows may",
        ),
        (b"PAR1...", r"is a Parquet file, not JSON Lines; set source\.format: parquet"),
    ],
)
def test_a_file_that_is_no_json_lines_is_one_sentence(
    read: Reader, data: str | bytes, sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence):
        read(data, "a int", format="jsonl")


def test_json_lines_that_are_read_as_a_csv_say_how_to_read_them(read: Reader) -> None:
    with pytest.raises(SourceError, match=r"holds JSON, not a CSV; set source\.format: jsonl"):
        read('{"a":1,"b":2}\n', "a int")


def test_times_of_an_epoch_are_numbers_or_text(read: Reader) -> None:
    result = read(
        '{"t":1357034400}\n{"t":"1357034400"}\n{"t":1357034400.0}\n{"t":0.5}\n',
        "t timestamp",
        format="jsonl",
        spellings={"t": Spelling(epoch="s")},
    )
    assert result.rows == [(datetime(2013, 1, 1, 10),)] * 3
    assert result.reasons == [(55, "bad_value")]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that the property test writes again and again."""
    return tmp_path_factory.mktemp("json") / "t.jsonl"


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just([1])
)
ROWS = st.dictionaries(st.sampled_from(["a", "s", "é", "x"]), VALUES).map(
    lambda row: json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")
)
OTHERS = st.binary(max_size=9).map(lambda b: b.replace(b"\n", b" "))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example(rows=[b"x\r"], range_bytes=90, small=False)  # a last line ends without a line feed
@example(rows=[b'{"a": 1, "s": 1e+16, "\xc3\xa9": null}'], range_bytes=90, small=False)
@given(
    rows=st.lists(ROWS | OTHERS, max_size=8), range_bytes=st.integers(1, 90), small=st.booleans()
)
def test_any_table_reconciles_and_is_the_same_for_any_cut(
    scratch: Path, rows: list[bytes], range_bytes: int, small: bool
) -> None:
    data = b"\n".join([b'{"a":1,"s":"y","\xc3\xa9":1.5}', *rows])
    scratch.write_bytes(data)
    source, types = (
        Source(uri=(str(scratch),), format="jsonl"),
        {"a": "int", "s": "string", "é": "float"},
    )

    def outcome(range_bytes: int | None, block_bytes: int) -> list[Any]:
        spans = plan_ranges(source, types, range_bytes)
        read = (b for r in spans for b in json_blocks.read_blocks(r, source, types, block_bytes))
        blocks = [b.without_faults() for b in read]
        good = [
            (p, tuple(r.values()))
            for b in blocks
            for p, r in zip(positions_of(b), b.batch.to_pylist(), strict=True)
        ]
        rejected = [
            (r["position"], r["reason"], r["row"]) for b in blocks for r in b.rejected.to_pylist()
        ]
        return [good, rejected]

    good, rejected = outcome(None, 1 << 20)
    assert outcome(range_bytes, 30 if small else 1 << 20) == [good, rejected]
    assert len(good) + len(rejected) == sum(
        line.strip(b"\r\n") != b"" for line in data.split(b"\n")
    )
    for position, _, row in rejected:
        assert data[position:].split(b"\n")[0].removesuffix(b"\r") == row
    for position, (a, s, f) in good:
        row = json.loads(data[position:].split(b"\n")[0])
        assert a is None if row["a"] in (None, "") else int(row["a"]) == a
        if isinstance(row["s"], float):  # 1e16 is a text in many ways
            assert float(s) == row["s"]
        else:
            assert (s or "") == ("" if row["s"] is None else str(row["s"]))
        assert f == row["é"] or f is None or float(row["é"]) == f


def test_a_control_character_in_the_first_row_is_one_of_a_text(read: Callable[..., Any]) -> None:
    result = read('{"a": "x\x7f"}\n{"a": "y"}\n', "a string", name="t.jsonl", format="jsonl")
    assert result.rows == [("x\x7f",), ("y",)]
