"""The same metrics and predictions on every engine that scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.engine.launch import Launch
from quatrain.components.errors import RunnerError
from quatrain.components.evaluate.run import evaluate_model
from tests.components.handmade import export_model, make_rows, make_spec, write_examples
from tests.emulators import storage
from tests.engines.servers import ROOT, STARTED, Server

SCORE = """
import json, sys
from quatrain.components.engine.launch import Launch
from quatrain.components.evaluate.run import evaluate_model

spec, chosen = sys.argv[1], json.loads(sys.argv[2])
launch = Launch("evaluate", chosen["runner"], chosen["runner_options"])
uris = (f"gs://b/scoring/{name}" for name in ("examples", "trained", "there"))
evaluate_model(spec, *uris, launch=launch)
"""
SPEC = make_spec(slices=["carrier"], gate={"auc": {"min": 0.6}})


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Examples and a model, with what the runner of this process makes of them."""
    root = tmp_path_factory.mktemp("artifacts")
    rows = {"train": make_rows(900), "test": make_rows(700, seed=1)}
    write_examples(root / "examples", rows, cuts=3, spec=SPEC)
    export_model(root / "trained/model")
    evaluate_model(SPEC, root / "examples", root / "trained", root / "evaluation")
    return root


def files_of(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.mark.parametrize("engine", ["local-2", "prism", "portable", "local-pool"])
def test_every_engine_scores_alike(
    engine: str,
    launch: Callable[[str], dict[str, Any]],
    artifacts: Path,
    pool: Server,
    tmp_path: Path,
) -> None:
    workers = pool.log.read_text().count(STARTED)
    chosen = {"runner": "local", "runner_options": {"direct_num_workers": 2}}
    if engine != "local-2":
        chosen = launch(engine)
    evaluate_model(
        SPEC,
        artifacts / "examples",
        artifacts / "trained",
        tmp_path / "evaluation",
        launch=Launch("evaluate", chosen["runner"], chosen["runner_options"]),
    )
    assert files_of(tmp_path / "evaluation") == files_of(artifacts / "evaluation")
    assert (pool.log.read_text().count(STARTED) - workers == 2) == engine.endswith("-pool")


def test_workers_elsewhere_score_from_and_to_a_bucket(
    launch: Callable[[str], dict[str, Any]],
    artifacts: Path,
    bucket: storage.Storage,
) -> None:
    for name, data in files_of(artifacts).items():
        bucket.put(f"gs://b/scoring/{name}", data)
    # Arrow waits for a bucket with the interpreter's lock, so the step is another process.
    command = [sys.executable, "-c", SCORE, SPEC, json.dumps(launch("local-pool"))]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})
    prefix = "scoring/there/"
    objects = {n: o.data for n, o in bucket.buckets["b"].objects.items() if n.startswith(prefix)}
    written = {n.removeprefix(prefix): data for n, data in objects.items() if not n.endswith("/")}
    assert written == files_of(artifacts / "evaluation")


def test_scoring_on_dataflow_writes_to_a_bucket(artifacts: Path, tmp_path: Path) -> None:
    launch = Launch("evaluate", "dataflow")
    with pytest.raises(RunnerError, match="writes to a bucket"):
        evaluate_model(
            SPEC, artifacts / "examples", artifacts / "trained", tmp_path / "out", launch=launch
        )
    assert list(tmp_path.iterdir()) == []
