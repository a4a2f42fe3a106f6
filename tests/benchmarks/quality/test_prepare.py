import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.quality import prepare as module
from benchmarks.quality.prepare import SPLIT, kinds_of, prepare, with_split
from benchmarks.quality.tables import QualityTable
from quatrain.validation.load import load_spec

DOCUMENT = {
    "source": {"uri": "/x/rows.csv", "nulls": [""]},
    "columns": {"id": "int", "x": "float", "when": "timestamp", "word": "string", "y": "int"},
    "label": "y",
    "split": {"by": "hash", "keys": ["id"]},
    "features": [
        {"name": "x", "from": "x", "transform": "standardize"},
        {"name": "x_level", "from": "x", "transform": "vocabulary"},
        {"name": "hour", "from": "when", "transform": "cyclic", "part": "hour"},
        {"name": "word", "from": "word", "transform": "vocabulary"},
    ],
}


class Toy(QualityTable):
    def rows(self) -> pa.Table:
        x = list(range(300))
        labels = ["yes" if (i * 7) % 10 < 5 else "no" for i in x]
        colours = ["red" if i % 3 else "blue" for i in x]
        return pa.table({"x": x, "colour": colours, "y": labels})


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CACHE", tmp_path)
    return Toy("toy", "choosing", (), "binary", "y", "random")


def test_a_spec_differs_from_the_draft_by_its_split_alone():
    spec = with_split(DOCUMENT)
    assert spec["split"] == {"by": "column", "column": SPLIT}
    assert spec["features"] == DOCUMENT["features"]
    assert list(spec["columns"]) == ["x", "when", "word", "y", SPLIT]


def test_a_library_gets_the_columns_of_the_features_by_their_kind():
    assert kinds_of(DOCUMENT) == {"x": "number", "when": "time", "word": "category"}


def test_a_library_gets_the_test_rows_without_their_labels(toy):
    prepared = prepare(toy, 0)
    test = pq.read_table(prepared.folder / "test.parquet")
    assert set(test.column_names) == set(prepared.columns["kinds"])
    assert len(prepared.labels) == test.num_rows == 60
    assert prepared.columns["classes"] == ["no", "yes"]
    assert load_spec(prepared.folder / "spec.yaml").task == "binary"


def test_a_split_is_written_once_and_says_which_rows_it_holds(toy):
    first = prepare(toy, 0)
    times = {p: p.stat().st_mtime_ns for p in first.folder.iterdir()}
    again = prepare(toy, 0)
    assert {p: p.stat().st_mtime_ns for p in again.folder.iterdir()} == times
    assert prepare(toy, 1).digest != first.digest
