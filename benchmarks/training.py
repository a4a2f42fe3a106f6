"""Measures training against its peers: `python -m benchmarks.training [--write]`.

All cases use the engineered rows of examples/flights/flights.yaml: 262 462 train rows, 18 columns.
"""

from __future__ import annotations

import argparse

from benchmarks.measuring import (
    BUILD,
    ROOT,
    Case,
    Results,
    interleave,
    machine,
    median,
    table,
    write_section,
)
from quatrain.components.preprocess.run import preprocess
from quatrain.validation.load import load_spec

SCRIPT = "benchmarks/peers/training_.py"
SIZE = "0.26M"


def _case(name: str, argument: str) -> Case:
    return Case(name, SCRIPT, ("trainer", SCRIPT), (argument,))


LOOP, ARRAYS, DATASET = (
    _case("the trainer's loop", "loop"),
    _case("Model.fit on arrays", "fit-arrays"),
    _case("Model.fit on a shuffled tf.data of dicts", "fit-dataset"),
)
WINDOWS, RECORDS = (
    _case("Parquet row groups in windows", "windows"),
    _case("TFRecord, shuffle, parse_example", "tfrecords"),
)
TABM, LIGHTGBM = _case("tabm, by default", "tabm"), _case("LightGBM, by default", "lightgbm")
CASES = (LOOP, ARRAYS, DATASET, WINDOWS, RECORDS, TABM, LIGHTGBM)
BOUNDS = ((LOOP, ARRAYS, 2.0), (LOOP, DATASET, 3.5), (WINDOWS, RECORDS, 7.0))
"""The least ratio of the units per CPU-second of two cases."""
MOST_CPU = 12.0
"""The most CPU-seconds that training with the defaults may take, as a multiple of LightGBM's."""


def examples() -> str:
    """Returns the folder of engineered flights, after preprocessing if it does not exist."""
    folder = BUILD / "data/flights-examples"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        spec = load_spec(ROOT / "examples/flights/flights.yaml")
        preprocess(spec.as_json(), runner="local", out=str(folder))
    return str(folder)


def speed(results: Results, case: Case) -> float:
    """Returns the median units (steps, rows or trainings) per CPU-second."""
    return median(r.outcome["units"] / r.cpu_s for r in results.of(case, SIZE))


def page(results: Results) -> str:
    """Returns the section of docs/benchmarks.md."""
    rows = [
        [case.name, len(results.of(case, SIZE)), f"{speed(results, case):,.3g}"] for case in CASES
    ]
    checks = [
        f"- {first.name}: {speed(results, first) / speed(results, second):.1f} times as fast as "
        f"{second.name} (bound: at least {bound:g})"
        for first, second, bound in BOUNDS
    ]
    cost = speed(results, LIGHTGBM) / speed(results, TABM)
    losses = ", ".join(
        f"{case.name} {median(r.outcome['validation_loss'] for r in results.of(case, SIZE)):.4f}"
        for case in (TABM, LIGHTGBM)
    )
    checks.append(
        f"- Training with default settings takes {cost:.1f} times the CPU of LightGBM (bound: at "
        f"most {MOST_CPU:g}); validation log-loss: {losses}"
    )
    header = ["case", "runs", "steps, rows or trainings per CPU-second (median)"]
    return "\n\n".join(["## Training", f"On {machine()}.", table(header, rows), "\n".join(checks)])


def main() -> None:
    """Runs each case until it has its number of runs, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--core", type=int, help="pin each process to this core")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    results, folder = Results("training"), examples()
    chosen = [(case, SIZE, [folder]) for case in CASES if options.only in case.name]
    interleave(results, chosen, options.repeats, options.core)
    print(page(results))
    if options.write:
        write_section("training", page(results))


if __name__ == "__main__":
    main()
