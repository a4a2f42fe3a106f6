"""A published package has trained a model that answers; any other is absent."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import ArtifactError, PackageError
from quatrain.components.package import proof, publishing
from quatrain.components.package.sample import ROWS, _first_rows, cut_sample, raw_row
from quatrain.trainer.examples import read_examples
from quatrain.validation.load import validate

SPEC = {
    "name": "toy",
    "source": {"uri": []},
    "columns": {"id": "int", "x": "float", "color": "string", "late": "bool"},
    "label": "late",
    "task": "binary",
    "split": {"by": "hash", "keys": ["id"]},
    "features": [
        {"name": "x", "from": "x", "transform": "standardize"},
        {"name": "color", "from": "color", "transform": "vocabulary"},
    ],
}
TASK = """
import sys
if "--help" in sys.argv:
    sys.exit("no help\\nhere")
"""


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """600 rows; the first 500 are of one class."""
    from quatrain.components.preprocess.run import preprocess

    root = tmp_path_factory.mktemp("examples")
    lines = [
        f"{i},{i % 7}.5,{'red' if i % 3 else 'blue'},{str(i >= 500).lower()}" for i in range(600)
    ]
    (root / "toy.csv").write_text("\n".join(["id,x,color,late", *lines]) + "\n")
    spec = validate({**SPEC, "source": {"uri": [str(root / "toy.csv")]}})
    preprocess(spec.as_json(), runner="local", out=str(root / "examples"))
    return root / "examples"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def package(examples, root, tmp_path_factory):
    out = tmp_path_factory.mktemp("package") / "package"
    publishing.publish(examples, out, root=str(root), run="run-1", created="2026-12-01")
    return out


def test_the_record_names_the_package_and_every_check(package):
    record = json.loads((package / "package.json").read_text())
    assert record["version"] == 1
    assert (package / record["file"]).is_file()
    assert [(c["name"], c["passed"]) for c in record["checks"]] == [
        (name, True) for name in proof.WAYS_OUT
    ]
    details = {c["name"]: c["detail"] for c in record["checks"]}
    assert record["sha256"] in details["reproducible"]
    assert details["trains"] == "1 step on real rows"
    answer = json.loads(details["answers"])
    assert list(answer) == ["classes", "predicted_class", "probabilities"]  # in every process
    assert answer["predicted_class"] in answer["classes"]
    assert sum(answer["probabilities"]) == pytest.approx(1)


def test_a_second_run_takes_the_proof_of_the_first(examples, root, package, tmp_path):
    first = json.loads((package / "package.json").read_text())
    assert first["proof"] == {"run": "run-1", "created": "2026-12-01"}
    assert "cached" not in first
    publishing.publish(examples, tmp_path, root=str(root), run="run-2", created="2026-12-02")
    second = json.loads((tmp_path / "package.json").read_text())
    assert second == {**first, "cached": {"proof": "run-1"}}
    assert (tmp_path / first["file"]).read_bytes() == (package / first["file"]).read_bytes()


def test_the_sample_is_small_complete_and_has_both_classes(examples, tmp_path):
    sample = cut_sample(examples, tmp_path / "sample")
    manifest = json.loads((sample / "manifest.json").read_text())
    for split in ("train", "validation", "test"):
        table = pq.read_table(sample / f"{split}-00000-of-00001.parquet")
        assert table.num_rows == manifest["rows"][split] <= ROWS + 1
        assert set(table["label"].to_pylist()) == {0, 1}
    assert set(raw_row(sample)) == {"x", "color"}


def test_the_sample_has_a_row_of_each_class_that_training_asks_for(tmp_path):
    from quatrain.components.preprocess.run import preprocess

    lines = [f"{i},{i % 7}.5,{'abc'[(i % 300) // 100]},{i % 2}" for i in range(900)]
    rare = [f"{i},1.5,{name},0" for i, name in ((900, "d"), (901, "e"))]
    (tmp_path / "toy.csv").write_text("\n".join(["id,x,kind,part", *lines, *rare]) + "\n")
    features = [{"name": "x", "from": "x", "transform": "standardize"}]
    document = {
        **SPEC,
        "source": {"uri": [str(tmp_path / "toy.csv")]},
        "columns": {"id": "int", "x": "float", "kind": "string", "part": "int"},
        "clean": {"derive": {"fold": "CASE WHEN id >= 900 THEN 0 ELSE id % 5 END"}},
        "label": "kind",
        "task": "multiclass",
        "split": {"by": "fold", "column": "fold", "validation": "1", "test": "2"},
        "features": features,
    }
    spec = validate(document)
    preprocess(spec.as_json(), runner="local", out=str(tmp_path / "examples"))
    sample = cut_sample(tmp_path / "examples", tmp_path / "sample")
    labels = pq.read_table(sample / "train-00000-of-00001.parquet")["label"].to_pylist()
    assert set(labels[:ROWS]) < set(labels) == {0, 1, 2, 3, 4}
    assert len(labels) <= ROWS + 4


def test_the_sample_has_only_rows_with_a_weight(tmp_path):
    from tests.trainer.small import write_examples

    def light(shard):  # the first rows, and all but the last of the class `late`, weigh nothing
        weights = (np.arange(len(shard)) >= 70) & (shard["label"].to_numpy() == 0)
        weights[np.flatnonzero(shard["label"].to_numpy())[-1]] = True
        place = shard.column_names.index("weight")
        return shard.set_column(place, "weight", [weights.astype(np.float32)])

    folder = write_examples(tmp_path / "examples", weighted=True, spoil={"train": light})
    table = _first_rows(read_examples(str(folder)), "train")
    assert table["weight"].to_numpy().min() == 1
    assert set(table["label"].to_pylist()) == {0, 1}


def test_a_trainer_that_fails_a_check_is_not_published(examples, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    text = (publishing.default_trainer_dir() / "pyproject.toml").read_text()
    text = re.sub(r"readme = .*\n|packages = .*\n", "", text) + 'packages = ["trainer"]\n'
    (folder / "pyproject.toml").write_text(text)
    for name, content in {"__init__.py": "", "task.py": TASK, "model.py": ""}.items():
        (folder / name).write_text(content)
    with pytest.raises(PackageError) as raised:
        publishing.publish(examples, tmp_path / "out", str(folder))
    message = str(raised.value)
    assert "failed its check 'help': exit code 1:\nno help\nhere\nway out: run" in message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]


def test_incomplete_examples_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        cut_sample(tmp_path, tmp_path / "sample")


def test_the_default_trainer_is_found_without_importing_it():
    code = (
        "import sys\nfrom quatrain.components.package.publishing import default_trainer_dir\n"
        "print(default_trainer_dir()); print('tensorflow' in sys.modules)"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    folder, imported = completed.stdout.split()
    assert (Path(folder) / "task.py").is_file()
    assert imported == "False"
