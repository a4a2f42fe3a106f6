"""Rows in memory get the answers of the same rows in a file, and the same care."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import DataError, FrameError
from quatrain.components.serve import frame
from quatrain.components.serve.frame import predict_frame
from quatrain.components.serve.predict import predict
from quatrain.components.serve.served_model import ServedModel
from tests.components.handmade import make_rows

FRAMES: dict[str, Callable[[pa.Table], Any]] = {
    "arrow": lambda table: table,
    "batches": lambda table: table.to_reader(max_chunksize=7),
    "pandas": lambda table: table.to_pandas(),
    "pandas-arrow": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.from_arrow,
    "dicts": lambda table: table.to_pylist(),
}


@pytest.fixture(scope="module")
def binary(models: dict[str, Path]) -> ServedModel:
    return ServedModel.load(models["binary"])


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return make_rows(600).select(["carrier", "delay", "weight"])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_frame_gets_the_answers_of_its_csv(
    task: str, rows: pa.Table, models: dict[str, Path], tmp_path: Path
) -> None:
    pacsv.write_csv(rows, tmp_path / "rows.csv")
    predict(models[task], tmp_path / "rows.csv", tmp_path / "out.parquet", trust=True)
    expected = pq.read_table(tmp_path / "out.parquet")
    served = ServedModel.load(models[task])
    for name, of in FRAMES.items():
        assert predict_frame(served, of(rows)).equals(expected), name


def test_the_blocks_of_a_long_table_are_joined_in_order(
    binary: ServedModel, rows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predict_frame(binary, rows)
    monkeypatch.setattr(frame, "BLOCK_ROWS", 256)
    assert predict_frame(binary, rows).equals(expected)


def test_no_rows_get_no_answers(binary: ServedModel, rows: pa.Table) -> None:
    answers = predict_frame(binary, rows.slice(0, 0))
    assert (answers.num_rows, answers.column_names[-1]) == (0, "predicted_class")


def test_one_dict_is_one_row(binary: ServedModel) -> None:
    assert predict_frame(binary, {"delay": 30, "carrier": "UA"}).num_rows == 1


def test_numbers_may_be_written_as_text(binary: ServedModel) -> None:
    numbers = predict_frame(binary, [{"delay": 30.0, "carrier": "UA"}])
    assert predict_frame(binary, [{"delay": "30", "carrier": "UA"}]).equals(numbers)


def test_a_row_that_cannot_be_read_is_named(binary: ServedModel) -> None:
    table = pa.table({"delay": ["1", "soon", "2", "later"], "carrier": ["UA"] * 4})
    with pytest.raises(DataError) as refusal:
        predict_frame(binary, table)
    assert str(refusal.value) == (
        "row 1 cannot be read (bad_value: delay: 'soon' is not a finite number); mend or remove "
        "it, or give rejected='null', which leaves its answer empty. 2 of the 4 rows cannot be read"
    )


def test_the_answers_of_rejected_rows_may_be_empty(
    binary: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "BLOCK_ROWS", 2)
    table = pa.table({"delay": ["1", "soon", "later", "no", "2"], "carrier": ["UA"] * 5})
    answers = predict_frame(binary, table, "null")
    good = predict_frame(binary, table.take([0, 4]))
    assert answers.column("probability_true").is_null().to_pylist() == [False, *[True] * 3, False]
    assert answers.take([0, 4]).equals(good)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"delay": 1}, "row 0 has no 'carrier', which the model needs; give None if it is not"),
        (
            [{"delay": 1, "carrier": "UA"}, {"carrier": "UA"}],
            "row 1 has no 'delay', which the model needs; give None",
        ),
        (
            pd.DataFrame({"Delay": [1], "carrier": ["UA"]}),
            "rows: there is no column 'delay'; did you mean 'Delay'?",
        ),
        (
            pd.DataFrame({"delay": [1]}),
            "rows: there is no column 'carrier', which the model needs; add it",
        ),
        (
            pd.DataFrame({"delay": [True], "carrier": ["UA"]}),
            "rows: column 'delay' is bool, and the model reads it as float; convert it first",
        ),
        (
            pl.DataFrame({"delay": [1], "carrier": [["UA"]]}),
            "rows: column 'carrier' is large_list<item: string_view>, and the model reads it as",
        ),
    ],
)
def test_rows_that_do_not_fit_the_model_are_refused(
    binary: ServedModel, data: Any, sentence: str
) -> None:
    with pytest.raises(FrameError) as refusal:
        predict_frame(binary, data)
    assert str(refusal.value).startswith(sentence)


def test_an_unknown_way_to_reject_is_refused(binary: ServedModel) -> None:
    with pytest.raises(FrameError, match=r"^rejected is 'drop'; choose 'error' or 'null'$"):
        predict_frame(binary, {"delay": 1, "carrier": "UA"}, "drop")  # type: ignore[arg-type]
