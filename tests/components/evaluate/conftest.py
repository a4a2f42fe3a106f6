"""What the runs of a model leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from quatrain.components.evaluate.run import evaluate_model
from quatrain.components.evaluate.this_run import ThisRun
from tests.components.handmade import export_model, make_rows, make_spec, write_examples


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two runs leave: run-2 is a little worse than run-1."""
    folder = tmp_path_factory.mktemp("artifacts")
    spec = make_spec()
    rows = {"train": make_rows(300), "test": make_rows(400, seed=1)}
    for number, shift in ((1, 0.0), (2, 0.2)):
        run = folder / f"run-{number}"
        examples = write_examples(run / "examples", rows, spec=spec)
        model = export_model(run / "model/model", shift=shift).parent
        this_run = ThisRun(run.name, f"2026-12-0{number}T06:00:00+00:00")
        evaluate_model(spec, examples, model, run / "evaluation", this_run=this_run)
    return folder
