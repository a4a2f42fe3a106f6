"""A model in Python answers as `quatrain predict` does, and is loaded with the same care."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from quatrain.cli import main
from quatrain.components.errors import ArtifactError
from quatrain.results.model import Model, load_model
from quatrain.results.run import Run

FIXTURE = Path(__file__).parents[2] / "fixtures/root-0.1.0/root"
LAST = "20261201T143511-251852"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs, with two runs of one model."""
    return Path(shutil.copytree(FIXTURE, tmp_path_factory.mktemp("model") / "runs", symlinks=True))


@pytest.fixture(scope="module")
def model(root: Path) -> Model:
    return load_model(root / "toys", root=root)


def test_a_model_answers_as_the_verb_does(model: Model, root: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(FIXTURE.parent / "toys.csv")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / "out.parquet"
    words = ["predict", str(root / "toys"), str(tmp_path / "rows.csv"), "-o", str(out)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--root", str(root)])
    assert ended.value.code in (0, None)
    answers = model.predict(frame)
    assert answers.num_rows == 400
    assert answers.equals(pq.read_table(out))


def test_a_model_says_what_it_is(model: Model, root: Path) -> None:
    assert (model.task, model.label, model.classes) == ("binary", "is_sold", ("false", "true"))
    assert dict(model.inputs) == {"size": "float", "colour": "string"}
    assert model.metadata["tier"] == "BASIC"
    assert isinstance(model.inputs, Mapping)
    assert repr(model) == (
        f"binary model of 'is_sold' of false, true, from 2 inputs: {root}/toys/champion/model"
    )


@pytest.mark.parametrize("place", ["toys/latest", "toys/latest/model", f"toys/{LAST}"])
def test_the_folder_of_a_run_or_of_a_model_is_loaded_too(root: Path, place: str) -> None:
    row = {"size": 1.5, "colour": "red"}
    assert load_model(root / place, root=root).predict(row).num_rows == 1


def test_a_run_has_its_model_if_its_root_knows_it(root: Path, model: Model, tmp_path: Path) -> None:
    row = {"size": 1.5, "colour": "red"}
    run = Run(root / "toys" / LAST, root=root)
    assert run.model is run.model
    assert run.model.predict(row).equals(model.predict(row))
    with pytest.raises(ArtifactError, match="was evaluated by no run below"):
        _ = Run(root / "toys" / LAST, root=tmp_path).model


def test_the_model_of_a_run_in_a_bucket_is_loaded_too(remote: str, model: Model) -> None:
    row = {"size": 1.5, "colour": "red"}
    there = Run(f"{remote}/toys", root=remote).model
    assert there.place == f"{remote}/123/{LAST}/plan/model/model"
    assert there.predict(row).equals(model.predict(row))


def test_a_model_that_failed_its_gate_is_loaded_with_a_warning(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "runs", symlinks=True)
    (metrics,) = (tmp_path / f"runs/toys/{LAST}/pipeline").glob("*/measure/evaluation/metrics.json")
    document = json.loads(metrics.read_text())
    document["gate"]["checks"][0]["passed"] = False
    metrics.write_text(json.dumps(document))
    with pytest.warns(UserWarning, match=r"^this model failed its gate: auc=0\.7585 on 67"):
        load_model(tmp_path / f"runs/toys/{LAST}", root=tmp_path / "runs")


def test_an_altered_model_is_refused_before_tensorflow_is_imported(
    root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "toys/latest/model", tmp_path / "copy")
    with (tmp_path / "copy/saved_model.pb").open("ab") as file:
        file.write(b"\0")
    code = (
        "import sys\n"
        "from quatrain.components.errors import ArtifactError\n"
        "from quatrain.results.model import load_model\n"
        "try:\n    load_model('copy', trust=True)\n"
        "except ArtifactError as error:\n    print(error)\n"
        "print('tensorflow' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    completed = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    refusal, imported = completed.stdout.splitlines()
    assert refusal.startswith("copy/saved_model.pb is not the file that was exported")
    assert imported == "False"


def test_what_holds_no_model_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "runs/toys/20261201T000000-000000"
    run.mkdir(parents=True)
    with pytest.raises(ArtifactError, match=r"is neither a model nor a run .*`quatrain run`, or"):
        load_model(run.parent)
    (run / "run.json").write_text("{}")
    with pytest.raises(ArtifactError, match=f"is a run without a model, .*report {run}` shows"):
        load_model(run)
    with pytest.raises(ArtifactError, match="toys has no run with a model"):
        load_model(run.parent)
