"""The spec as the pipeline carries it."""

import json
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.errors import SpecError
from quatrain.components.specification.parameter import (
    MAX_PARAMETER_BYTES,
    parameter_of,
    read_parameter,
    write_spec,
)
from quatrain.components.specification.schema import ModelSpec

RULES = {"z": "size > 1", "a": "size > 2", "m": "size > 3"}
TOYS: dict[str, Any] = {
    "name": "toys",
    "source": {"uri": "toys.csv"},
    "columns": {"size": "float", "id": "string", "sold": "timestamp", "big": "bool"},
    "clean": {"reject": RULES},
    "label": "big",
    "task": "binary",
    "split": {"by": "hash", "keys": "id"},
    "features": [{"name": "sold", "from": "sold", "transform": "cyclic", "part": "month"}],
    "train": {"epochs": 3, "max_seconds": 3.0, "hidden_units": [8, 4]},
    "evaluate": {"gate": {"log_loss": {"max": 1}, "auc": {"min": 0.5}}},
}


def spec_of(n_columns: int = 0, letter: str = "c") -> ModelSpec:
    """The toys, with further columns that each have a feature."""
    names = [f"{letter}{i}" for i in range(n_columns)]
    features = [{"name": f"f{i}", "from": n, "transform": "log"} for i, n in enumerate(names)]
    columns = {**TOYS["columns"], **dict.fromkeys(names, "float")}
    return ModelSpec.model_validate(
        {**TOYS, "columns": columns, "features": [*TOYS["features"], *features]}
    )


def test_a_spec_travels_as_its_own_json_text(tmp_path: Path) -> None:
    spec = spec_of()
    text = parameter_of(spec, str(tmp_path))
    assert read_parameter(text) == spec
    assert read_parameter(text).sha256 == spec.sha256
    assert '"epochs":3,' in text and '"max_seconds":3.0,' in text
    write_spec(spec, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_order_of_columns_rules_and_bounds_survives() -> None:
    spec = read_parameter(spec_of().as_json())
    assert list(spec.clean.reject) == ["z", "a", "m"]
    assert list(spec.columns) == list(TOYS["columns"])
    assert list(spec.evaluate.gate) == ["log_loss", "auc"]


def test_the_order_in_which_sections_are_written_changes_no_digest() -> None:
    turned = ModelSpec.model_validate(dict(reversed(TOYS.items())))
    assert turned.sha256 == spec_of().sha256


def test_a_long_spec_travels_as_the_uri_and_digest_of_its_file(tmp_path: Path) -> None:
    spec, root = spec_of(2_000), str(tmp_path / "runs")
    parameter = parameter_of(spec, root)
    assert len(parameter) < 1_000
    reference = json.loads(parameter)
    assert reference["uri"] == f"{root}/toys/specs/{spec.sha256}.json"
    for _ in range(2):
        write_spec(spec, root)
    assert [p.name for p in Path(root, "toys/specs").iterdir()] == [f"{spec.sha256}.json"]
    assert read_parameter(parameter) == spec


def test_the_limit_counts_the_text_in_the_form_of_the_executor_s_input(tmp_path: Path) -> None:
    # One letter outside ASCII has 2 bytes in the text, and 6 in the input.
    for letter in ("c", "\u00e9"):
        sizes = {}
        for n in range(200, 1_400, 50):
            spec = spec_of(n, letter)
            parameter = parameter_of(spec, str(tmp_path))
            sizes[len(json.dumps(spec.as_json()))] = parameter == spec.as_json()
        assert [n for n, inline in sizes.items() if inline != (n <= MAX_PARAMETER_BYTES)] == []
        assert set(sizes.values()) == {True, False}


def test_a_file_that_is_gone_or_altered_is_refused(tmp_path: Path) -> None:
    spec = spec_of(2_000)
    parameter = parameter_of(spec, str(tmp_path))
    with pytest.raises(SpecError, match=r"cannot be read .*start the run again"):
        read_parameter(parameter)
    write_spec(spec, str(tmp_path))
    path = Path(json.loads(parameter)["uri"])
    path.write_text(path.read_text().replace("3.0", "4.0"))
    with pytest.raises(SpecError, match=r"has sha256 .*, but the run was started with"):
        read_parameter(parameter)


def test_a_root_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "toys").write_text("in the way")
    with pytest.raises(SpecError, match=r"too long for a parameter.*cannot be written"):
        write_spec(spec_of(2_000), str(tmp_path))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: toys", "spec: is not JSON"),
        ("[1]", "spec: is list; it must be a mapping of the spec's sections"),
        (json.dumps({**TOYS, "lable": "y"}), "spec: lable: unknown key; did you mean 'label'?"),
        (json.dumps({**TOYS, "task": "binry"}), "task: unknown task 'binry'"),
        ('{"uri": 3, "sha256": "a"}', "spec: uri: unknown key"),
        ('{"uri": "a\\u0000b", "sha256": "a"}', r"the spec's file 'a\x00b' cannot be read"),
        ("[" * 100_000, "spec: is not JSON"),
        (json.dumps([0] * 1_000_000), "spec: is list"),
        (json.dumps({**TOYS, "label": [0] * 1_000_000}), "spec: holds more than 1,000,000 values"),
    ],
)
def test_a_parameter_that_was_edited_wrongly_is_refused_by_the_schema(
    text: str, sentence: str
) -> None:
    with pytest.raises(SpecError) as refused:
        read_parameter(text)
    assert sentence in str(refused.value)
