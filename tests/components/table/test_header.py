"""Files, headers and ranges: what is wrong with a source is one sentence with the way out."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import SourceDenied, SourceError
from quatrain.components.specification.schema import Source
from quatrain.components.table.header import find_files, list_files, plan_ranges

Table = Callable[..., str]
AB = {"a": "int", "b": "int"}


@pytest.mark.parametrize(
    ("data", "name", "sentence"),
    [
        (b"", "t.csv", r"t\.csv is empty; a CSV starts with the names of its columns"),
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
        (b"PK\x03\x04...", "t.csv", r"is a zip file, not a CSV"),
        (b"a,b\n1,2\n", "t.csv.gz", r"is not a gzip file, though its name says so"),
        ("a,b\n".encode("utf-16"), "t.csv", r"is UTF-16 text; save it as UTF-8"),
        (b"a,caf\xe9\n", "t.csv", r"the header is not UTF-8 \(byte 0xe9 at 5\)"),
        (b"a,b\r1,2\r", "t.csv", r"carriage return alone"),
        (b'a,"b\n1,2\n', "t.csv", r"the header cannot be read"),
        (b"x" * (2 << 20), "t.csv", r"no line end in the first 1,048,576 bytes"),
    ],
)
def test_a_file_that_cannot_be_the_source_is_one_sentence(
    table: Table, data: bytes, name: str, sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence):
        plan_ranges(Source(uri=(table(data, name),)), AB)


def test_a_header_without_the_columns_is_shown_once_and_cut(table: Table) -> None:
    source = Source(uri=(table("\0" * 100_000 + ",q" * 30 + "\n"),))
    with pytest.raises(SourceError, match=r"no column 'a' or 'b'; choose .*31 in all\)$") as caught:
        plan_ranges(source, AB)
    assert len(str(caught.value)) < 1000
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("uri", ["s4://x/t.csv", "gopher://x/t.csv"])
def test_a_uri_of_no_known_file_system_is_one_sentence(uri: str) -> None:
    with pytest.raises(SourceError, match=r"cannot be read .*; use a local path or gs://"):
        list_files(Source(uri=(uri,)))


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(SourceError, match=r"t\.csv is not a regular file"):
        list_files(Source(uri=(str(tmp_path / "t.csv"),)))


def test_the_nearest_right_column_is_named(table: Table) -> None:
    source = Source(uri=(table("dep_delay,x\n1,2\n"),))
    with pytest.raises(SourceError, match=r"no column 'dep_dely'; did you mean 'dep_delay'\?"):
        plan_ranges(source, {"dep_dely": "int"})


def test_a_csv_named_parquet_is_refused(table: Table) -> None:
    source = Source(uri=(table("a,b\n1,2\n", "t.parquet"),), format="parquet")
    with pytest.raises(SourceError, match=r"t\.parquet is not a Parquet file"):
        plan_ranges(source, AB)


def test_a_parquet_column_of_an_impossible_type_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1]]}), tmp_path / "t.parquet")
    source = Source(uri=(str(tmp_path / "t.parquet"),), format="parquet")
    with pytest.raises(SourceError, match=r"column 'a' is list<.*int64> and cannot be read as int"):
        plan_ranges(source, {"a": "int"})


def test_globs_name_files_in_order_and_an_empty_one_is_an_error(table: Table) -> None:
    for name in ("2013-02.csv", "2013-01.csv", "2013-01.txt"):
        folder = Path(table("a,b\n1,2\n", name)).parent
    found = list_files(Source(uri=(f"{folder}/2013-*.csv",)))
    assert [Path(f).name for f, _ in found] == ["2013-01.csv", "2013-02.csv"]
    assert list_files(Source(uri=(f"{folder}/**/2013-0[12].csv",))) == found
    with pytest.raises(SourceError, match=r"no file matches .*/2014-\*\.csv"):
        list_files(Source(uri=(f"{folder}/2014-*.csv",)))
    with pytest.raises(SourceError, match=r"nothing\.csv does not exist"):
        list_files(Source(uri=(f"{folder}/nothing.csv",)))
    with pytest.raises(SourceError, match=r"is a folder; name its files"):
        list_files(Source(uri=(str(folder),)))


def test_every_file_is_checked_and_may_order_its_columns(table: Table) -> None:
    paths = [table("a,b\n1,2\n", "1.csv"), table("b,a\n1,2\n", "2.csv")]
    assert [r.header for r in plan_ranges(Source(uri=tuple(paths)), AB)] == [("a", "b"), ("b", "a")]
    paths.append(table("a\n1\n", "3.csv"))
    with pytest.raises(SourceError, match=r"3\.csv: there is no column 'b'"):
        plan_ranges(Source(uri=tuple(paths)), AB)


def test_ranges_depend_on_sizes_alone(table: Table) -> None:
    spans = plan_ranges(Source(uri=(table("a,b\n" + "1,2\n" * 10),)), AB, range_bytes=15)
    assert [(s.index, s.start, s.stop) for s in spans] == [(0, 4, 19), (1, 19, 34), (2, 34, 44)]


def test_only_the_files_of_a_spec_are_told_with_its_key(tmp_path: Path) -> None:
    source = Source(uri=(f"{tmp_path}/nope.csv",))
    with pytest.raises(SourceError) as alone:
        list_files(source)
    assert str(alone.value) == f"{tmp_path}/nope.csv does not exist"
    with pytest.raises(SourceError) as of_spec:
        find_files(source)
    assert str(of_spec.value) == f"source.uri: {alone.value}"


def test_a_file_that_may_not_be_read_is_one_plain_sentence(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table("a,b\n1,2\n")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read anything
    with pytest.raises(SourceDenied) as raised:
        list_files(Source(uri=(path,)))
    assert str(raised.value) == (
        f"{path} may not be read by this account; give it the right to, as by chmod u+r {path}"
    )


@pytest.mark.parametrize("header", ["a,a", "a,,a", ","])
def test_a_header_without_a_name_of_its_own_says_the_way_out(header: str, table: Table) -> None:
    with pytest.raises(SourceError, match=r"no column has a name of its own: .*; give each"):
        plan_ranges(Source(uri=(table(f"{header}\n1,2\n"),)), {"a": "int"})
