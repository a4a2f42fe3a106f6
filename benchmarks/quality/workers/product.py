"""Trains the product on one split by its own steps, loads the exported model and answers by it.

The spec is the one that `init` wrote, with these splits. Preprocessing and training count as
training; building the sdist of the trainer, which does not depend on the rows, does not count.
"""

from __future__ import annotations

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


def test_rows(folder: Path) -> pa.Table:
    """Returns the test rows with the types that Arrow reads, as a program has them in memory.

    A column that the spec reads as texts, or by rules of its own, has texts.
    """
    spec = json.loads(load_spec(folder / "spec.yaml").as_json())
    columns = {name: type_ for name, type_ in spec["columns"].items() if name != spec["label"]}
    texts = [name for name, type_ in columns.items() if isinstance(type_, dict)]
    texts += [name for name, type_ in columns.items() if type_ == "string"]
    options = pacsv.ConvertOptions(
        column_types=dict.fromkeys(texts, pa.string()),
        include_columns=list(columns),
        null_values=spec["source"]["nulls"],
    )
    parse = pacsv.ParseOptions(newlines_in_values=True)
    rows = pacsv.read_csv(folder / "rows.csv", parse_options=parse, convert_options=options)
    return rows.filter(pc.equal(rows[SPLIT], "test")).drop_columns(SPLIT).combine_chunks()


def answer(model: quatrain.Model, rows: pa.Table, classes: list[str]) -> np.ndarray:
    """Returns the probabilities of the classes, 0 for one that the model lacks, or numbers."""
    found = model.predict(rows, rejected="null")
    if not classes:
        return found["prediction"].to_numpy()
    nothing = pa.nulls(found.num_rows, pa.float64()).fill_null(0.0)
    names = [f"probability_{c}" for c in classes]
    columns = [found[n] if n in found.column_names else nothing for n in names]
    return np.stack([c.to_numpy() for c in columns], axis=1)


def main() -> None:
    """Trains, loads and answers."""
    place, _, out, _ = arguments()
    folder = Path(place)
    classes = json.loads((folder / "columns.json").read_text())["classes"]
    rows = test_rows(folder)
    load = quatrain.load_model  # whose import is not loading
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        sdist = build_sdist(default_trainer_dir(), work)
        site = isolation.install(sdist.path, work)
        run(
            lambda: train(folder, work, sdist, site),
            lambda model: answer(model, rows, classes),
            out,
            load=lambda model: load(model, trust=True),
        )


if __name__ == "__main__":
    main()
