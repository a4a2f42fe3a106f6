"""The preprocess step gets only what it reads of the spec: nothing else misses a cache."""

import json

import pytest

from quatrain.components.preprocess.find_files import find
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.schema import ModelSpec


def document(path, n_columns=1):
    names = [f"x{i}" for i in range(n_columns)]
    return {
        "name": "t",
        "source": {"uri": [str(path)]},
        "columns": {**dict.fromkeys(names, "float"), "y": "bool", "z": "string"},
        "label": "y",
        "task": "binary",
        "split": {"keys": ["x0"]},
        "features": [{"name": n, "from": n, "transform": "standardize"} for n in names],
        "evaluate": {"slices": ["z"]},
    }


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x0,y,z\n1,true,a\n")
    return path


def version(spec, root):
    return find(json.dumps(spec), project="", at="", clocks=(), root=str(root))


@pytest.mark.parametrize(
    "section",
    [
        {"train": {"epochs": 3, "tier": "STANDARD_1", "learning_rate": 0.1}},
        {"drift": {"mean": {"warn": 0.1, "fail": 1.0}}},
        {
            "evaluate": {
                "slices": ["z"],
                "gate": {"auc": {"min": 0.7}},
                "champion": {"fail": 0.1},
                "report_rows": 0,
                "skew_tolerance": 0.5,
                "importance": {"rows": 0},
            }
        },
    ],
    ids=["train", "drift", "evaluate"],
)
def test_what_preprocess_does_not_read_is_not_passed_on(table, tmp_path, section):
    spec = document(table)
    assert version({**spec, **section}, tmp_path) == version(spec, tmp_path)


@pytest.mark.parametrize(
    "section",
    [
        {"clean": {"reject": {"small": "x0 < 0"}}},
        {"clean": {"max_rejected": 0.5}},
        {"columns": {"x0": "float", "y": "bool", "z": "string", "w": "int"}},
        {"features": [{"name": "x0", "from": "x0", "transform": "clip", "min": 0, "max": 1}]},
        {"split": {"keys": ["x0"], "train": 0.5, "validation": 0.25, "test": 0.25}},
        {"evaluate": {"slices": []}},
        {"weight": "x0"},
        {"label": "z"},
        {"task": "multiclass"},
        {"name": "u"},
    ],
    ids=lambda section: next(iter(section)),
)
def test_what_preprocess_reads_is_passed_on(table, tmp_path, section):
    spec = document(table)
    changed = {**spec, **section}
    assert version(changed, tmp_path).spec != version(spec, tmp_path).spec
    read = read_parameter(version(changed, tmp_path).spec)
    assert {k: read.as_document()[k] for k in section} == {
        k: ModelSpec.model_validate(changed).as_document()[k] for k in section
    }


def test_a_part_that_is_too_long_for_a_parameter_goes_to_a_file_below_the_root(table, tmp_path):
    spec = document(table, n_columns=2000)
    text = version(spec, tmp_path).spec
    assert set(json.loads(text)) == {"uri", "sha256"}
    assert json.loads(text)["uri"].startswith(f"{tmp_path}/t/specs/")
    assert read_parameter(text) == ModelSpec.model_validate(spec).preprocessing
    changed = {**spec, "train": {"epochs": 3}}
    assert version(changed, tmp_path).spec == text


def test_without_a_root_the_whole_spec_is_passed_on(table):
    spec = document(table)
    assert json.loads(version(spec, "").spec) == spec
