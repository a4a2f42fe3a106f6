"""`quatrain predict` on rows of the command line and of standard input: as on a file's rows."""

import csv
import errno
import io
import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.cli import main
from quatrain.components.errors import SourceError
from quatrain.components.serve.piped_rows import file_of
from tests.components.handmade import export_model

ROWS = '{"delay": 30, "carrier": "UA", "id": "a"}\n{"delay": null, "carrier": "B6", "id": "b"}\n'


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {t: export_model(folder / t, t) for t in ("binary", "multiclass", "regression")}


@pytest.fixture
def predict(models, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(task, *words, stdin=b""):
        pipe = None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))
        monkeypatch.setattr(sys, "stdin", pipe)
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(models[task]), "--trust", *map(str, words)])
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


def numbers_of(rows):
    """The numbers of all rows, as float32 has them."""
    return pa.array([v for row in rows for v in row.values() if v.__class__ is float], "float32")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_rows_of_the_command_line_a_pipe_and_a_file_get_the_same_answers(predict, tmp_path, task):
    (tmp_path / "rows.jsonl").write_text(ROWS)
    assert predict(task, "rows.jsonl", "-o", "out.parquet")[0] == 0
    expected = pq.read_table("out.parquet").to_pylist()
    first, second = ROWS.splitlines()
    table = io.BytesIO()
    pq.write_table(pa.table({"delay": [30.0, None], "carrier": ["UA", "B6"]}), table)
    for words, stdin in (
        (["--row", first, "--row", second], b""),
        (["-"], ROWS.encode()),
        (["-"], b"\xef\xbb\xbfcarrier;delay\r\nUA;30\r\nB6;\r\n"),
        (["-"], table.getvalue()),
    ):
        code, out, err = predict(task, *words, "--json", stdin=stdin)
        assert (code, err) == (0, "")
        answers = json.loads(out)
        assert [list(row) for row in answers] == [list(row) for row in expected]
        assert numbers_of(answers) == numbers_of(expected)
    assert sorted(os.listdir()) == ["out.parquet", "rows.jsonl"]


def test_the_classes_of_one_row_come_likeliest_first(predict):
    code, out, err = predict("multiclass", "--row", '{"delay": 30,\n "carrier": "UA"}')
    assert (code, err) == (0, "")
    names, values = zip(*(line.split() for line in out.splitlines()), strict=True)
    assert sorted(names) == ["a", "b", "c"]
    assert sorted(values, reverse=True) == list(values)
    assert sum(map(float, values)) == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_printed_numbers_have_the_digits_of_a_file(predict, tmp_path, task):
    (tmp_path / "rows.jsonl").write_text(ROWS)
    assert predict(task, "rows.jsonl", "-o", "out.csv")[0] == 0
    with open("out.csv", newline="") as file:
        of_file = [{*row} for row in csv.reader(file)][1:]
    _, out, _ = predict(task, "-", stdin=ROWS.encode())
    assert all(
        {*line.split()} <= row for line, row in zip(out.splitlines()[1:], of_file, strict=True)
    )


def test_the_answer_of_a_regression_is_a_number(predict):
    code, out, _ = predict("regression", "--row", '{"delay": 30, "carrier": "UA"}')
    assert code == 0
    assert float(out) == pytest.approx(float(out.strip()))
    code, table, _ = predict("regression", "-", stdin=ROWS.encode())
    assert table.splitlines()[:2] == ["prediction", out.strip()]


def test_several_rows_are_a_table_with_the_columns_to_keep(predict):
    code, out, err = predict("binary", "-", "--keep", "id", stdin=ROWS.encode())
    assert (code, err) == (0, "")
    head, *lines = [line.split() for line in out.splitlines()]
    assert head == ["id", "predicted_class", "probability"]
    assert [line[0] for line in lines] == ["a", "b"]
    assert all(line[1] in ("true", "false") and 0.5 <= float(line[2]) <= 1 for line in lines)


def test_standard_input_is_predicted_to_a_file_too(predict):
    code, out, _ = predict("regression", "-", "-o", "out.csv", stdin=ROWS.encode())
    assert (code, out) == (0, "2 rows to out.csv: prediction\n")
    code, out, _ = predict("regression", "-", "-o", "out.csv", "--json", stdin=ROWS.encode())
    answer = {"path": "out.csv", "rows": 2, "columns": ["prediction"], "rejected": 0}
    assert json.loads(out) == answer


@pytest.mark.parametrize(
    ("words", "stdin", "sentence"),
    [
        (["--row", '{"delay": 30}'], b"", "error: --row: there is no column 'carrier'"),
        (["--row", '{"delay": 30, "carier": "UA"}'], b"", "did you mean 'carier'?"),
        (["--row", '{"delay": "soon", "carrier": "UA"}'], b"", "error: --row, line 1: "),
        (["-"], b"delay,carrier\n1,UA\nsoon,UA\n", "error: standard input, line 3: "),
        (["-"], b"", "error: standard input"),
    ],
)
def test_a_row_that_cannot_be_predicted_is_named_by_where_it_came_from(
    predict, words, stdin, sentence
):
    code, out, err = predict("binary", *words, stdin=stdin)
    assert (code, out) == (1, "")
    assert sentence in err
    assert "quatrain-predict" not in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name one INPUT, or give rows by --row"),
        (["rows.csv", "--row", "{}"], "name one INPUT, or give rows by --row"),
        (["--row", "delay=5"], "--row 'delay=5': write a JSON object, such as --row '{"),
        (["--row", "[1]"], "write a JSON object"),
        (["--row", "[" * 100_000], "write a JSON object"),
    ],
)
def test_rows_that_are_no_objects_are_a_wrong_command_line(predict, words, sentence):
    code, out, err = predict("binary", *words)
    assert (code, out) == (2, "")
    assert sentence in err


def test_a_closed_standard_input_is_a_wrong_command_line(predict):
    code, out, err = predict("binary", "-", stdin=None)  # as Python finds it after `<&-`
    assert (code, out) == (2, "")
    assert err.startswith("error: standard input is closed; name a file, or give rows by --row")


def test_a_full_disk_of_temporary_files_is_a_sentence():
    class Pipe(io.BytesIO):
        def read(self, *_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sentence = "standard input cannot be copied to .*: No space left on device; put its rows into"
    with pytest.raises(SourceError, match=sentence), file_of(Pipe(), "standard input"):
        pass


def test_unreadable_rows_of_a_pipe_can_be_written_to_a_file(predict):
    rows = b"delay,carrier\n1,UA\nsoon,UA\n"
    code, out, err = predict("regression", "-", "--rejected", "bad.csv", stdin=rows)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
    with open("bad.csv") as file:
        assert '"soon,UA"' in file.read()
