"""A file that is no table is refused by `quatrain init`, with what would make one of it."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from quatrain.components.errors import QuatrainError
from quatrain.draft.infer import infer
from quatrain.draft.sample.not_a_table import check_head

OBJECTS = [{"a": i, "y": i % 2} for i in range(40)]
ROWS = "".join(f"{i},{i % 7},{i % 2}\n" for i in range(40))
PLAIN = f"a,b,y\n{ROWS}"

LOG = "".join(f"job {i} has begun to run{' at last' * (i % 3 == 0)}\n" for i in range(20))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.json", json.dumps(OBJECTS), "is one JSON array; "),
        ("t.json", json.dumps(OBJECTS, indent=1), "jq -c '.[]' "),
        ("t.json", json.dumps({"of": OBJECTS}), """jq -c '.["of"][]' """),
        ("t.json", json.dumps({"of": OBJECTS}, indent=1), "over several lines"),
        ("t.json", json.dumps({"a": [1, 2], "y": [0, 1]}), "is one JSON object of columns"),
        ("t.json", "[1, 2]\n[3, 4]\n", "holds a JSON array in each line"),
        ("t.csv", "40,3,a,b\n" + "0.5,1.5,2\n" * 40, "its rows seem to begin in line 2"),
        ("t.csv", f"b,y\n{ROWS}", "names 2 columns in its first line, and most others have 3"),
        ("t.csv", PLAIN.replace(",", " "), "separates its 3 columns by blanks"),
        ("t.csv", PLAIN.replace(",", ":"), "separates its 3 columns by ':'; write another delim"),
        ("passwd", "r:x:0:0:a,b:/\n" + "d:x:1:1:d:/usr\n" * 9, "tr : ';' < "),
        ("t.log", LOG, "is no table but text: its first line is 'job 0 has begun to run at last'"),
        ("t.csv", f"a,b,y,z\n{ROWS}", "names 4 columns in its first line, and most others have 3"),
        ("t.csv", f"<html>{PLAIN}", "is HTML or XML"),
        ("t.csv", f"@RELATION r\n{PLAIN}", "is ARFF"),
        ("t.xlsx", b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml", "is a workbook"),
        ("t.csv", f"0.5,1e-3,-2\n{ROWS}", "the first line seems to be a row"),
        ("t.csv", PLAIN.replace("6,", "Ж,").encode("cp1251"), "Ж' in cp1251"),
        ("t.csv", PLAIN.replace("6,", "\xfc,").encode("cp1252"), "iconv -f NAME -t utf-8 < "),
        ("t.csv.gz", gzip.compress(json.dumps(OBJECTS).encode()), "is one JSON array"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_the_way_out(
    init, name: str, text, sentence: str
) -> None:
    with pytest.raises(QuatrainError) as refused:
        init(text, "y", name)
    assert sentence in str(refused.value)
    assert name in str(refused.value)


@pytest.mark.parametrize("header", ["note", "What is your opinion of it"])
def test_a_table_of_one_column_stays_a_table(header: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join([header, *(f"{i:02}:30" for i in range(20))]))
    check_head(str(tmp_path / "t.csv"))


@pytest.mark.parametrize("kind", ["flowers", "people", "blanks", "pixels"])
def test_rows_without_a_header_are_refused_with_the_command_that_names_them(
    init, chance, tmp_path: Path, kind: str
) -> None:
    one_of = chance.choice
    cells = {
        "flowers": lambda: [f"{5 + chance.random():.1f}", f"{chance.random():.1f}", one_of("uvw")],
        "people": lambda: [one_of(["State-gov", "Private"]), one_of(["M", "F"]), "40"],
        "blanks": lambda: [40, one_of([" State-gov", " Private"]), one_of([" M", " F"])],
        "pixels": lambda: [one_of(range(3)) for _ in range(9)] + [one_of(range(50, 90))],
    }[kind]
    rows = [cells() for _ in range(200)]
    text = "".join(",".join(map(str, row)) + "\n" for row in [rows[7], *rows])
    with pytest.raises(QuatrainError) as refused:
        init(text, str(rows[7][-1]))
    assert "there is no header: the first line seems to be a row" in str(refused.value)
    command = str(refused.value).rpartition("than these: ")[2]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)  # noqa: S602 - our own command
    named = (tmp_path / "new-t.csv").read_text()
    assert named.startswith("c1,c2,c3")
    assert named.endswith(text)


def test_a_command_unpacks_a_file_and_never_writes_over_it(init, tmp_path: Path) -> None:
    text = PLAIN.replace(",", " ")
    for name, content in (("t.csv", text), ("t.csv.gz", gzip.compress(text.encode()))):
        with pytest.raises(QuatrainError) as refused:
            init(content, "y", name)
        command = str(refused.value).rpartition("write commas: ")[2]
        subprocess.run(command, shell=True, cwd=tmp_path, check=True)  # noqa: S602 - our own command
        new = tmp_path / ("new-t.csv" if name == "t.csv" else "t.csv")
        assert new.read_text() == PLAIN


def test_a_decimal_comma_is_not_taken_for_the_delimiter_of_a_title(init, chance) -> None:
    rows = "".join(f"{i % 9};0,{chance.randint(1, 99)};{i % 2}\n" for i in range(60))
    assert init(f"a;b;y\n{rows}", "y").spec.source.delimiter == ";"


def test_a_header_of_whole_numbers_is_a_header(init, chance) -> None:
    rows = [[chance.randint(0, 9), chance.randint(0, 9), i % 2] for i in range(60)]
    table = "0,1,2\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    assert "seems to be a row" not in init(table, "2").path.read_text()
    assert "seems to be a row" in init(table.replace("0,1,2", "0.5,1.5,2", 1), "2").path.read_text()


@pytest.mark.parametrize("at", [0, 1, 5, 20, 60])
def test_a_carriage_return_inside_a_line_is_refused_or_rejects_its_row(
    tmp_path: Path, at: int
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(PLAIN[:at] + "\r" + PLAIN[at:], newline="")
    if at < 5:
        with pytest.raises(QuatrainError, match="carriage return"):
            infer(str(path), "y")
    else:
        assert at == 5 or "1 stray_return" in str(infer(str(path), "y").remarks)
