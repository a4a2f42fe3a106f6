"""Headers: what is wrong with a file is one sentence with the way out."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table.header import read_header
from quatrain.components.table.ranges import plan_ranges

Table = Callable[..., str]
AB = {"a": "int", "b": "int"}


@pytest.mark.parametrize(
    ("data", "name", "sentence"),
    [
        (b"", "t.csv", r"t\.csv is empty; a CSV must start with the names of its columns"),
        (b"\xef\xbb\xbf", "t.csv", r"t\.csv is empty"),
        (b"\n1,2\n", "t.csv", r"starts with an empty line"),
        (b"a,c\n1,2\n", "t.csv", r"there is no column 'b'"),
        (b"a,B_\n1,2\n", "t.csv", r"no column 'b'; did you mean 'B_'\?|no column 'b'"),
        (b"a,b,a\n1,2,3\n", "t.csv", r"2 columns are named 'a'; rename all but one"),
        (b"a;b\n1;2\n", "t.csv", r"is source\.delimiter ',' right\?"),
        (b"PAR1....PAR1", "t.csv", r"is a Parquet file, not a CSV; set source\.format: parquet"),
        (
            gzip.compress(b"a,b\n", mtime=0),
            "t.csv",
            r"is a gzip file, not a CSV; .* name it \.csv\.gz",
        ),
        (b"PK\x03\x04...", "t.csv", r"is a zip archive, not a CSV; unpack it: unzip "),
        (b"a,b\n1,2\n", "t.csv.gz", r"is not a gzip file, though its name says so"),
        ("a,b\n".encode("utf-16"), "t.csv", r"is UTF-16 text; set source\.encoding: utf-16"),
        (b"a,caf\xe9\n", "t.csv", r"byte 5 of the header is not valid UTF-8; .*cp1252"),
        (b"a,b\r1,2\r", "t.csv", r"carriage return alone, .* tr '\\r' '\\n' < "),
        (b'a,"b\n1,2\n', "t.csv", r"line 1: the names of the columns cannot be read"),
        (b"x" * (2 << 20), "t.csv", r"no line end in the first 1,048,576 bytes"),
    ],
)
def test_a_file_that_cannot_be_the_source_is_one_sentence(
    table: Table, data: bytes, name: str, sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence):
        plan_ranges(Source(uri=(table(data, name),)), AB)


@pytest.mark.parametrize(
    ("text", "skip_rows", "sentence"),
    [
        ("Sales\n\na,b\n1,2\n", 0, "stands in line 3, and source.skip_rows is 0; if every file "),
        (
            "Sales\n\na,b\n1,2\n",
            0,
            "set source.skip_rows: 2; if not, remove them with: tail -n +3 ",
        ),
        ("t\na,b\n1,2\n", 0, "source.skip_rows: 1; if not"),
        ("t,\nu,\na;b\n1;2\n", 1, "source.skip_rows: 2 and source.delimiter: ';'; if not"),
    ],
)
def test_a_header_below_other_lines_is_found_and_its_line_named(
    table: Table, text: str, skip_rows: int, sentence: str
) -> None:
    with pytest.raises(SourceError) as refused:
        plan_ranges(Source(uri=(table(text),), skip_rows=skip_rows), AB)
    assert sentence in str(refused.value)


def test_of_two_encodings_the_file_of_the_other_one_comes_with_the_command_for_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "b.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    uri = (str(tmp_path / "*.csv"),)
    with pytest.raises(SourceError, match=r"b\.csv .* so, too: iconv -f utf-16 -t utf-8 < "):
        plan_ranges(Source(uri=uri), AB)
    with pytest.raises(SourceError, match=r"a\.csv .* `iconv -f utf-8 -t utf-16` writes"):
        plan_ranges(Source(uri=uri, encoding="utf-16"), AB)


def test_a_header_without_the_columns_is_shown_once_and_cut(table: Table) -> None:
    source = Source(uri=(table("\u200b" * 30_000 + ",q" * 30 + "\n"),))
    with pytest.raises(SourceError, match=r"no column 'a' or 'b'; choose .*31 in all\)$") as caught:
        plan_ranges(source, AB)
    assert len(str(caught.value)) < 1000
    assert "\u200b" not in str(caught.value)


def test_a_header_with_nul_bytes_is_refused_with_the_command_that_takes_them_out(
    table: Table,
) -> None:
    with pytest.raises(SourceError) as caught:
        plan_ranges(Source(uri=(table("a\0,b\n1,2\n"),)), AB)
    assert r"the header holds NUL bytes: 'a\x00,b'; remove them with" in str(caught.value)
    assert r"tr -d '\000' < " in str(caught.value)


def test_the_nearest_right_column_is_named(table: Table) -> None:
    source = Source(uri=(table("dep_delay,x\n1,2\n"),))
    with pytest.raises(SourceError, match=r"no column 'dep_dely'; did you mean 'dep_delay'\?"):
        plan_ranges(source, {"dep_dely": "int"})


def test_a_csv_named_parquet_is_refused(table: Table) -> None:
    source = Source(uri=(table("a,b\n1,2\n", "t.parquet"),), format="parquet")
    with pytest.raises(SourceError, match=r"t\.parquet is not a Parquet file"):
        plan_ranges(source, AB)


@pytest.mark.parametrize("header", ["a,a", "a,,a", ","])
def test_a_header_without_a_name_of_its_own_says_the_way_out(header: str, table: Table) -> None:
    with pytest.raises(SourceError, match=r"no column has a name of its own: .*; give each"):
        plan_ranges(Source(uri=(table(f"{header}\n1,2\n"),)), {"a": "int"})


def test_a_value_too_long_for_pythons_reader_does_not_end_the_search_for_surplus(
    table: Table,
) -> None:
    long = '"' + "x" * 200_000 + '"'
    path = table(f"a,b\n1,2,\n{long},2,\n")
    assert read_header(path, Source(uri=(path,))).surplus == 1
