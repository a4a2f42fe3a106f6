import json

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.quality.workers.product import test_rows as rows_of
from benchmarks.quality.workers.work import MARK, run

SPEC = """
name: toy
source: {uri: rows.csv, nulls: ["", "?"]}
columns: {age: int, size: float, code: string, note: string, y: string, split_: string}
label: y
task: binary
split: {by: column, column: split_}
features:
- {name: age, from: age, transform: standardize}
- {name: size, from: size, transform: standardize}
- {name: code, from: code, transform: vocabulary}
- {name: note, from: note, transform: vocabulary}
"""


def _busy(of: list[str], name: str) -> str:
    of.append(name)
    sum(range(2_000_000))
    return name


@pytest.mark.parametrize("loads", [True, False])
def test_a_model_is_trained_loaded_and_asked_twice_each_with_its_cost(tmp_path, capsys, loads):
    done: list[str] = []

    def answer(model: str) -> np.ndarray:
        _busy(done, f"answer of {model}")
        return np.full(3, len(done))

    def load(trained: str) -> str:
        return _busy(done, f"loaded {trained}")

    out = tmp_path / "predictions.npy"
    run(lambda: _busy(done, "trained"), answer, str(out), load=load if loads else None, seed=1)

    steps = ["trained", *(["loaded trained"] if loads else [])]
    assert done == [*steps, *[f"answer of {steps[-1]}"] * 2]
    assert np.load(out).tolist() == [len(steps) + 1] * 3, "the first answer is written"
    line = json.loads(capsys.readouterr().out.split(MARK)[1])
    assert list(line["cpu_s"]) == ["train", *(["load"] if loads else []), "answer", "again"]
    assert all(seconds > 0 for seconds in line["cpu_s"].values())
    assert line["seed"] == 1


def test_the_rows_to_answer_have_types_but_where_the_spec_reads_texts(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "rows.csv").write_text(
        "age,size,code,note,y,split_\n4,1.5,007,?,a,test\n5,?,1,,b,train\n?,2,,x,b,test\n"
    )
    rows = rows_of(tmp_path)
    assert rows.schema.types == [pa.int64(), pa.float64(), pa.string(), pa.string()]
    assert rows.to_pylist() == [
        {"age": 4, "size": 1.5, "code": "007", "note": "?"},
        {"age": None, "size": 2.0, "code": "", "note": "x"},
    ]
