"""A run's own release, as a task of its pipeline: what it does here, again, and overtaken."""

import io
import json
from pathlib import Path

import pytest

from quatrain.components import history
from quatrain.components.errors import ReleaseError
from quatrain.components.release.run import release_run
from quatrain.components.specification.parameter import parameter_of
from quatrain.components.specification.schema import ModelSpec
from quatrain.local.run import run_pipeline
from quatrain.pipelines.compiled import compile_pipeline

SECTION = {"endpoint": "toys", "traffic": [20, 100], "hold_s": 300}
WORDS = (
    "on Vertex AI, it becomes a version of model toys, and gets 20, 100 % of the traffic of "
    "endpoint toys on 1 x n1-standard-2, each step watched for 300 s; the first version gets all "
    "at once"
)


def spec_of(folder: Path, **more) -> ModelSpec:
    table = folder / "toys.csv"
    table.write_text("id,x,y\n" + "".join(f"t{i},{i % 17},{i % 17 > 8}\n" for i in range(400)))
    document = {
        "name": "toys",
        "source": {"uri": str(table)},
        "columns": {"id": "string", "x": "float", "y": "bool"},
        "label": "y",
        "task": "binary",
        "split": {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2},
        "features": [{"name": "x", "from": "x", "transform": "standardize"}],
        "train": {"model": "linear", "epochs": 4, "batch_size": 32},
        **more,
    }
    return ModelSpec.model_validate(document)


@pytest.mark.parametrize("section", [SECTION, None])
def test_a_run_here_says_in_a_line_after_its_steps_what_vertex_ai_would_get(tmp_path, section):
    spec = spec_of(tmp_path, **({"release": section} if section else {}))
    path, stream = compile_pipeline(tmp_path / "training.yaml"), io.StringIO()

    run = run_pipeline(path, spec, tmp_path / "runs", stream=stream)

    lines = stream.getvalue().splitlines()
    page = (run.folder / "report.html").read_text()
    assert [line for line in lines if line.startswith("release")] == (
        [f"release: {WORDS}"] if section else []
    )
    assert (WORDS[1:] in page) == bool(section)
    assert [step.name for step in run.steps] == ["preprocess", "package", "train", "evaluate"]
    if section:
        ends = [n for n, line in enumerate(lines) if line.startswith("[4/4] evaluate")]
        assert lines.index(f"release: {WORDS}") > max(ends)
    assert history.champion_of(str(tmp_path / "runs"), "toys")["run"] == run.folder.name


def test_a_run_that_another_has_overtaken_releases_nothing(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs/toys/statistics"
    folder.mkdir(parents=True)
    record = {"run": "toys-2", "made": "", "split": {}, "statistics": {}}
    (folder / "champion.json").write_text(json.dumps({"version": 1, **record}))
    spec = parameter_of(spec_of(tmp_path, release=SECTION), str(tmp_path))
    released = tmp_path / "release_1/released"

    release_run(spec, str(tmp_path / "runs"), "toys-1", "p", "europe-west1", "i", str(released))

    sentence = "run toys-2 has the champion's place by now, so nothing is released"
    assert released.read_text() == sentence
    assert capsys.readouterr().out == f"release: {sentence}\n"


def test_an_attempt_after_one_that_failed_ends_by_the_same_sentence(tmp_path):
    folder = tmp_path / "release_1"
    folder.mkdir()
    failure = {"reason": "a golden row differs", "advice": "export it again"}
    (folder / "failure.json").write_text(json.dumps({"kind": "ReleaseError", **failure}))
    spec = parameter_of(spec_of(tmp_path, release=SECTION), str(tmp_path))

    with pytest.raises(ReleaseError, match=r"^a golden row differs; export it again$"):
        release_run(spec, str(tmp_path), "r", "p", "europe-west1", "i", str(folder / "released"))
