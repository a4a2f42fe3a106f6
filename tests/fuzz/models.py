"""The folder of a model: files altered, removed, added, with digests that fit or do not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from quatrain.components.errors import QuatrainError
from quatrain.components.serve.online.service import predict
from quatrain.components.serve.server import load
from tests.fuzz.documents import ROOT
from tests.fuzz.door import Door, refusal
from tests.fuzz.mutation import TOKENS, altered, mutated

MODEL = next((ROOT / "tests/fixtures/root-0.1.0/root/toys").glob("2*351-*/*/*/plan/model/model"))
FILES = {p.relative_to(MODEL).as_posix(): p.read_bytes() for p in MODEL.rglob("*") if p.is_file()}
DOCUMENTS = [name for name in FILES if name.endswith(".json")]
OTHERS = ["extra.py", "assets/x", "saved_model.pbtxt", "a b", "fingerprint.pb", ".hidden"]
ROW = {"size": 1.5, "colour": "red"}


@st.composite
def _cases(draw: Any) -> tuple[dict[str, bytes | None], bool]:
    """Returns the bytes of changed files, None for a removed one, and whether digests fit."""
    changes: dict[str, bytes | None] = {}
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["document", "document", "bytes", "absent", "more"]))
        if kind == "document":
            name = draw(st.sampled_from(DOCUMENTS))
            document = draw(altered(json.loads(FILES[name])))
            changes[name] = json.dumps(document, default=str).encode()
        elif kind == "more":
            changes[draw(st.sampled_from(OTHERS))] = draw(st.sampled_from(TOKENS))
        else:
            name = draw(st.sampled_from(list(FILES)))
            changes[name] = draw(mutated([FILES[name]], most=3)) if kind == "bytes" else None
    return changes, draw(st.booleans())


def _with_digests(folder: Path) -> None:
    """Writes the digests of the files as they are, as who alters a model can."""
    try:
        path = folder / "metadata.json"
        metadata = json.loads(path.read_bytes())
        metadata["files"] = {
            p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*")
            if p.is_file() and p != path
        }
        path.write_text(json.dumps(metadata), encoding="utf-8")
    except (OSError, ValueError, TypeError, RecursionError):
        return  # a document that is not there, or of another shape


def _make_check(folder: Path) -> Callable[[tuple[dict[str, bytes | None], bool]], str]:
    expected = predict(load(str(MODEL)), [ROW])

    def check(case: tuple[dict[str, bytes | None], bool]) -> str:
        changes, redone = case
        model = folder / "model"
        shutil.copytree(MODEL, model)
        try:
            for name, data in changes.items():
                path = model / name
                path.parent.mkdir(exist_ok=True)
                if data is None:
                    path.unlink()
                else:
                    path.write_bytes(data)
            if redone:
                _with_digests(model)
            answer = predict(load(str(model)), [ROW])
        except QuatrainError as error:
            return refusal(error)
        finally:
            shutil.rmtree(model)
        # Golden rows are the model's own, so who alters both may get another answer.
        assert redone or answer == expected, (answer, expected)
        return "served"

    return check


DOORS = (Door("model", _cases(), _make_check, 60),)
