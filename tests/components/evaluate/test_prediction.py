from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from components.errors import ArtifactError, DataError, SourceError
from components.evaluate.prediction import predict
from components.evaluate.run import evaluate_model
from tests.components.evaluate.handmade import make_rows, make_spec, write_examples

CSV = "carrier,ignored,delay\nUA,1,30\n,2,NA\nXX,3,-10.5\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A raw CSV with its columns in another order, one too many, and missing values."""
    path = tmp_path / "raw.csv"
    path.write_text(CSV)
    return path


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_rows_are_answered_in_their_order(
    source: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    made = predict(models["binary"], source, tmp_path / "out.csv")
    # UA adds .6 to (30 - 10) / 20; a missing delay is 0, a missing carrier adds 0; XX adds .1.
    expected = [sigmoid(1.6), sigmoid(-0.5), sigmoid(-1.025 + 0.1)]
    table = pacsv.read_csv(made.path)
    assert made.rows == 3
    assert made.columns == ("probability_false", "probability_true", "predicted_class")
    assert table["probability_true"].to_pylist() == pytest.approx(expected, abs=1e-6)
    assert table["predicted_class"].cast(pa.string()).to_pylist() == ["true", "false", "false"]


def test_a_regression_and_parquet_have_one_prediction(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    table = pa.table({"delay": [30.0, None], "carrier": ["UA", None]})
    pq.write_table(table, tmp_path / "raw.parquet")
    made = predict(models["regression"], tmp_path / "raw.parquet", tmp_path / "out.parquet")
    found = pq.read_table(made.path)
    assert found.schema == pa.schema([("prediction", pa.float32())])
    assert found["prediction"].to_pylist() == pytest.approx([1.6, -0.5])


def test_json_lines_are_answered_as_the_same_rows_of_a_csv(
    source: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    lines = [
        {"delay": 30, "carrier": "UA"},
        {"carrier": None, "delay": None},
        {"carrier": "XX", "delay": "-10.5"},
    ]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    expected = predict(models["binary"], source, tmp_path / "csv.csv")
    made = predict(models["binary"], tmp_path / "raw.jsonl", tmp_path / "json.csv")
    assert made.path.read_bytes() == expected.path.read_bytes()


def test_the_default_output_is_named_after_the_input(
    source: Path, tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert predict(models["binary"].parent, source).path == Path("raw.predictions.csv")
    assert (tmp_path / "here" / "raw.predictions.csv").is_file()


def test_predict_gives_the_probabilities_that_evaluate_saw(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    rows = {"train": make_rows(300), "test": make_rows(513, seed=1)}
    examples = write_examples(tmp_path / "examples", rows, cuts=3)
    model = models["binary"].parent
    evaluate_model(make_spec(), examples, model, tmp_path / "evaluation")
    files = sorted((tmp_path / "evaluation").glob("predictions-*"))
    seen = pa.concat_tables([pq.read_table(f) for f in files])
    pacsv.write_csv(rows["test"].select(["delay", "carrier"]), tmp_path / "raw.csv")
    made = predict(model, tmp_path / "raw.csv", tmp_path / "out.parquet")
    assert pq.read_table(made.path) == seen.drop_columns(["label"])


def test_a_missing_column_is_told_before_anything_is_written(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    (tmp_path / "raw.csv").write_text("delay,carier\n1,AA\n")
    with pytest.raises(SourceError, match=r"carrier"):
        predict(models["binary"], tmp_path / "raw.csv", tmp_path / "out.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw.csv"]


def test_an_unreadable_row_stops_with_its_place_and_nothing_is_written(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    (tmp_path / "raw.csv").write_text("carrier,delay\nUA,30\nAA,soon\n")
    with pytest.raises(DataError, match=r"row at byte 20 cannot be read .*'AA,soon'; mend or"):
        predict(models["binary"], tmp_path / "raw.csv", tmp_path / "out.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw.csv"]


def test_a_folder_without_metadata_is_not_a_model(tmp_path: Path, source: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no complete model: there is no metadata\.json"):
        predict(tmp_path, source, tmp_path / "out.csv")


def test_an_altered_model_is_refused(tmp_path: Path, source: Path, models: dict[str, Path]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models["binary"], folder)
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["files"]["saved_model.pb"] = "0" * 64
    (folder / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ArtifactError, match="is not the file that was exported"):
        predict(folder, source, tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("out.json", r"written as \.csv or \.parquet"),
        ("absent/out.csv", "does not exist"),
        ("raw.csv", "is the input itself"),
    ],
)
def test_an_output_that_cannot_be_is_refused(
    name: str, why: str, tmp_path: Path, source: Path, models: dict[str, Path]
) -> None:
    with pytest.raises(SourceError, match=why):
        predict(models["binary"], source, tmp_path / name)
    assert source.read_text() == CSV
