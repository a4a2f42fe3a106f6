"""lineage.json: by digests and versions, what a run was made from and compared with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.artifacts import sha256_of
from quatrain.components.evaluate.champion import settle
from quatrain.components.evaluate.run import evaluate_model
from quatrain.components.evaluate.this_run import ThisRun
from quatrain.components.folder import Folder
from quatrain.components.specification.parameter import read_parameter
from tests.components.handmade import export_model, make_rows, make_spec, write_examples

IMAGE = "eu-docker.pkg.dev/p/q/quatrain@sha256:" + "a" * 64
VERSIONS = {"gs://b/rows.csv": "1700000000000000"}


class Runs:
    """A root of runs on the same rows, each with the uris and versions of its source."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.spec = folder, str(folder / "root"), make_spec()
        rows = {"train": make_rows(300), "test": make_rows(400, seed=1)}
        self.examples = write_examples(folder / "examples", rows, spec=self.spec)
        manifest = self.examples / "manifest.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "source": VERSIONS}))
        self.model = export_model(folder / "model" / "model").parent

    def measure(self, number: int) -> Path:
        out = self.folder / f"run-{number}"
        created = f"2026-12-0{number}T06:00:00+00:00"
        this_run = ThisRun(f"run-{number}", created, "p" * 64, 1, "d" * 64, IMAGE, "t:cuda")
        evaluate_model(self.spec, self.examples, self.model, out, root=self.root, this_run=this_run)
        return out

    def settle(self, number: int, out: Path) -> None:
        created = f"2026-12-0{number}T06:00:00+00:00"
        places = str(self.examples), str(out), str(self.model)
        settle(read_parameter(self.spec), self.root, f"run-{number}", created, *places)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("lineage"))


def lineage(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "lineage.json").read_bytes())
    return document


def test_it_names_what_a_run_was_made_from_and_its_rivals(runs: Runs) -> None:
    first = runs.measure(1)
    document = lineage(first)
    metadata = json.loads((runs.model / "model/metadata.json").read_bytes())
    assert document["source"] == {
        "digest": "d" * 64,
        "window": None,
        "files": [{"uri": "gs://b/rows.csv", "version": "1700000000000000"}],
    }
    assert document["spec"] == read_parameter(runs.spec).sha256
    assert document["examples"]["transform"] == sha256_of(runs.examples / "transform.json")
    assert document["examples"]["statistics"] == sha256_of(runs.examples / "statistics.json")
    assert document["trainer"] == metadata["package_sha256"]
    assert document["model"] == sha256_of(runs.model / "model/metadata.json")
    assert document["image"] == {"steps": IMAGE, "training": "t:cuda"}
    assert (document["champion"], document["best"]) == (None, None)
    runs.settle(1, first)
    champion = lineage(runs.measure(2))["champion"]
    assert champion == {"run": "run-1", "metadata": document["model"], "why": ""}


def test_metrics_hold_its_digest_and_a_repetition_writes_the_same_bytes(runs: Runs) -> None:
    out = runs.measure(3)
    data = (out / "lineage.json").read_bytes()
    made_by = json.loads((out / "metrics.json").read_bytes())["made_by"]
    assert made_by["lineage"] == hashlib.sha256(data).hexdigest()
    assert (runs.measure(3) / "lineage.json").read_bytes() == data


def test_an_evaluation_that_is_killed_before_its_end_leaves_none(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Folder, "write_json", die)  # of metrics.json, the last file
    with pytest.raises(KeyboardInterrupt):
        runs.measure(4)
    assert not (runs.folder / "run-4/lineage.json").exists()
