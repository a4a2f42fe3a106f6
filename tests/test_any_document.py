"""Whatever stands at whatever place of a document, its door answers in a sentence."""

import datetime
import random
import re
from pathlib import Path

import pytest
import yaml

from quatrain.components.errors import QuatrainError
from quatrain.components.tiers.prices import OWN, load_prices
from quatrain.pipelines.compiled import compile_pipeline, read_compiled
from quatrain.validation.load import load_spec
from quatrain.vertex.cloud_file import load_cloud
from tests.fuzz.mutation import changed, places
from tests.quatrain.vertex.test_cloud_file import CLOUD

ROOT = Path(__file__).parents[1]
RAW = re.compile(
    r"(?i)input should|valid (string|dictionary|integer|number|list|tuple|boolean|date)|"
    r"field required|are not permitted"
)
"""Words of pydantic that no message passes on."""
VALUES = [
    *(None, True, 0, -1, 2**70, 1.5, float("inf"), float("nan"), "", "x", "\x85", " ", "a.b"),
    *([], [1], ["x", "x"], [None], [[]], {}, {"x": 1}, {"": None}, {"x": {"y": []}}),
    *(datetime.date(2014, 5, 1), "{{$", "9" * 500, "\U0001f600", "x" * 5000),
]


def documents(tmp_path):
    spec = yaml.safe_load((ROOT / "examples/flights/flights.yaml").read_text())
    compiled = compile_pipeline(tmp_path / "training.yaml", CLOUD["image"])
    full = {"labels": {"a": "b"}, "runner_options": {"x": ["y"]}, "budget_usd": 5}
    yield load_spec, spec, [("clean", kind) for kind in ("reject", "derive")]
    yield load_cloud, {**CLOUD, **full}, []
    yield load_prices, yaml.safe_load(OWN.read_text()), []
    yield read_compiled, yaml.safe_load(compiled.read_text()), [("root",), ("root", "dag")]


@pytest.mark.parametrize("number", range(4), ids=["spec", "cloud", "prices", "pipeline"])
def test_no_value_at_any_place_is_unexpected(tmp_path, number):
    door, document, always = list(documents(tmp_path))[number]
    chance = random.Random(17)  # noqa: S311 - reproducible, not secret
    pairs = [(at, value) for at in places(document) for value in VALUES]
    chosen = [(at, value) for at in always for value in VALUES]
    path = tmp_path / "f.yaml"
    for at, value in chosen + chance.sample(pairs, 20 if door is read_compiled else 120):
        path.write_text(yaml.dump(changed(document, at, value), allow_unicode=True))
        message = ""
        try:
            door(path)
        except QuatrainError as error:  # any other exception would be "unexpected"
            message = str(error)
        assert not RAW.search(message), f"{at}: {value!r}"
