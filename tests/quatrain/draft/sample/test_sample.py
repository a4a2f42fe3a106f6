"""A bounded sample of a table: delimiter, header, rows from all over the file."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import SourceError
from quatrain.draft.propose import propose
from quatrain.draft.sample.csv_rows import sniff_delimiter
from quatrain.draft.sample.sample import spread
from quatrain.draft.sample.sampling import draw_sample


@pytest.mark.parametrize(
    ("head", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b;c\n1,5;2;3\n", ";"),
        ("a\tb\n1\t2,3\n", "\t"),
        ('a|b\n"x|y"|2\n', "|"),
        ("a\n1\n2\n", ","),
        ('text,n\n"one; two; three",1\n"four; five; six",2\n', ","),
    ],
)
def test_the_delimiter_is_the_one_that_cuts_each_line_as_the_header(
    head: str, delimiter: str
) -> None:
    assert sniff_delimiter(head.splitlines()) == delimiter


def test_places_are_evenly_spread_from_the_first_to_the_last() -> None:
    assert spread(5, 16) == [0, 1, 2, 3, 4]
    assert spread(101, 3) == [0, 50, 100]


def _rows_of_a_kilobyte(n: int) -> str:
    return "".join(f"{i:08d},{'x' * 1014}\n" for i in range(n))


def test_a_large_csv_is_read_in_sixteen_places_and_its_rows_are_estimated(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("n,v\n" + _rows_of_a_kilobyte(20 * 1024))  # twenty ranges of 1 MB
    sample = draw_sample(str(path))
    assert (sample.whole, sample.places) == (False, 16)
    assert sample.rows == 20 * 1024
    numbers = [int(n) for n in sample.table.column("n").to_pylist()]
    assert (numbers[0], numbers[-1]) == (0, 20 * 1024 - 1)
    assert sample.sentence == "16,384 rows in 16 places, of about 20,480"
    assert draw_sample(str(path)).table.equals(sample.table)


def test_a_compressed_file_that_is_not_read_whole_says_that_it_is_its_start(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    data = "n,v\n" + _rows_of_a_kilobyte(20 * 1024)  # five blocks of 4 MB
    path.write_bytes(gzip.compress(data.encode(), 1))
    sample = draw_sample(str(path))
    assert (sample.whole, sample.is_spread, sample.rows) == (False, False, 0)
    assert sample.sentence.startswith("the first 16,38")


def test_quoted_line_ends_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('text,n\n"one\nline",1\n"two",2\n')
    sample = draw_sample(str(path))
    assert sample.source.quoted_newlines
    assert sample.table.to_pydict() == {"text": ["one\nline", "two"], "n": ["1", "2"]}


def test_columns_without_a_name_of_their_own_are_left_out_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",a,a,b\n1,2,3,4\n")
    sample = draw_sample(str(path))
    assert sample.table.to_pydict() == {"b": ["4"]}
    assert sample.unreadable == {"": "it has no name", "a": "2 columns have this name"}


def test_lists_structs_and_times_of_day_of_a_parquet_file_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    columns = {"a": pa.array([1, 2]), "l": pa.array([[1], [2]]), "s": pa.array([{"x": 1}] * 2)}
    dictionary = pa.array(["u", "v"]).dictionary_encode()
    pq.write_table(pa.table({**columns, "d": dictionary}), path)
    sample = draw_sample(str(path))
    assert sample.table.to_pydict() == {"a": [1, 2], "d": ["u", "v"]}
    assert sample.unreadable["l"] == "it is list<element: int64>"
    assert sample.unreadable["s"] == "it is struct<x: int64>"


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(SourceError, match="is not a Parquet file, or not a whole one"):
        draw_sample(str(path))


def _json(path: Path, lines: list[str]) -> str:
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


def test_a_key_of_two_kinds_is_text_and_the_others_stay_as_they_are(tmp_path: Path) -> None:
    lines = [f'{{"ref": {i}, "x": {i}.5, "mixed": {i}.5}}' for i in range(40)]
    lines[21] = '{"ref": "20-B", "x": null, "mixed": "many"}'
    sample = draw_sample(_json(tmp_path / "t.jsonl", lines))
    assert sample.table.column("ref").to_pylist()[20:22] == ["20", "20-B"]
    assert sample.table.column("x").to_pylist()[20:22] == ["20.5", None]
    assert list(sample.unreadable) == ["mixed"]
    assert "several kinds" in sample.unreadable["mixed"]


def test_a_line_that_is_no_object_is_a_rejected_row_wherever_and_however_deep(
    tmp_path: Path,
) -> None:
    lines = [f'{{"a": {i}}}' for i in range(40)]
    lines[0], lines[7], lines[30] = "[" * 50_000, '{"a": 1', '{"a": 1, "a": 2}'
    sample = draw_sample(_json(tmp_path / "t.jsonl", lines[1:] + lines[:1]))
    assert (sample.table.num_rows, sample.rejected) == (37, {"bad_json": 3})


def test_a_key_that_only_later_rows_have_is_a_column(tmp_path: Path) -> None:
    lines = ['{"a": 1}'] * 200 + ['{"a": 1, "b": [1], "c": true}']
    sample = draw_sample(_json(tmp_path / "t.jsonl", lines))
    assert sample.names == ("a", "b", "c")
    assert sample.unreadable == {"b": "it is an array"}
    assert sample.table.column("c").to_pylist() == [None] * 200 + ["true"]
    assert sample.source.optional_keys


def _parts(folder: Path, *parts: pa.Table) -> str:
    for i, part in enumerate(parts):
        pq.write_table(part, folder / f"p-{i}.parquet")
    return str(folder / "p-*.parquet")


PART = pa.table({"x": [0.5, 1.5], "k": [1, 2]})


def test_an_empty_part_of_parquet_does_no_harm(tmp_path: Path) -> None:
    sample = draw_sample(_parts(tmp_path, PART[:0], PART))
    assert sample.table.to_pydict() == {"x": [0.5, 1.5], "k": [1, 2]}
    with pytest.raises(SourceError, match="there are no rows, only a schema"):
        draw_sample(_parts(tmp_path, PART[:0], PART[:0]))


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (pa.string(), ["1", "2", "1", "2"]),
        (pa.large_string(), ["1", "2", "1", "2"]),
        (pa.float64(), [1.0, 2.0, 1.0, 2.0]),
        (pa.int8(), [1, 2, 1, 2]),
        (pa.dictionary(pa.int32(), pa.string()), ["1", "2", "1", "2"]),
    ],
)
def test_parts_of_unlike_types_are_read_by_one_that_reads_all(
    tmp_path: Path, type_: pa.DataType, values: list[object]
) -> None:
    k = PART["k"].cast(pa.string()) if pa.types.is_dictionary(type_) else PART["k"]
    k = k.dictionary_encode() if pa.types.is_dictionary(type_) else k.cast(type_)
    sample = draw_sample(_parts(tmp_path, PART, PART.set_column(1, "k", k)))
    assert sample.table.column("k").to_pylist() == values
    assert sample.unreadable == {}


def test_a_column_that_no_type_reads_in_all_parts_is_named(tmp_path: Path) -> None:
    days = pa.array([1, 2], pa.date32())
    uri = _parts(tmp_path, PART, PART.set_column(1, "k", days), PART.drop_columns("x"))
    sample = draw_sample(uri)
    assert sample.unreadable == {
        "x": f"{tmp_path}/p-2.parquet lacks it",
        "k": f"it is int64 in {tmp_path}/p-0.parquet and date32[day] in {tmp_path}/p-1.parquet; no "
        "type reads the values of both",
    }


COLUMNS = {
    "int": pa.array(range(40)),
    "float": pa.array([i + 0.5 for i in range(40)]),
    "text": pa.array([f"v{i % 7}" for i in range(40)]),
    "number as text": pa.array([f"{i}.5" for i in range(40)]),
    "category": pa.array([f"v{i % 7}" for i in range(40)]).dictionary_encode(),
    "bool": pa.array([i % 2 == 0 for i in range(40)]),
    "day": pa.array(range(40), pa.date32()),
    "time": pa.array(range(0, 40 * 10**15, 10**15), pa.timestamp("ns", "UTC")),
    "day as text": pa.array([f"2024-05-{1 + i % 28:02}" for i in range(40)]),
    "missing": pa.nulls(40),
}


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(COLUMNS, 2)])
def test_a_column_of_any_two_types_is_read_in_both_parts_or_left_out_with_both(
    tmp_path: Path, one: str, other: str
) -> None:
    label = pa.array(["no" if i % 3 else "yes" for i in range(40)])
    x = pa.array([i * 7 % 13 / 13 for i in range(40)])
    parts = [pa.table({"x": x, "k": COLUMNS[name], "y": label}) for name in (one, other)]
    proposal = propose(_parts(tmp_path, *parts), "y", tmp_path / "t.yaml")
    entry = proposal.draft.columns["k"]
    if entry.is_active:
        assert proposal.draft.document["split"] and "do not convert" not in entry.comment
    else:
        types = [str(COLUMNS[name].type) for name in (one, other)]
        assert all(f"{type_} in {tmp_path}" in entry.comment for type_ in types)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_columns_of_the_path_are_columns_of_the_table(tmp_path: Path, form: str) -> None:
    for month, place in ((7, "a%2Fb"), (8, "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / f"month={month}" / f"place={place}"
        folder.mkdir(parents=True)
        path = folder / f"t.{form}"
        if form == "parquet":
            pq.write_table(pa.table({"x": [1, 2]}), path)
        else:
            path.write_text('{"x": 1}\n{"x": 2}\n' if form == "jsonl" else "x\n1\n2\n")
    sample = draw_sample(f"{tmp_path}/*/*/t.{form}")
    assert sample.names == ("x", "month", "place")
    assert sample.table.select(["month", "place"]).to_pydict() == {
        "month": ["7", "7", "8", "8"],
        "place": ["a/b", "a/b", None, None],
    }
