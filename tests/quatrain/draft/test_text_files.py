"""Any text file that people call a CSV: `init` writes how it is read, and all doors read it so."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.errors import QuatrainError
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.read import read_range
from quatrain.draft.sample.sampling import draw_sample
from quatrain.validation.sample import check

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
    assert "is read as cp1252, which makes one of its texts 'Zürich'" in question.text
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


@pytest.mark.parametrize(
    ("footer", "line", "rule"),
    [
        ("(60 rows)\n", "line 62 is '(60 rows)'", None),
        ("\nSource: A, B\n", "line 63 is 'Source: A, B'", None),
        ("Total,99.5,,\n", "'Total' in 'id'", "\"id\" = 'Total'"),
        (",99.5,Grand Total,yes\n", "'Grand Total' in 'town'", "\"town\" = 'Grand Total'"),
        ("Source: A;,,,\nMean,3.5,,\n", "'Source: A;' in 'id', 'Mean' in 'id'", " OR "),
        (",Total,,\n", "'Total' in 'length'", None),
    ],
)
def test_a_footer_is_named_with_how_it_is_rejected(
    init, footer: str, line: str, rule: str | None
) -> None:
    proposal = init(PLAIN + footer, "y")
    comments = " ".join(proposal.path.read_text().replace("#", "").split())
    assert line in comments
    assert (rule is None) == ("footer" not in proposal.spec.clean.reject)
    assert rule is None or rule in proposal.spec.clean.reject["footer"]
    assert proposal.spec.columns["length"] == "float"
    report = check(proposal.spec)
    assert report.sample is not None
    assert report.sample.rejected == max(footer.count("\n") - footer.startswith("\n"), 1)


def test_a_word_for_a_sum_that_stands_elsewhere_is_a_value(init) -> None:
    spec = init(PLAIN.replace("Bern", "Total") + "r99,1.5,Total,yes\n", "y").spec
    assert "footer" not in spec.clean.reject


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("k", [1, 2])
def test_rows_that_end_with_more_delimiters_than_the_header_are_read(
    init, delimiter: str, k: int
) -> None:
    for rows in (ROWS, ROWS[:30]):
        text = PLAIN
        for row in rows:
            text = text.replace(f"{row}\n", f"{row}{',' * k}\n")
        proposal = init(text.replace(",", delimiter), "y")
        assert len(rows_of(proposal.spec)[0]) == N
        assert not rows_of(proposal.spec)[1]
        comments = " ".join(proposal.path.read_text().replace("#", "").split())
        assert "more than the header has names for; the empty values there are not" in comments


def test_names_of_rows_as_r_writes_them_keep_their_advice(init) -> None:
    rows = "".join(f"{i},{i % 7},{'NA' if i % 5 else ''},{i % 2}\n" for i in range(N))
    with pytest.raises(QuatrainError, match="write a name for them at its beginning"):
        init(f"a,b,y\n{rows}", "y")


@pytest.mark.parametrize("n", [1, 30])
def test_quotes_that_backslashes_escape_are_refused_with_the_command_that_doubles_them(
    init, n: int, tmp_path: Path
) -> None:
    text = PLAIN.replace("Bern", r'"a \"big\" town"', n)
    with pytest.raises(QuatrainError) as refused:
        init(text, "y")
    assert "a backslash escapes a quote, which a CSV doubles" in str(refused.value)
    command = str(refused.value).partition("this doubles it: ")[2]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)  # noqa: S602 - our own command
    spec = init((tmp_path / "new-t.csv").read_text(), "y").spec
    assert sum(row["town"] == 'a "big" town' for row in rows_of(spec)[0]) == min(n, N // 3)


def test_a_row_with_a_nul_byte_is_a_rejected_row_with_its_line(init) -> None:
    proposal = init(PLAIN.replace("r6,", "r6\0,"), "y")
    comments = " ".join(proposal.path.read_text().replace("#", "").split())
    assert "1 nul_byte; they are rejected; line 8 is" in comments
    assert "\0" not in proposal.path.read_text()


@pytest.mark.parametrize("delimiter", ["~", "^", "\x01"])
def test_rare_delimiters_are_found(init, delimiter: str) -> None:
    spec = init(PLAIN.replace(",", delimiter), "y").spec
    assert (spec.source.delimiter, len(rows_of(spec)[0])) == (delimiter, N)


@pytest.mark.parametrize("separator", ["::", "||"])
def test_separators_of_two_characters_are_refused_with_the_command_that_writes_one(
    init, separator: str, tmp_path: Path
) -> None:
    with pytest.raises(QuatrainError, match="a delimiter is one character") as refused:
        init(PLAIN.replace(",", separator), "y")
    command = str(refused.value).partition("if no value has it: ")[2]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)  # noqa: S602 - our own command
    assert (tmp_path / "new-t.csv").read_text() == PLAIN


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (PLAIN.replace(",yes", ",yes\0"), "nul_byte: the row has a NUL byte"),
        (PLAIN.replace("no\n", "no\r"), "a carriage return alone breaks it; tr"),
        (PLAIN.replace("\n", "\r"), "lines end with a carriage return alone"),
        (PLAIN.replace("Bern,", "Bern,x,"), "long_row: 5 values for 4 columns"),
    ],
)
def test_many_rows_that_do_not_parse_are_the_reason_of_a_refusal(
    init, text: str, sentence: str
) -> None:
    with pytest.raises(QuatrainError) as refused:
        init(text, "y")
    assert sentence in str(refused.value)
