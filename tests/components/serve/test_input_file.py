"""The file to predict: its encoding, delimiter and header may differ from those of training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.csv as pacsv
import pytest

from quatrain.components.errors import SourceError
from quatrain.components.serve.input_file import source_of
from quatrain.components.serve.predict import predict
from quatrain.trainer.features.transform import TextFormat
from tests.components.handmade import make_transform

ROWS = "carrier,delay\nÜA,30\n"
UNITS = "carrier,delay\n-,min\nÜA,30\n"


@pytest.mark.parametrize(
    ("training", "text", "encoding", "settings"),
    [
        (TextFormat(), ROWS, "utf-8", ("utf-8", ",", 0, 0)),
        (TextFormat(), ROWS, "utf-16", ("utf-16", ",", 0, 0)),
        (TextFormat(), ROWS, "utf-16-be", ("utf-16-be", ",", 0, 0)),
        (TextFormat(encoding="utf-16"), ROWS, "utf-8", ("utf-8", ",", 0, 0)),
        (TextFormat(encoding="utf-16"), ROWS.replace("Ü", "U"), "utf-8", ("utf-8", ",", 0, 0)),
        (TextFormat(encoding="cp1250"), ROWS, "cp1250", ("cp1250", ",", 0, 0)),
        (TextFormat(encoding="cp1250"), ROWS, "utf-8", ("utf-8", ",", 0, 0)),
        (TextFormat(encoding="cp1250"), ROWS.replace("Ü", "U"), "utf-8", ("cp1250", ",", 0, 0)),
        (TextFormat(skip_rows=1), f"# rows\n{ROWS}", "utf-8", ("utf-8", ",", 1, 0)),
        (TextFormat(skip_rows=1), ROWS.replace(",", ";"), "utf-8", ("utf-8", ";", 0, 0)),
        (TextFormat(skip_rows_after_header=1), UNITS, "utf-8", ("utf-8", ",", 0, 1)),
        (TextFormat(skip_rows_after_header=1), ROWS, "utf-8", ("utf-8", ",", 0, 0)),
        (TextFormat(skip_rows_after_header=1), ROWS, "utf-16", ("utf-16", ",", 0, 0)),
        (TextFormat(skip_rows_after_header=1), UNITS, "utf-16", ("utf-16", ",", 0, 1)),
        (TextFormat(skip_rows_after_header=1), ROWS[:14], "utf-8", ("utf-8", ",", 0, 0)),
    ],
)
def test_a_file_is_read_as_in_training_unless_it_shows_another_way(
    training: TextFormat,
    text: str,
    encoding: str,
    settings: tuple[str, str, int, int],
    tmp_path: Path,
) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    transform = replace(make_transform(), text=training)
    source = source_of(str(tmp_path / "t.csv"), transform)
    assert settings == (
        *(source.encoding, source.delimiter, source.skip_rows, source.skip_rows_after_header),
    )


@pytest.mark.parametrize(
    ("text", "encoding", "sentence"),
    [
        (f"Report\n\n{ROWS}", "utf-8", "stands in line 3, and in the table of training it stood"),
        (f"Report\n\n{ROWS}", "utf-8", "2 lines stand above it: remove them with: tail -n +3 "),
        (f"Report,,\n{ROWS}".replace(",", ";"), "utf-8", "1 line stands above it"),
        (f"Report\n{ROWS}", "utf-16", "1 line stands above it: remove them"),
    ],
)
def test_a_header_below_lines_that_training_had_not_is_named_with_the_way_out(
    text: str, encoding: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    with pytest.raises(SourceError) as refused:
        source_of(str(tmp_path / "t.csv"), make_transform())
    assert sentence in str(refused.value)


def test_predict_reads_utf_16_as_the_same_rows(tmp_path: Path, models: dict[str, Path]) -> None:
    text = "carrier,delay\nUA,30\nÜ,1\n"
    for name, encoding in (("a.csv", "utf-8"), ("b.csv", "utf-16"), ("c.csv", "utf-16-le")):
        (tmp_path / name).write_bytes(text.encode(encoding))
        out = tmp_path / f"out-{name}"
        predict(models["binary"], tmp_path / name, out, keep=["carrier"], trust=True)
        assert out.read_bytes() == (tmp_path / "out-a.csv").read_bytes()
    assert pacsv.read_csv(out)["carrier"].to_pylist() == ["UA", "Ü"]


def test_a_row_of_utf_16_that_cannot_be_predicted_is_named_by_its_line(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    text = "carrier,delay\nUA,30\nÜ,soon\n"
    (tmp_path / "t.csv").write_bytes(text.encode("utf-16"))
    rejected = tmp_path / "rejected.csv"
    out = tmp_path / "o.csv"
    predict(models["binary"], tmp_path / "t.csv", out, rejected=rejected, trust=True)
    assert pacsv.read_csv(rejected)["line"].to_pylist() == [3]
    assert pacsv.read_csv(rejected)["row"].to_pylist() == ["Ü,soon"]
