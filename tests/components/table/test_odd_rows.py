"""Rows that pyarrow would read wrong, in silence: each is read right or rejected."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Reader = Callable[..., Any]
GOOD = [("x", "1"), ("z", "3")]


@pytest.mark.parametrize("quoted_newlines", [False, True])
@pytest.mark.parametrize("row", ["\0y,2", "y,2\0", "y\0y,2", '"y\0",2', "y,\0"])
def test_a_row_with_a_nul_byte_is_rejected(read: Reader, row: str, quoted_newlines: bool) -> None:
    for size in (None, 1, 6):
        result = read(
            f"a,b\nx,1\n{row}\nz,3\n",
            "a string, b string",
            quoted_newlines=quoted_newlines,
            range_bytes=size,
        )
        assert result.rows == GOOD
        assert result.reasons == [(8, "nul_byte")]
        assert "tr -d '\\000' < " in result.rejected[0]["detail"]


def test_a_row_of_json_with_a_nul_byte_is_rejected(read: Reader) -> None:
    data = '{"a": "x"}\n{"a": "y\0"}\n'
    result = read(data, "a string", name="t.jsonl", format="jsonl")
    assert (result.rows, [r["reason"] for r in result.rejected]) == ([("x",)], ["bad_json"])


ESCAPED = [
    r'"a \"deal\" on it"',
    r'"\"deal\""',
    r'"deal \"x\""',
    r'"a \", b"',
    r'"a, \"b\""',
    r'"\""',
    r'"one \" alone"',
    r'"C:\\ and \"x\" too"',
]


@pytest.mark.parametrize("cell", ESCAPED)
@pytest.mark.parametrize("place", ["{},2", "2,{}"])
def test_a_quote_that_a_backslash_escapes_rejects_its_row(
    read: Reader, cell: str, place: str
) -> None:
    result = read(f"a,b\nx,1\n{place.format(cell)}\nz,3\n", "a string, b string")
    assert result.rows == GOOD
    assert {r["reason"] for r in result.rejected} <= {"escaped_quote", "long_row"}


@pytest.mark.parametrize("cell", [r'"C:\"', r'"C:\""x"""', r"C:\dir", r"a\"b", r'"a\b"', r'"\\"'])
def test_a_backslash_in_a_csv_is_a_character(read: Reader, cell: str) -> None:
    value = next(csv.reader([cell]))[0]
    result = read(f"a,b\nx,1\n{cell},2\n", "a string, b string")
    assert result.rows == [("x", "1"), (value, "2")]


def test_the_command_for_escaped_quotes_writes_what_they_mean(read: Reader, tmp_path: Path) -> None:
    cells = ESCAPED[:-1]
    data = "a,b\n" + "".join(f"{cell},2\n" for cell in cells)
    detail = read(data, "a string, b string").rejected[0]["detail"]
    command = detail.partition("this doubles it: ")[2]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)  # noqa: S602 - our own command
    rows = list(csv.reader((tmp_path / "new-t.csv").read_text().splitlines()))[1:]
    meant = list(csv.reader(data.splitlines()[1:], escapechar="\\", doublequote=False))
    assert rows == meant


DELIMITERS = [",", ";", "\t", "|"]


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("quoted_newlines", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "a,b\nx,1,\n,2,\nz,,\n",
        "a,b\nx,1,,\n,2,,\nz,,,\n",
        "a,b\r\nx,1,\r\n,2\r\nz,,,\r\n",
        "a,b,\nx,1\n,2\nz,,\n",
        "a,b,,\nx,1,,\n,2\nz,,\n",
        "a,b\nx,1\n,2,\nz,",
        'a,b\n"x",1,\n,"2",\nz,,',
    ],
)
def test_empty_values_beyond_the_header_are_not_read(
    read: Reader, text: str, delimiter: str, quoted_newlines: bool
) -> None:
    for size in (None, 1, 5):
        result = read(
            text.replace(",", delimiter),
            "a string, b int",
            delimiter=delimiter,
            quoted_newlines=quoted_newlines,
            range_bytes=size,
        )
        assert result.rows == [("x", 1), (None, 2), ("z", None)]
        assert result.rejected == []


def test_values_beyond_the_header_keep_all_its_rows_rejected(read: Reader) -> None:
    # As R writes them, the first value is the row's name: read on, all would stand one too far.
    result = read("x,y\nr1,5,yes\nr2,6,\n", "x string, y string")
    assert (result.rows, len(result.rejected)) == ([], 2)
    result = read("a,b\nx,1,\ny,2,3\n", "a string, b int")
    assert [r["reason"] for r in result.rejected] == ["long_row", "long_row"]


def test_a_long_row_among_rows_with_empty_values_is_rejected(read: Reader) -> None:
    rows = "x,1,\n" * 300_000 + "y,2,3\n"
    result = read(f"a,b\n{rows}", "a string, b int")
    assert len(result.rows) == 300_000
    assert [r["reason"] for r in result.rejected] == ["long_row"]


@pytest.mark.parametrize("size", [None, 1, 9])
def test_a_rejected_row_keeps_the_empty_values_beyond_the_header(
    read: Reader, size: int | None
) -> None:
    result = read("a,b\n1,x,\n?,y,\n3,z,\n4\n", "a int, b string", range_bytes=size)
    assert result.rows == [(1, "x"), (3, "z")]
    assert [(r["position"], r["row"]) for r in result.rejected] == [(9, b"?,y,"), (19, b"4")]
