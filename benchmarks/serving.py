"""Measures how fast exported models answer: `python -m benchmarks.serving [--write]`.

Three kinds of model are trained on the table adult (14 columns) with their defaults. Each answers
through `serving_default` in a process of its own, on one core and on all cores. Then the trees are
served, and loaded beside a peer (`load.py`).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.load import load_page, measure_load
from benchmarks.measuring import (
    BUILD,
    Case,
    Results,
    interleave,
    machine,
    median,
    table,
    write_section,
)
from benchmarks.quality.prepare import Prepared, prepare
from benchmarks.quality.tables import all_tables
from quatrain.components.preprocess.run import preprocess
from quatrain.validation.load import load_spec

SCRIPT = "benchmarks/peers/serving_.py"
KINDS = ("tabm", "trees", "blend")
CORES = {"one core": 0, "all cores": None}
ONE_ROW_MS, ROWS_A_SECOND = 1.0, 150_000
"""Bounds for a blend: milliseconds for a row on one core, and rows a second for 10 000 rows."""


def adult() -> Prepared:
    """Returns the first split of the table adult."""
    return prepare(next(one for one in all_tables() if one.name == "adult"), 0)


def examples() -> str:
    """Returns the folder of its examples, after preprocessing if it does not exist."""
    folder = BUILD / f"serving/adult-{adult().digest[:12]}"
    if not folder.exists():
        spec = load_spec(adult().folder / "spec.yaml")
        preprocess(spec.as_json(), runner="local", out=str(folder))
    return str(folder)


def _case(kind: str) -> Case:
    return Case(kind, SCRIPT, ("trainer", SCRIPT))


def model_of(kind: str) -> Path:
    """Returns the folder of a model, which is trained unless this version of the trainer did it."""
    from quatrain.trainer.job import Job, Outputs
    from quatrain.trainer.model import train
    from quatrain.trainer.settings import Hyperparameters

    out = BUILD / f"serving/{kind}-{_case(kind).key}"
    if not (out / "model/metadata.json").exists():
        settings = replace(Hyperparameters(), model=kind)
        train(Job(examples(), Outputs.of(str(out), {}), settings))
    return out / "model"


def page(results: Results) -> str:
    """Returns the section of docs/benchmarks.md."""
    rows = []
    for kind in KINDS:
        outcomes = {c: [r.outcome for r in results.of(_case(kind), c)] for c in CORES}
        ms = [f"{median(s['one_row_ms'] for s in outcomes[c]):.2f}" for c in CORES]
        many = [f"{median(s['rows_a_second'] for s in outcomes[c]):,.0f}" for c in CORES]
        rows.append([kind, len(outcomes["one core"]), *ms, *many])
    header = ["model", "runs"]
    header += [f"one row, {c}, ms" for c in CORES] + [f"10 000 rows, {c}, rows/s" for c in CORES]
    bounds = (
        f"The target for a blend is at most {ONE_ROW_MS:g} ms for one row on one core, and at "
        f"least {ROWS_A_SECOND:,} rows a second for 10 000 rows."
    )
    about = f"The models are trained on adult (14 columns) with default settings. On {machine()}."
    return "\n\n".join(["## Serving", about, table(header, rows), bounds])


def main() -> None:
    """Runs each case until it has its number of runs, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--load-only", action="store_true", help="measure the server alone")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    results = Results("serving")
    rows = str(adult().folder / "rows.csv")
    for turn in range(1, 1 if options.load_only else options.repeats + 1):
        for kind in KINDS:
            for cores, core in CORES.items():
                cases = [(_case(kind), cores, [str(model_of(kind)), rows])]
                interleave(results, cases, turn, core)
    train = str(adult().folder / "train.parquet")
    measure_load(results, rows, train, model_of("trees"), options.repeats)
    sections = {"serving-load": load_page(results, train)}
    if not options.load_only:
        sections["serving"] = page(results)
    for name, text in sections.items():
        print(text)
        if options.write:
            write_section(name, text)


if __name__ == "__main__":
    main()
