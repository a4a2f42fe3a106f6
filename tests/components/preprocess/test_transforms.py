"""Features of several columns and of texts go through both passes, in ranges or in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from quatrain.components.preprocess.job import PreprocessJob, rules_of
from quatrain.components.preprocess.output_folder import Folder
from quatrain.components.specification.schema import ModelSpec
from quatrain.trainer.features.transform import Transform
from quatrain.validation.load import validate
from tests.components.preprocess.test_pipeline import direct

FEATURES = [
    {"name": "wait", "from": ["end", "start"], "transform": "difference", "unit": "minute"},
    {"name": "part", "from": ["a", "b"], "transform": "ratio"},
    {"name": "far", "from": ["a", "b", "b", "a"], "transform": "distance"},
    {"name": "cell", "from": ["a", "b"], "transform": "grid", "degrees": 5},
    {"name": "year", "from": "start", "transform": "calendar", "part": "year"},
    {"name": "tags", "from": "tags", "transform": "bag", "top_k": 2},
    {"name": "words", "from": "note", "transform": "text", "buckets": 4},
    {"name": "ple", "from": "a", "transform": "piecewise_linear", "bins": 3, "impute": "mean"},
    {"name": "often", "from": "tags", "transform": "frequency"},
]


@pytest.fixture
def spec(table: Callable[..., str]) -> ModelSpec:
    lines = ["start,end,a,b,tags,note,side,y"]
    for i in range(300):
        start = f"20{10 + i % 7}-03-01T00:00:{i % 60:02}"
        end = "" if i % 11 == 0 else f"20{10 + i % 7}-03-01T01:{i % 60:02}:00"
        tags = "|".join("abcd"[j] for j in range(4) if i % (j + 2) == 0)
        side = ("train", "train", "validation", "test")[i % 4]
        note = f"note {i}" if i % 3 else ""
        lines.append(f"{start},{end},{i % 90},{i % 8},{tags},{note},{side},{i % 5}.5")
    return validate(
        {
            "name": "many",
            "source": {"uri": table("\n".join(lines) + "\n"), "nulls": [""]},
            "columns": {
                "start": "timestamp",
                "end": "timestamp",
                "a": "int",
                "b": "float",
                "tags": "string",
                "note": "string",
                "side": "string",
                "y": "float",
            },
            "label": "y",
            "task": "regression",
            "split": {"by": "column", "column": "side"},
            "features": FEATURES,
        }
    )


def test_ranges_and_one_range_give_one_transform_and_the_columns_of_its_numpy_form(
    spec: ModelSpec, tmp_path: Path
) -> None:
    for name, range_bytes in (("one", None), ("many", 2_000)):
        (tmp_path / name / "rejected").mkdir(parents=True)
        assert direct(spec, tmp_path / name, range_bytes).error is None
    one, many = ((tmp_path / name / "transform.json").read_bytes() for name in ("one", "many"))
    assert one == many
    transform = Transform.from_json(one.decode())
    assert [c.name for c in transform.engineered][:4] == [
        "wait",
        "wait_missing",
        "part",
        "part_missing",
    ]
    test = pq.read_table(next((tmp_path / "one").glob("test-*.parquet")))
    end = test.column("raw_end").to_numpy(zero_copy_only=False)
    assert test.column("wait_missing").to_pylist() == np.isnat(end).astype(float).tolist()
    # Of the train rows half have a and c, a third b, a fifth d.
    tags = test.column("raw_tags").to_pylist()
    assert test.column("tags_0").to_pylist() == [float("a" in (t or "")) for t in tags]
    assert test.column("tags_1").to_pylist() == [float("c" in (t or "")) for t in tags]


def test_strings_that_nothing_is_fitted_to_are_sampled(spec: ModelSpec) -> None:
    job = PreprocessJob(spec, rules_of(spec), Folder(""), 1)
    assert job.sampled_columns == {"note"}  # the frequency needs every bag of tags
