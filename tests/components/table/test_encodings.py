"""Text files of any encoding: each row is read right or rejected, wherever the file is cut."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source

Reader = Callable[..., Any]
COLUMNS = "ä int, name string"


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8", ["Žofie", "日本", "x"]),
        ("utf-8-sig", ["Žofie", "日本", "x"]),
        ("utf-16", ["Žofie", "日本", "\U0001f600"]),
        ("utf-16-le", ["Žofie", "Ċ", "x"]),  # U+010A has the byte of a line feed
        ("utf-16-be", ["Žofie", "Ċ", "x"]),
        ("utf-32", ["Žofie", "日本", "x"]),
        ("cp1252", ["Žofie", "naïve €", "x"]),
        ("latin1", ["é", "ÿ", "x"]),
        ("cp1250", ["Žofie", "Łódź", "x"]),
        ("cp850", ["ä", "░", "x"]),
        ("mac_roman", ["ä", "∞", "x"]),
        ("gb18030", ["中文", "丂", "x"]),  # the second byte of U+4E02 is that of an @
        ("gb18030", ["ä", "羸\U0001f600", "x"]),
    ],
)
@pytest.mark.parametrize("quoted_newlines", [False, True])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_csv_of_any_encoding_has_the_same_rows_wherever_it_is_cut(
    read: Reader, encoding: str, names: list[str], quoted_newlines: bool, name: str
) -> None:
    rows = [(i, names[i % 3]) for i in range(20)]
    text = "ä,name\r\n" + "".join(f'{i},"{word}"\r\n' for i, word in rows) + "1,2,3\n"
    data = text.encode(encoding)
    data = gzip.compress(data) if name.endswith(".gz") else data
    for size in (None, 1, 7, 100):
        result = read(
            data,
            COLUMNS,
            name=name,
            range_bytes=size,
            encoding=encoding,
            quoted_newlines=quoted_newlines,
        )
        assert result.rows == rows
        assert [(r["reason"], r["row"]) for r in result.rejected] == [("long_row", b"1,2,3")]


def test_the_places_of_a_file_with_one_byte_per_character_are_its_own(read: Reader) -> None:
    data = "name,a\né,1\né,x\né,3\n".encode("latin-1")
    result = read(data, "name string, a int", encoding="latin-1")
    assert (result.rows, result.positions) == ([("é", 1), ("é", 3)], [7, 15])
    assert result.reasons == [(11, "bad_value")]
    assert result.rejected[0]["row"] == "é,x".encode()


@pytest.mark.parametrize(
    ("encoding", "data", "row"),
    [
        ("cp1252", b"a,b\nx,1\n\x81y,2\nz,3\n", "\ufffdy,2"),
        ("ascii", b"a,b\nx,1\n\xe9y,2\nz,3\n", "\ufffdy,2"),
        ("shift_jis", b"a,b\nx,1\n\x82\n\x81\xff,2\nz,3\n", "\ufffd\ufffd,2"),
        ("utf-16-be", b"\0a\0,\0b\0\n\0x\0,\0001\0\n\xd8\0\0,\0002\0\n\0z\0,\0003", "\ufffd,2"),
        ("utf-16-le", "a,b\nx,1\nz,3\ny,2".encode("utf-16-le")[:-1], "y,\ufffd"),
    ],
)
def test_bytes_that_do_not_decode_reject_their_row_alone(
    read: Reader, encoding: str, data: bytes, row: str
) -> None:
    result = read(data, "a string, b string", encoding=encoding)
    assert result.rows == [("x", "1"), ("z", "3")]
    rejected = result.rejected[-1]
    assert (rejected["reason"], rejected["row"].decode()) == ("bad_encoding", row)
    assert f"is not valid {encoding}; correct source.encoding" in rejected["detail"]


def test_a_row_that_is_not_utf_8_names_the_key_of_the_encoding(read: Reader) -> None:
    for name, data in (("t.csv", b"a\nx\n\xe9\n"), ("t.jsonl", b'{"a": "x"}\n{"a": "\xe9"}\n')):
        form = "csv" if name == "t.csv" else "jsonl"
        result = read(data, "a string", name=name, format=form)
        assert result.rows == [("x",)]
        assert (
            "not valid UTF-8; if the file has another encoding, set source.encoding"
            in (result.rejected[0]["detail"])
        )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-be", "cp1252", "gb18030"])
def test_json_lines_of_any_encoding_are_read(read: Reader, encoding: str) -> None:
    text = "".join(f'{{"ä": {i}, "name": "né{i}"}}\n' for i in range(9)) + "no\n"
    for size in (None, 1, 30):
        result = read(
            text.encode(encoding),
            COLUMNS,
            name="t.jsonl",
            format="jsonl",
            encoding=encoding,
            range_bytes=size,
        )
        assert result.rows == [(i, f"né{i}") for i in range(9)]
        assert [r["reason"] for r in result.rejected] == ["bad_json"]


def test_marks_where_files_were_joined_are_no_values(read: Reader) -> None:
    part = "\ufeffa,b\nx,1\ny,2\n"
    for encoding in ("utf-8", "utf-16-le"):
        for size in (None, 1):
            result = read(
                (part * 2).encode(encoding),
                "a string, b string",
                encoding=encoding,
                range_bytes=size,
            )
            assert result.rows == [("x", "1"), ("y", "2"), ("a", "b"), ("x", "1"), ("y", "2")]


def test_lines_above_and_below_the_header_are_skipped(read: Reader) -> None:
    data = 'Sales of 2013\n\n"a, b",b\n-,kg\n1,2\n3,4\n'
    for quoted_newlines in (False, True):
        for size in (None, 1, 3):
            result = read(
                data,
                "b int",
                skip_rows=2,
                skip_rows_after_header=1,
                quoted_newlines=quoted_newlines,
                range_bytes=size,
            )
            assert (result.rows, result.rejected) == ([(2,), (4,)], [])


def test_a_name_over_two_lines_is_read_where_values_may_be(read: Reader) -> None:
    data = '"a\r\n(kg)",b\r\n1,2\r\n'
    assert read(data, "b int", quoted_newlines=True).rows == [(2,)]


@pytest.mark.parametrize(
    ("data", "source", "sentence"),
    [
        (b"a\n1\n", {"skip_rows": 3}, "source.skip_rows is 3, and its first 4 bytes have fewer"),
        (b"a\n1\n", {"skip_rows": 2}, "is empty below the 2 lines of source.skip_rows"),
        (b"a\n1\n", {"skip_rows_after_header": 2}, "source.skip_rows_after_header is 2, and"),
        ("a\n1\n".encode("utf-16"), {}, "is UTF-16 text; set source.encoding: utf-16"),
        ("a\n1\n".encode("utf-16-le"), {}, "UTF-16-LE text; set source.encoding: utf-16-le"),
        ("a\n1\n".encode("utf-32"), {}, "is UTF-32 text; set source.encoding: utf-32"),
        ("\ufeffa\n1\n".encode(), {"encoding": "cp1252"}, "is UTF-8 text, by its mark"),
        (b"a,b\n1,2\n", {"encoding": "utf-16"}, "no byte-order mark, which source.encoding: utf-1"),
        (b"\xe9\n1\n", {}, "byte 0 of the header is not valid UTF-8"),
        (b"\x81\n1\n", {"encoding": "cp1252"}, "byte 0 of the header is not valid cp1252"),
    ],
)
def test_a_key_that_does_not_suit_its_file_is_one_sentence(
    read: Reader, data: bytes, source: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SourceError) as refused:
        read(data, "a int", **source)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        *(({"encoding": n}, "is no encoding of text; write one") for n in ("utf8mb4", "base64")),
        *(({"encoding": n}, "is no encoding of text; write one") for n in ("rot13", "idna", "a b")),
        ({"encoding": "cp1252", "format": "parquet"}, "encoding is for text"),
        ({"skip_rows": 1, "format": "jsonl"}, "are for a CSV; leave them out"),
        ({"skip_rows": -1}, "greater than or equal to 0"),
    ],
)
def test_a_spec_with_an_impossible_key_is_refused(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Source(uri=("t",), **keys)
