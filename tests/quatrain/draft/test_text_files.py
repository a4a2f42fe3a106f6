"""Any text file that people call a CSV: `init` writes how it is read, and all doors read it so."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.specification.schema import ModelSpec
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.read import read_range
from quatrain.draft.profile.sample import draw_sample

N = 60
ROWS = [
    f"r{i},{i * 37 % 61 / 10},{'Zürich' if i % 3 else 'Bern'},{'yes' if i * 37 % 61 > 30 else 'no'}"
    for i in range(N)
]
NAMES = "id,length,town,y"
PLAIN = "\n".join([NAMES, *ROWS]) + "\n"


def rows_of(spec: ModelSpec, range_bytes: int | None = None) -> tuple[list[Any], list[Any]]:
    """Returns the rows and the rejected rows of a source, as the preprocess step reads it."""
    rows: list[Any] = []
    rejected: list[Any] = []
    for span in plan_ranges(spec.source, spec.columns, range_bytes, spellings=spec.spellings):
        for block in read_range(span, spec.source, spec.columns, spec.spellings):
            good = block.without_faults()
            rows += good.batch.to_pylist()
            rejected += good.rejected.to_pylist()
    return rows, rejected


def settings_of(spec: ModelSpec) -> dict[str, Any]:
    """Returns what the source says about the text, where it is not the default."""
    document = spec.source.model_dump(exclude_defaults=True)
    return {key: value for key, value in document.items() if key not in ("uri", "nulls")}


TITLED = "\n".join(["Towns;;;", ";;;", NAMES.replace(",", ";"), *ROWS]).replace(",", ";") + "\n"
CASES = {
    "plain": (PLAIN, "utf-8", {}),
    "mark": (PLAIN, "utf-8-sig", {}),
    "utf-16": (PLAIN, "utf-16", {"encoding": "utf-16"}),
    "utf-16 without a mark": (PLAIN, "utf-16-be", {"encoding": "utf-16-be"}),
    "utf-32": (PLAIN, "utf-32", {"encoding": "utf-32"}),
    "cp1252": (PLAIN, "cp1252", {"encoding": "cp1252"}),
    "cp1252 with a euro": (PLAIN.replace("Bern", "€uro"), "cp1252", {"encoding": "cp1252"}),
    "cp1252 in the header": (
        PLAIN.replace("Zürich", "Chur").replace("length", "länge"),
        "cp1252",
        {"encoding": "cp1252"},
    ),
    "title": (f"Towns of 2013\n\n{PLAIN}", "utf-8", {"skip_rows": 2}),
    "title with commas": (f"Towns, of 2013\n{PLAIN}", "utf-8", {"skip_rows": 1}),
    "title and CRLF": (
        f"Towns\n{PLAIN}".replace("\n", "\r\n"),
        "utf-16",
        {"skip_rows": 1, "encoding": "utf-16"},
    ),
    "padded title": (TITLED, "utf-8", {"skip_rows": 2, "delimiter": ";"}),
    "comments": (f"# by A, B, C\n# of 2013\n{PLAIN}", "utf-8", {"skip_rows": 2}),
    "comment with as many commas": (f"# by A, B, C\n{PLAIN}", "utf-8", {"skip_rows": 1}),
    "sep": (f"sep=;\n{PLAIN.replace(',', ';')}", "utf-8", {"skip_rows": 1, "delimiter": ";"}),
    "quoted sep": (
        f'"sep=;"\n{PLAIN.replace(",", ";")}',
        "cp1252",
        {"skip_rows": 1, "delimiter": ";", "encoding": "cp1252"},
    ),
    "many lines": ("About\n" * 40 + PLAIN, "utf-8", {"skip_rows": 40}),
    "units": (PLAIN.replace("y\n", "y\n-,km,-,-\n", 1), "utf-8", {"skip_rows_after_header": 1}),
    "units and words": (
        PLAIN.replace("y\n", "y\n,km,,\nnumber,how long,name,so\n", 1),
        "utf-8",
        {"skip_rows_after_header": 2},
    ),
    "title and units": (
        f"Towns\n{PLAIN}".replace("y\n", "y\n,[km],,\n", 1),
        "cp1252",
        {"skip_rows": 1, "skip_rows_after_header": 1, "encoding": "cp1252"},
    ),
    "tabs": (PLAIN.replace(",", "\t"), "utf-16", {"delimiter": "\t", "encoding": "utf-16"}),
    "bars": (PLAIN.replace(",", "|"), "utf-8", {"delimiter": "|"}),
    "empty lines": (PLAIN.replace("\n", "\n\n"), "utf-8", {"skip_rows_after_header": 0}),
    "no last line end": (PLAIN[:-1], "utf-8", {}),
    "mixed line ends": (PLAIN.replace("no\n", "no\r\n"), "utf-8", {}),
    "line ends in cells": (PLAIN.replace("Bern", '"Be\nrn"'), "utf-8", {"quoted_newlines": True}),
    "a line end in a name": (PLAIN.replace("town", '"to\nwn"'), "utf-8", {"quoted_newlines": True}),
}


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("case", CASES)
def test_init_writes_how_a_file_is_read_and_every_row_is(init, case: str, name: str) -> None:
    text, encoding, settings = CASES[case]
    data = text.encode(encoding)
    spec = init(gzip.compress(data) if name.endswith("gz") else data, "y", name).spec
    assert settings_of(spec) == {k: v for k, v in settings.items() if v}
    whole = rows_of(spec)
    assert len(whole[0]) == N
    assert [row["y"] for row in whole[0]] == [row.rpartition(",")[2] for row in ROWS]
    assert not whole[1]
    assert set(spec.columns.values()) == {"string", "float"}
    for range_bytes in (1, 100):
        assert rows_of(spec, range_bytes) == whole


def test_an_encoding_of_single_bytes_is_a_question_with_a_text_to_look_at(init) -> None:
    proposal = init(PLAIN.encode("cp1252"), "y")
    question = proposal.draft.questions[0]
    assert "is read as cp1252, in which 'Zürich' is a text of the file" in question.text
    assert question.lines == ("encoding: cp1250  # below source",)


def test_bytes_that_are_not_utf_8_far_below_the_head_tell_the_encoding(init) -> None:
    rows = [row.replace("Zürich", "Chur") for row in ROWS] * 80
    text = "\n".join([NAMES, *rows, *ROWS]) + "\n"
    assert len(text) > 1 << 16
    spec = init(text.encode("cp1252"), "y").spec
    assert spec.source.encoding == "cp1252"
    assert not rows_of(spec)[1]


def test_a_few_rows_of_another_encoding_among_utf_8_are_rejected_rows(init) -> None:
    data = PLAIN.encode() + "r99,1.5,Genève,no\n".encode("cp1252")
    proposal = init(data, "y")
    assert proposal.spec.source.encoding == "utf-8"
    assert "1 bad_encoding" in proposal.path.read_text()
    assert [r["reason"] for r in rows_of(proposal.spec)[1]] == ["bad_encoding"]


@pytest.mark.parametrize(
    ("encoding", "settings"),
    [
        ("utf-8-sig", {}),
        ("utf-16", {"encoding": "utf-16"}),
        ("utf-16-le", {"encoding": "utf-16-le"}),
        ("cp1252", {"encoding": "cp1252"}),
    ],
)
def test_json_lines_of_another_encoding_are_read(
    init, encoding: str, settings: dict[str, Any]
) -> None:
    rows = [dict(zip(NAMES.split(","), row.split(","), strict=True)) for row in ROWS]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    spec = init(text.encode(encoding), "y", "t.jsonl").spec
    assert settings_of(spec) == {"format": "jsonl", **settings}
    assert len(rows_of(spec)[0]) == N


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("0.0,", "error,"),  # a stray cell in the first row
        PLAIN.replace("0.0,", ","),
        PLAIN.replace("0.0,", "NA,"),
        PLAIN.replace("y\n", f"y\n{NAMES}\n", 1),  # the header twice
        PLAIN.replace("length", ""),
        ",".join(["name", "town", "y"]) + "\n" + "a,b,c\n" * 3 + "d,e,f\n" * 30 + "a,b,f\n" * 30,
    ],
)
def test_a_first_row_is_never_taken_for_units_nor_a_header_for_a_title(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    source = draw_sample(str(tmp_path / "t.csv")).source
    assert (source.skip_rows, source.skip_rows_after_header) == (0, 0)


def test_what_is_left_out_around_the_header_stands_in_the_spec(init) -> None:
    text = init(f"Towns of 2013\n{PLAIN}".replace("y\n", "y\n-,km,,\n", 1), "y").path.read_text()
    comments = " ".join(text.replace("#", "").split())
    assert "the header is in line 2; source.skip_rows leaves out what stands above" in comments
    assert "1 line of units or the like: '-, km'" in comments


def test_a_comment_that_names_the_columns_is_the_header(init) -> None:
    assert "#id" in init(f"# of 2013\n#{PLAIN}", "y").spec.columns
