"""Trains the product on one split by its own steps, and answers by the exported model.

The spec is the one that `init` wrote, with these splits. Preprocessing and training count as
training; building the sdist of the trainer, which does not depend on the rows, does not count.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

import quatrain
from benchmarks.quality.prepare import SPLIT
from benchmarks.quality.workers.work import arguments, run
from quatrain.components.package import isolation
from quatrain.components.package.publishing import default_trainer_dir
from quatrain.components.package.sdist import Sdist, build_sdist
from quatrain.components.preprocess.run import preprocess
from quatrain.components.train.plan import resolve_tier, trainer_arguments
from quatrain.validation.load import load_spec


def train(folder: Path, work: Path, sdist: Sdist, site: Path) -> Path:
    """Preprocesses a split and trains on it; returns the folder of the model.

    Args:
        folder: The split.
        work: Where to write.
        sdist: The trainer.
        site: Where it is installed.
    """
    spec = load_spec(folder / "spec.yaml")
    examples = str(work / "examples")
    preprocess(spec.as_json(), runner="local", out=examples)
    command = [sys.executable, "-m", "trainer.task", "--job-dir", str(work)]
    command += ["--package-sha256", sdist.sha256]
    command += trainer_arguments(spec.train.settings, examples, resolve_tier(spec))
    subprocess.run(command, check=True, cwd=work, env=isolation.environment(site))
    return work / "model"


def test_rows(folder: Path, inputs: list[str]) -> pa.Table:
    """Returns the test rows as they are written, as texts."""
    types = dict.fromkeys([*inputs, SPLIT], pa.string())
    options = pacsv.ConvertOptions(column_types=types, include_columns=list(types))
    parse = pacsv.ParseOptions(newlines_in_values=True)
    rows = pacsv.read_csv(folder / "rows.csv", parse_options=parse, convert_options=options)
    return rows.filter(pc.equal(rows[SPLIT], "test")).drop_columns(SPLIT)


def answer(model: Path, folder: Path, classes: list[str]) -> np.ndarray:
    """Returns the probabilities of the classes, 0 for one that the model lacks, or numbers."""
    loaded = quatrain.load_model(model, trust=True)
    found = loaded.predict(test_rows(folder, list(loaded.inputs)), rejected="null")
    if not classes:
        return found["prediction"].to_numpy()
    nothing = pa.nulls(found.num_rows, pa.float64()).fill_null(0.0)
    names = [f"probability_{c}" for c in classes]
    columns = [found[n] if n in found.column_names else nothing for n in names]
    return np.stack([c.to_numpy() for c in columns], axis=1)


def main() -> None:
    """Trains and answers."""
    place, _, out, _ = arguments()
    folder = Path(place)
    classes = json.loads((folder / "columns.json").read_text())["classes"]
    importlib.import_module("tensorflow")  # which is not answering
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        sdist = build_sdist(default_trainer_dir(), work)
        site = isolation.install(sdist.path, work)
        run(
            lambda: train(folder, work, sdist, site),
            lambda model: answer(model, folder, classes),
            out,
        )


if __name__ == "__main__":
    main()
