"""A model folder is served only when it holds exactly what was exported, and all of it agrees."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.errors import ArtifactError
from quatrain.components.serve import predict as prediction
from quatrain.components.serve.server import load

FIXTURE = Path(__file__).parents[2] / "fixtures/root-0.1.0"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (exported, *_) = sorted(FIXTURE.glob("root/toys/2*/pipeline/*/plan/model/model"))
    return Path(shutil.copytree(exported, tmp_path / "model"))


def edit(folder: Path, name: str, change: Callable[[Any], Any], *, digest: bool = False) -> None:
    """Changes a document of a model, and its digest if asked to."""
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    if digest:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        edit(folder, "metadata.json", lambda m: {**m, "files": {**m["files"], name: sha256}})


def refused(folder: Path) -> str:
    """Returns the sentence of the server, which is that of predict; trust mends nothing."""
    rows = folder.parent / "rows.csv"
    rows.write_text("size,colour\n1,red\n")
    with pytest.raises(ArtifactError) as at_server:
        load(str(folder))
    with pytest.raises(ArtifactError) as at_predict:
        prediction.predict(folder, rows, folder.parent / "out.csv", trust=True)
    assert str(at_server.value) == str(at_predict.value)
    return str(at_server.value)


def without(*names: str) -> Callable[[Any], Any]:
    return lambda m: {**m, "files": {n: s for n, s in m["files"].items() if n not in names}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: {**m, "files": {}}, "`files` in metadata.json has no digest of saved_model.pb"),
        (without("transform.json"), "`files` in metadata.json has no digest of transform.json"),
        (without("golden.json"), "holds 'golden.json', which metadata.json does not name"),
        (
            without("variables/variables.index"),
            "holds 'variables/variables.index', which metadata.json does not name",
        ),
        (lambda m: {**m, "files": None}, "has no digests of the model's files (`files`)"),
        (lambda m: {**m, "files": list(m["files"])}, "has no digests of the model's files"),
        (lambda m: {**m, "files": dict.fromkeys(m["files"], 1)}, "has no digests of the model's"),
        (lambda m: {"classes": m["classes"]}, "has no digests of the model's files"),
        (lambda m: {**m, "files": {**m["files"], "../x": ""}}, "names '../x', outside of the"),
        (lambda m: {**m, "files": {**m["files"], "/etc/passwd": ""}}, "names '/etc/passwd', outs"),
        (lambda m: [m], "metadata.json is cut short or altered (it is list, not an object)"),
        (lambda _: 5, "metadata.json is cut short or altered (it is int, not an object)"),
    ],
)
def test_metadata_does_not_switch_the_digests_off(
    model: Path, change: Callable[[Any], Any], sentence: str
) -> None:
    edit(model, "metadata.json", change)
    assert sentence in refused(model)


@pytest.mark.parametrize(
    "name", ["extra.py", "assets/vocabulary.txt", ".hidden", "saved_model.cpb"]
)
def test_a_file_that_was_not_exported_is_refused(model: Path, name: str) -> None:
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("x")
    assert f"holds '{name}', which metadata.json does not name" in refused(model)


def swap(document: Any) -> Any:
    label = document["label"]
    return {**document, "label": {**label, "classes": label["classes"][::-1]}}


def test_a_link_to_a_folder_is_a_file_that_was_not_exported(model: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (model / "assets.extra").symlink_to(tmp_path / "elsewhere")
    assert "holds 'assets.extra', which metadata.json does not name" in refused(model)


def test_classes_that_changed_places_are_refused_even_with_their_digest(model: Path) -> None:
    edit(model, "transform.json", swap, digest=True)
    assert "its classes are ['true', 'false'] in transform.json, but " in refused(model)
    edit(model, "metadata.json", lambda m: {**m, "classes": m["classes"][::-1]})
    assert "in transform.json, but ['false', 'true'] in the signature" in refused(model)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("transform.json", lambda _: []),
        ("transform.json", lambda t: {"version": t["version"]}),
        ("transform.json", lambda t: {**t, "label": "y"}),
        ("transform.json", lambda t: {**t, "inputs": [{"nme": "x"}]}),
        ("transform.json", lambda t: {**t, "features": {"x": 1}}),
        ("golden.json", lambda _: 5),
        ("golden.json", lambda g: {**g, "inputs": {"nobody": [1]}}),
        ("golden.json", lambda g: {**g, "output": "nothing"}),
        ("golden.json", lambda g: {**g, "answers": [[1.0]]}),
    ],
)
def test_a_document_of_another_shape_is_a_sentence(
    model: Path, name: str, change: Callable[[Any], Any]
) -> None:
    edit(model, name, change, digest=True)
    assert "export the model again" in refused(model)


@pytest.mark.parametrize("key", ["inputs", "engineered", "classes"])
@pytest.mark.parametrize("value", [None, 5, ["x"], [{"name": "x"}]])
def test_metadata_of_another_shape_is_a_sentence(model: Path, key: str, value: Any) -> None:
    edit(model, "metadata.json", lambda m: {**m, key: value})
    assert "export the model again" in refused(model)


def test_the_server_finds_the_model_of_a_run_as_predict_does(model: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "champion").mkdir(parents=True)
    model.rename(tmp_path / "runs" / "champion" / "model")
    assert load(str(tmp_path / "runs")).model.classes == ("false", "true")
    with pytest.raises(ArtifactError, match="is neither a model nor a run"):
        load(str(tmp_path / "runs" / "champion" / "model" / "variables"))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("variables/variables.index", lambda data: data[:40] + b"\x00" + data[41:]),
        ("variables/variables.data-00000-of-00001", lambda data: data[:-9]),
        ("saved_model.pb", lambda data: data[: len(data) // 2]),
        ("saved_model.pb", lambda data: data.replace(b"serving_default", b"serving_defau1t")),
    ],
)
def test_what_tensorflow_cannot_load_is_a_sentence(
    model: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    path = model / name
    path.write_bytes(change(path.read_bytes()))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(model, "metadata.json", lambda m: {**m, "files": {**m["files"], name: sha256}})
    assert "export the model again" in refused(model) or "export it with" in refused(model)


def retyped(type_: Any) -> Callable[[Any], Any]:
    return lambda t: {**t, "inputs": [{**t["inputs"][0], "type": type_}, *t["inputs"][1:]]}


@pytest.mark.parametrize("type_", [None, "number", 5])
def test_an_input_of_another_type_is_a_sentence(model: Path, type_: Any) -> None:
    edit(model, "transform.json", retyped(type_), digest=True)
    assert "transform.json" in refused(model)
