from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import ArtifactError, DataError, SourceError
from quatrain.components.evaluate.run import evaluate_model
from quatrain.components.serve import predict as prediction
from quatrain.components.serve.input_rows import missing_input_hint
from quatrain.components.serve.model_folder import find_model
from quatrain.components.table.header import check_columns
from tests.components.handmade import make_rows, make_spec, write_examples
from tests.emulators import storage

predict = partial(prediction.predict, trust=True)
"""No run has evaluated the hand-made models; test_known_models.py is about those of runs."""
BAD = b"carrier,id,delay\nUA,007,30\nAA,8\n\nAA,9,soon\n\xff,10,1\nXX,NA,-10.5\n"
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
    predictions = predict(models["binary"], source, tmp_path / "out.csv")
    # UA adds .6 to (30 - 10) / 20; a missing delay is 0, a missing carrier adds 0; XX adds .1.
    expected = [sigmoid(1.6), sigmoid(-0.5), sigmoid(-1.025 + 0.1)]
    table = pacsv.read_csv(predictions.path)
    assert predictions.rows == 3
    assert predictions.columns == ("probability_false", "probability_true", "predicted_class")
    assert table["probability_true"].to_pylist() == pytest.approx(expected, abs=1e-6)
    assert table["predicted_class"].cast(pa.string()).to_pylist() == ["true", "false", "false"]


def test_a_regression_and_parquet_have_one_prediction(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    table = pa.table({"delay": [30.0, None], "carrier": ["UA", None]})
    pq.write_table(table, tmp_path / "raw.parquet")
    predictions = predict(models["regression"], tmp_path / "raw.parquet", tmp_path / "out.parquet")
    table = pq.read_table(predictions.path)
    assert table.schema == pa.schema([("prediction", pa.float32())])
    assert table["prediction"].to_pylist() == pytest.approx([1.6, -0.5])


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
    predictions = predict(models["binary"], tmp_path / "raw.jsonl", tmp_path / "json.csv")
    assert Path(predictions.path).read_bytes() == Path(expected.path).read_bytes()


def test_the_default_output_is_named_after_the_input(
    source: Path, tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert predict(models["binary"].parent, source).path == "raw.predictions.csv"
    assert (tmp_path / "here" / "raw.predictions.csv").is_file()


def test_predict_gives_the_probabilities_of_evaluate(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    rows = {"train": make_rows(300), "test": make_rows(513, seed=1)}
    examples = write_examples(tmp_path / "examples", rows, cuts=3)
    model = models["binary"].parent
    evaluate_model(make_spec(), examples, model, tmp_path / "evaluation")
    files = sorted((tmp_path / "evaluation").glob("predictions-*"))
    evaluated = pa.concat_tables([pq.read_table(f) for f in files])
    pacsv.write_csv(rows["test"].select(["delay", "carrier"]), tmp_path / "raw.csv")
    predictions = predict(model, tmp_path / "raw.csv", tmp_path / "out.parquet")
    assert pq.read_table(predictions.path) == evaluated.drop_columns(["label"])


def test_a_missing_column_is_reported_before_anything_is_written(
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
    with pytest.raises(ArtifactError, match=r"neither a model nor a run .no metadata\.json"):
        predict(tmp_path, source, tmp_path / "out.csv")


def test_runs_of_which_none_passed_its_gate_are_named(
    tmp_path: Path, source: Path, models: dict[str, Path]
) -> None:
    shutil.copytree(models["binary"], tmp_path / "runs/first/model")
    (tmp_path / "runs/latest").symlink_to("first")
    with pytest.raises(ArtifactError, match=r"no run passed its gate; .*/first, .*/latest$"):
        predict(tmp_path / "runs", source, tmp_path / "out.csv")


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
def test_an_output_that_cannot_be_written_is_refused(
    name: str, why: str, tmp_path: Path, source: Path, models: dict[str, Path]
) -> None:
    with pytest.raises(SourceError, match=why):
        predict(models["binary"], source, tmp_path / name)
    assert source.read_text() == CSV


def uploaded(served: storage.Storage, folder: Path, uri: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            served.put(f"{uri}/{path.relative_to(folder)}", path.read_bytes())
    return uri


CLI = """
import json, sys
from quatrain.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as ended:
        print("status", ended.code)
"""


def test_model_rows_and_outputs_may_all_be_in_a_bucket(
    served: storage.Storage,
    tmp_path: Path,
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)  # for the warning of a failed gate
    job = "gs://b/r ü%41#x?y/plan_5/model"
    uploaded(served, models["binary"], f"{job}/model")
    for model in (f"{job}/model", f"{job}/", job.removesuffix("/model")):
        assert find_model(model) == f"{job}/model"
    served.put("gs://b/new rows?.csv", BAD)
    files = ["-o", "gs://b/out/p.csv", "--rejected", "gs://b/out/r.parquet"]
    words = ["predict", job, "gs://b/new rows?.csv", "--keep", "id", "--trust"]
    gone = [*words, "-o", "gs://b/out/none.csv", "--rejected", "gs://gone/r.csv"]
    # A process of its own: Arrow asks for the size of an object without letting others run.
    command = [sys.executable, "-c", CLI, json.dumps([[*words, *files], gone])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    statuses = [line for line in ended.stdout.splitlines() if line.startswith("status")]
    assert statuses == ["status 0", "status 1"], ended.stderr
    assert "2 rows to gs://b/out/p.csv" in ended.stdout
    assert "error: gs://gone/r.csv cannot be written" in ended.stderr
    assert {n for n in served.buckets["b"].objects if "out/" in n} == {"out/p.csv", "out/r.parquet"}

    (tmp_path / "raw.csv").write_bytes(BAD)
    local = {"output": tmp_path / "p.csv", "rejected": tmp_path / "r.parquet"}
    predict(models["binary"], tmp_path / "raw.csv", keep=["id"], **local)
    assert served.get("gs://b/out/p.csv") == (tmp_path / "p.csv").read_bytes()
    rejected = pq.read_table(pa.BufferReader(served.get("gs://b/out/r.parquet")))
    assert rejected.drop(["source"]) == pq.read_table(tmp_path / "r.parquet").drop(["source"])
    assert set(rejected["source"].to_pylist()) == {"gs://b/new rows?.csv"}


@pytest.mark.parametrize(
    ("model", "rows", "output", "error", "why"),
    [
        ("gs://b/m", "gs://b/raw.csv", "gs://b/raw.csv", SourceError, "is the input itself"),
        ("gs://b/m", "gs://b/raw.csv", "gs://b/m/out.csv", SourceError, "is inside the model gs:"),
        ("gs://b/m", "gs://b/raw.csv", "gs://b/out.json", SourceError, r"as \.csv or \.parquet"),
        ("gs://b/m", "gs://b/raw.csv", "s3://b/o.csv", SourceError, "a path or a gs:// uri"),
        ("gs://b/m", "gs://b/none.csv", "gs://b/o.csv", SourceError, "none.csv does not exist"),
        ("gs://b/none", "gs://b/raw.csv", "gs://b/o.csv", ArtifactError, "gs://b/none holds no"),
        ("gs://b/cut", "gs://b/raw.csv", "gs://b/o.csv", ArtifactError, "^gs://b/cut/saved_model"),
    ],
)
def test_what_is_wrong_in_a_bucket_is_named_by_its_uri(
    served: storage.Storage,
    models: dict[str, Path],
    model: str,
    rows: str,
    output: str,
    error: type[Exception],
    why: str,
) -> None:
    for name in ("m", "cut"):
        uploaded(served, models["binary"], f"gs://b/{name}")
    served.put("gs://b/cut/saved_model.pb", b"cut")
    served.put("gs://b/raw.csv", CSV.encode())
    before = set(served.buckets["b"].objects)
    with pytest.raises(error, match=why):
        predict(model, rows, output)
    assert set(served.buckets["b"].objects) == before


def test_the_message_names_the_line_and_counts_the_bad_rows(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    (tmp_path / "raw.csv").write_bytes(BAD)
    with pytest.raises(DataError, match=r"raw\.csv, line 3: the row at byte 27 .*'AA,8'") as raised:
        predict(models["binary"], tmp_path / "raw.csv", tmp_path / "out.csv")
    assert "--rejected FILE" in str(raised.value)
    assert "3 of the 5 rows cannot be read" in str(raised.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw.csv"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_bad_rows_are_rejected_as_read_and_the_others_predicted(
    suffix: str, packed: bool, tmp_path: Path, models: dict[str, Path]
) -> None:
    raw, rejected = tmp_path / ("raw.csv.gz" if packed else "raw.csv"), tmp_path / f"bad.{suffix}"
    raw.write_bytes(gzip.compress(BAD) if packed else BAD)
    predictions = predict(models["binary"], raw, tmp_path / "out.csv", rejected=rejected)
    assert (predictions.rows, predictions.rejected) == (2, 3)
    answered = pacsv.read_csv(predictions.path)["probability_true"].to_pylist()
    assert answered == pytest.approx([sigmoid(1.6), sigmoid(-0.925)], abs=1e-6)
    types = pacsv.ConvertOptions(column_types={"row": pa.binary()})
    table = (
        pq.read_table(rejected)
        if suffix == "parquet"
        else pacsv.read_csv(rejected, convert_options=types)
    )
    assert table.column_names == ["source", "position", "line", "reason", "detail", "row"]
    assert table["position"].to_pylist() == [27, 33, 43]
    assert table["line"].to_pylist() == [3, 5, 6]
    assert table["reason"].to_pylist() == ["short_row", "bad_value", "bad_encoding"]
    assert table["row"].to_pylist() == [b"AA,8", b"AA,9,soon", b"\xff,10,1"]


def test_rows_of_parquet_are_set_aside_by_their_number(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    table = pa.table({"delay": ["30", "soon"], "carrier": ["UA", "AA"]})
    pq.write_table(table, tmp_path / "raw.parquet")
    rejected = tmp_path / "bad.parquet"
    predictions = predict(
        models["binary"], tmp_path / "raw.parquet", tmp_path / "o.csv", rejected=rejected
    )
    assert (predictions.rows, predictions.rejected) == (1, 1)
    row = pq.read_table(rejected).to_pylist()[0]
    assert (row["position"], row["line"]) == (1, None)
    assert json.loads(row["row"]) == {"delay": "soon", "carrier": "AA"}


def test_without_bad_rows_the_file_for_them_is_empty(
    source: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    rejected = tmp_path / "bad.parquet"
    assert predict(models["binary"], source, tmp_path / "o.csv", rejected=rejected).rejected == 0
    assert pq.read_table(rejected).num_rows == 0


@pytest.mark.parametrize(
    ("name", "why"), [("out.csv", "is where the predictions go"), ("bad.txt", r"rejected rows are")]
)
def test_a_file_for_bad_rows_that_cannot_be_written_is_refused(
    name: str, why: str, source: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    with pytest.raises(SourceError, match=why):
        predict(models["binary"], source, tmp_path / "out.csv", rejected=tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw.csv"]


def test_kept_columns_stand_before_the_answers_as_they_were_read(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    (tmp_path / "raw.csv").write_bytes(BAD)
    files = {"output": tmp_path / "out.parquet", "rejected": tmp_path / "bad.csv"}
    predictions = predict(models["binary"], tmp_path / "raw.csv", **files, keep=["id", "delay"])
    table = pq.read_table(predictions.path)
    assert table.column_names[:3] == ["id", "delay", "probability_false"]
    assert table["id"].to_pylist() == ["007", "NA"]
    assert table["delay"].to_pylist() == ["30", "-10.5"]
    assert table["probability_true"].to_pylist()[0] == pytest.approx(sigmoid(1.6), abs=1e-6)


def test_columns_of_json_and_parquet_are_kept_as_text(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    rows = [{"delay": 30.5, "carrier": "UA", "n": 1}, {"delay": None, "carrier": "AA", "n": 2}]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet")
    for name in ("raw.jsonl", "raw.parquet"):
        keep = ["n", "carrier", "delay"]
        predictions = predict(
            models["binary"], tmp_path / name, tmp_path / "out.parquet", keep=keep
        )
        texts = pq.read_table(predictions.path).select(keep).to_pydict()
        assert texts == {"n": ["1", "2"], "carrier": ["UA", "AA"], "delay": ["30.5", None]}


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_file_with_another_delimiter_is_answered_as_the_same_rows(
    delimiter: str, source: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    expected = predict(models["binary"], source, tmp_path / "comma.csv", keep=["ignored"])
    (tmp_path / "other.csv").write_text(CSV.replace(",", delimiter))
    other = predict(
        models["binary"], tmp_path / "other.csv", tmp_path / "out.csv", keep=["ignored"]
    )
    assert Path(other.path).read_bytes() == Path(expected.path).read_bytes()


def test_a_text_of_parquet_is_kept_as_it_is(tmp_path: Path, models: dict[str, Path]) -> None:
    rows = [{"delay": 30.5, "carrier": "UA", "id": "r1"}, {"delay": 3.0, "carrier": "AA", "id": ""}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet")
    out = tmp_path / "out.parquet"
    predict(models["binary"], tmp_path / "raw.parquet", out, keep=["id"])
    assert pq.read_table(out)["id"].to_pylist() == ["r1", ""]


@pytest.mark.parametrize(
    ("form", "keep", "why"),
    [
        ("csv", "ignord", r"no column 'ignord'; did you mean 'ignored'\?"),
        ("jsonl", "carier", r"no column 'carier'; did you mean 'carrier'\?"),
        ("csv", "predicted_class", "an answer has this name"),
    ],
)
def test_a_column_that_cannot_be_kept_is_refused(
    form: str, keep: str, why: str, source: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    (tmp_path / "raw.jsonl").write_text('{"delay": 1, "carrier": "UA"}\n')
    with pytest.raises(SourceError, match=why):
        predict(models["binary"], tmp_path / f"raw.{form}", tmp_path / "out.csv", keep=[keep])
    assert not (tmp_path / "out.csv").exists()


def test_an_input_that_is_there_is_not_suggested_for_one_that_is_not() -> None:
    inputs = {"dep_time": "int", "dep_delay": "int"}
    with pytest.raises(SourceError, match=r"no column 'dep_time', which the model needs; add it"):
        check_columns("raw.csv", ["dep_delay"], inputs, "", missing_input_hint)


def test_a_column_that_the_model_needs_may_be_added_empty(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    (tmp_path / "raw.csv").write_text("day,delay\n1,2\n")
    with pytest.raises(SourceError, match=r"no column 'carrier', which the model needs; add it"):
        predict(models["binary"], tmp_path / "raw.csv", tmp_path / "out.csv")
    (tmp_path / "raw.csv").write_text("day,delay,carrier\n1,2,\n")
    assert predict(models["binary"], tmp_path / "raw.csv", tmp_path / "out.csv").rows == 1


@pytest.mark.parametrize("name", ["answers.csv", "variables/answers.parquet"])
def test_no_output_goes_into_the_model(
    name: str, tmp_path: Path, source: Path, models: dict[str, Path]
) -> None:
    shutil.copytree(models["binary"], tmp_path / "job/model")
    (tmp_path / "link").symlink_to("job")
    before = sorted(tmp_path.rglob("*"))
    for place in ("job", "link"):
        for outputs in (
            {"output": tmp_path / place / "model" / name},
            {"output": tmp_path / "out.csv", "rejected": tmp_path / place / "model" / name},
        ):
            with pytest.raises(SourceError, match=r"is inside the model .*; name another"):
                predict(tmp_path / "job", source, **outputs)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_is_none_of_the_files_of_a_pattern(
    tmp_path: Path, source: Path, models: dict[str, Path]
) -> None:
    with pytest.raises(SourceError, match=r"raw\.csv is one of the files to predict"):
        predict(models["binary"], tmp_path / "*.csv", source)
    assert source.read_text() == CSV


def test_an_earlier_output_is_replaced_only_by_a_complete_one(
    tmp_path: Path, source: Path, models: dict[str, Path]
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("yesterday")
    (tmp_path / "bad.csv").write_bytes(BAD)
    with pytest.raises(DataError):
        predict(models["binary"], tmp_path / "bad.csv", out)
    assert out.read_text() == "yesterday"
    predict(models["binary"], source, out)
    assert len(out.read_text().splitlines()) == 4
