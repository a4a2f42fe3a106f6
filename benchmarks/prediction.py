"""Measures batch prediction beside bare calls of the model: `python -m benchmarks.prediction`.

The flights are answered by a model of examples/flights/flights.yaml: from a Parquet file and from a
CSV into shards, as `quatrain predict` does, and by calls of the same SavedModel on rows that lie in
memory in the form that it takes. All work in one process, in turn, with as many threads and as many
rows a call. Loading the model is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from benchmarks.measuring import BUILD, ROOT, cpu_seconds, machine, median, table, write_section
from benchmarks.training import examples
from quatrain.components.serve.ahead import default_threads, map_ahead
from quatrain.components.serve.batch import in_process
from quatrain.components.serve.batch.passes import PredictionPlan, total_of
from quatrain.components.serve.input_rows import InputRows
from quatrain.components.serve.served_model import ServedModel
from quatrain.trainer.features import raw_inputs
from quatrain.trainer.job import Job, Outputs
from quatrain.trainer.model import train
from quatrain.validation.load import load_spec

FLIGHTS = ROOT / "examples/flights/data/flights.csv"
STEPS = 200
"""The steps of training; the speed of a model does not depend on how well it is trained."""
BOUND = 0.2
"""The most by which the rows a second may lie below those of bare calls."""


@dataclass(frozen=True)
class Turn:
    """One repeat of one way to answer all rows: its seconds and its CPU-seconds."""

    wall_s: float
    cpu_s: float


def model_folder() -> Path:
    """Returns the folder of the model, which is trained if it does not exist."""
    out = BUILD / "prediction"
    if not (out / "model/metadata.json").exists():
        settings = load_spec(ROOT / "examples/flights/flights.yaml").train.settings
        train(Job(examples(), Outputs.of(str(out), {}), replace(settings, max_steps=STEPS)))
    return out / "model"


def parquet_file() -> Path:
    """Returns the flights as a Parquet file of typed columns, which is written if it is absent."""
    path = BUILD / "data/flights.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        convert = pacsv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
        pq.write_table(
            pacsv.read_csv(FLIGHTS, convert_options=convert), path, row_group_size=65_536
        )
    return path


def shards_of(path: Path, model: ServedModel, n_threads: int) -> Callable[[], int]:
    """Returns what answers a file into shards, and says how many rows it had."""

    def work() -> int:
        rows = InputRows.of(str(path), model.transform, ())
        with TemporaryDirectory() as folder:
            spans = rows.spans
            plan = PredictionPlan("", "", rows, folder, None, "parquet", len(spans))
            return total_of(in_process.predict(plan, spans, model, n_threads), len(spans)).read

    return work


def bare_calls(path: Path, model: ServedModel, n_threads: int) -> Callable[[], int]:
    """Returns what answers the rows of a file that were read before, in the same batches."""
    rows = InputRows.of(str(path), model.transform, ())
    batches = [
        raw_inputs(batch, model.transform.inputs)
        for span, block in rows.blocks()
        for batch, _ in rows.batches(span, block)
    ]
    return lambda: sum(len(a) for a in map_ahead(model.answer, batches, n_threads))


def measure(work: Callable[[], int], n_rows: int) -> Turn:
    """Returns what it takes to answer all rows."""
    cpu, started = cpu_seconds(), time.perf_counter()
    answered = work()
    turn = Turn(time.perf_counter() - started, cpu_seconds() - cpu)
    assert answered == n_rows, f"{answered} of {n_rows} rows were answered"  # noqa: S101
    return turn


def page(turns: dict[str, list[Turn]], n_rows: int, n_threads: int) -> str:
    """Returns the section of docs/benchmarks.md."""
    bare = turns["bare calls"]
    rows = []
    for name, own in turns.items():
        below = [1 - b.wall_s / o.wall_s for b, o in zip(bare, own, strict=True)]
        more = [o.cpu_s / b.cpu_s - 1 for b, o in zip(bare, own, strict=True)]
        speed = f"{n_rows / median(t.wall_s for t in own):,.0f}"
        cpu = f"{1e6 * median(t.cpu_s for t in own) / n_rows:.2f}"
        shown = ["", ""] if own is bare else [f"{median(below):.0%}", f"{median(more):.0%}"]
        rows.append([name, speed, cpu, *shown])
    header = ["way", "rows/s", "CPU-s for 1 M rows", "rows/s below bare", "CPU above bare"]
    about = (
        f"{n_rows:,} flights are answered by the model of the example (12 inputs), with "
        f"{n_threads} threads, into Parquet shards. Bare calls answer the same rows, which lie in "
        f"memory, in the same batches. Each figure is the median of {len(bare)} turns, in each of "
        f"which all ways follow each other; the model is loaded before. On {machine()}."
    )
    bound = (
        f"The target is at most {BOUND:.0%} fewer rows a second than bare calls. The Parquet file "
        f"is one range, and the CSV three; all threads answer batches of the same ranges."
    )
    return "\n\n".join(["## Batch prediction", about, table(header, rows), bound])


def main() -> None:
    """Answers the flights in turn in each way, then prints or writes the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    model, n_rows = ServedModel.load(model_folder()), pq.read_metadata(parquet_file()).num_rows
    ways = {
        "bare calls": bare_calls(parquet_file(), model, options.threads),
        "from Parquet": shards_of(parquet_file(), model, options.threads),
        "from CSV": shards_of(FLIGHTS, model, options.threads),
    }
    for work in ways.values():
        work()  # what is imported or prepared late is not counted
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, work in ways.items():
            turns[name].append(measure(work, n_rows))
    text = page(turns, n_rows, options.threads)
    print(text)
    if options.write:
        write_section("prediction", text)


if __name__ == "__main__":
    main()
