"""The forms of a spec in Python, and the settings that replace its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import quatrain
from quatrain.face.specs import read_spec

LOOP: dict[str, Any] = {}
LOOP["train"] = LOOP


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table and a spec of it, which is the current one."""
    rows = "".join(f"{i % 97},{'red' if i % 3 else 'green'},{i % 2}\n" for i in range(600))
    (tmp_path / "toys.csv").write_text("size,colour,new\n" + rows)
    monkeypatch.chdir(tmp_path)
    quatrain.init("toys.csv", "new", output="toys.yaml")
    return tmp_path


def document_of(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "toys.yaml").read_text()))


def test_a_path_a_proposal_and_a_dict_are_the_same_spec(folder: Path) -> None:
    proposal = quatrain.init("toys.csv", "new")
    written = proposal.write("again.yaml")
    specs = ["toys.yaml", folder / "toys.yaml", document_of(folder), proposal, written]
    sha256 = {read_spec(spec).spec.sha256 for spec in specs}
    assert len(sha256) == 1


def test_a_proposal_that_was_written_is_read_from_its_file(folder: Path) -> None:
    written = quatrain.init("toys.csv", "new", output="mine.yaml")
    assert written.path is not None
    written.path.write_text(written.path.read_text().replace("name: mine", "name: edited"))
    assert read_spec(written).spec.name == "edited"


def test_settings_are_values_by_key_or_texts_as_on_the_command_line(folder: Path) -> None:
    by_value = read_spec("toys.yaml", {"train.epochs": 3, "name": "small"}).spec
    by_text = read_spec("toys.yaml", ("train.epochs=3", "name=small")).spec
    assert by_value == by_text
    assert (by_value.name, by_value.train.settings.epochs) == ("small", 3)


def test_numbers_of_numpy_are_numbers(folder: Path) -> None:
    numbers = {"train.epochs": np.int64(3), "clean.max_rejected": np.float64(0.5)}
    spec = read_spec("toys.yaml", numbers).spec
    assert (spec.train.settings.epochs, spec.clean.max_rejected) == (3, 0.5)


def test_a_dict_is_not_changed(folder: Path) -> None:
    document = document_of(folder)
    read_spec(document, {"train.epochs": 3})
    assert document == document_of(folder)


def test_a_path_in_a_dict_may_be_a_path_object(folder: Path) -> None:
    document = {**document_of(folder), "source": {"uri": folder / "toys.csv"}}
    assert read_spec(document).spec.source.uri == (f"{folder}/toys.csv",)


@pytest.mark.parametrize(
    ("spec", "settings", "sentence"),
    [
        ("gone.yaml", (), "gone.yaml: cannot be read: No such file or directory; check the name"),
        ("gs://b/toys.yaml", (), "gs://b/toys.yaml is a uri; name a path on this machine"),
        (7, (), "spec: an int is no spec; give the path of one"),
        ({}, (), "spec: name: missing"),
        ({"name": "x"}, {"name.y": 3}, "set 'name.y': name is not a section; leave out .y"),
        ("a\0b.yaml", (), "holds a NUL character, as no name of a file does; correct it"),
        ({1: 2}, (), "spec: the key 1 must be a text"),
        ({"columns": {"a": {3: "int"}}}, (), "spec.columns.a: the key 3 must be a text"),
        ({"label": b"y"}, (), "spec.label: a bytes must be a text, a number, true, false, a date"),
        ({"evaluate": {"slices": {"c"}}}, (), "spec.evaluate.slices: a set must be a text"),
        (LOOP, (), "nests deeper than 100 levels; flatten it"),
        ({"source": {"uri": "a\0b"}}, (), "holds a NUL character"),
        ({"name": "x"}, {3: 4}, "set: the key 3 must be a text"),
        ({"name": "x"}, {"label": print}, "set.label: a builtin_function_or_method must be"),
        ({"name": "x"}, None, "set: None is no mapping; write it as {'train.epochs': 5}"),
        ({"name": "x"}, "name=y", "set: 'name=y' is no mapping"),
        ({"name": "x"}, ("name",), "--set name: write it as section.key=value"),
    ],
)
def test_what_is_no_spec_is_refused_in_a_sentence(
    folder: Path, spec: Any, settings: Any, sentence: str
) -> None:
    for verb in (quatrain.check, quatrain.run):
        with pytest.raises(quatrain.SpecError) as refusal:
            verb(spec, set=settings)
        assert sentence in str(refusal.value)
