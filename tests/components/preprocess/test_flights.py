"""The flights example: every file of the artifact has the bytes that it had before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quatrain.components.preprocess.run import preprocess
from quatrain.validation.load import load_spec

FLIGHTS = Path(__file__).parents[3] / "examples/flights"
DIGESTS = Path(__file__).with_name("flights_digests.json")
"""By file, as the locked pyarrow writes them; a change of what is computed changes them, too."""


def test_the_files_of_flights_have_their_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (FLIGHTS / "data/flights.csv").exists(), "run `make data`, which fetches the table"
    monkeypatch.chdir(FLIGHTS)
    spec = load_spec(FLIGHTS / "flights.yaml")
    # A relative path, as rejected rows name their file.
    source = spec.source.model_copy(update={"uri": ("data/flights.csv",)})
    spec = spec.model_copy(update={"source": source})
    preprocess(spec.as_json(), runner="local", out=str(tmp_path / "examples"))
    manifest = json.loads((tmp_path / "examples/manifest.json").read_text())
    assert manifest["files"] == json.loads(DIGESTS.read_text())
