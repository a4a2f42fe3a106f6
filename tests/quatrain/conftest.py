"""A compiled toy pipeline and a spec that every test of local runs can use."""

import importlib.util
import sys
from pathlib import Path

import pytest

from quatrain.validation.load import validate

HERE = Path(__file__).parent
SPEC = {
    "name": "toy",
    "source": {"uri": ["/data/toy.csv"]},
    "columns": {"x": "float", "y": "bool"},
    "label": "y",
    "task": "binary",
    "split": {"by": "hash", "keys": ["x"]},
    "features": [{"name": "x", "from": "x", "transform": "standardize"}],
    "train": {"epochs": 20},
}


@pytest.fixture(scope="session")
def spec():
    return validate(SPEC)


@pytest.fixture(scope="session")
def toy_path(tmp_path_factory):
    from kfp import compiler

    where = importlib.util.spec_from_file_location("toy", HERE / "toy.py")
    toy = importlib.util.module_from_spec(where)
    sys.modules["toy"] = toy  # kfp reads the source of a component's function
    where.loader.exec_module(toy)
    path = tmp_path_factory.mktemp("toy") / "toy.yaml"
    compiler.Compiler().compile(toy.make_toy(str(HERE / "replica.py")), str(path))
    return path
