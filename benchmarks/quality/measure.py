"""Measures cells: which are missing or outdated, and one at a time in a process of its own."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.quality.environments import python_of
from benchmarks.quality.places import CACHE, ROOT
from benchmarks.quality.prepare import Prepared, prepare
from benchmarks.quality.results import Result, Results
from benchmarks.quality.scores import Scores
from benchmarks.quality.sources import version
from benchmarks.quality.splits import NAMES
from benchmarks.quality.systems import HIGH, OURS, WORDS, System
from benchmarks.quality.tables import QualityTable
from benchmarks.quality.workers.work import MARK

LONGEST_S = 7_200
"""A worker that runs longer is ended; its cell says so."""
TIMES_OURS = 10
"""AutoGluon high may take this many times our CPU-seconds."""


@dataclass(frozen=True)
class Cell:
    """One system on one split of one table."""

    table: QualityTable
    split: int
    system: System

    @property
    def name(self) -> tuple[str, int, str]:
        """Its table, split and system, as of a result."""
        return self.table.name, self.split, self.system.name

    def inputs(self, prepared: Prepared) -> str:
        """Returns the digest of what its result depends on."""
        columns = json.dumps(prepared.columns, sort_keys=True)
        spec = (prepared.folder / "spec.yaml").read_text() if self.system == OURS else ""
        return hashlib.sha256(f"{columns}{spec}{self.system.sources}".encode()).hexdigest()[:16]


def cells_of(
    tables: Sequence[QualityTable], systems: Sequence[System], most_splits: int
) -> Iterator[Cell]:
    """Yields the cells: the first split of all tables first, and the cheapest family first.

    The systems of a family take turns, so that a table has all of them or none.
    """
    families = dict.fromkeys(system.family for system in systems)
    for split, family, table in product(range(most_splits), families, tables):
        if split < _n_splits(table):
            takers = (s for s in systems if s.family == family and s.takes(table, split))
            yield from (Cell(table, split, system) for system in takers)


def _n_splits(table: QualityTable) -> int:
    """Returns the number of splits; a table that is not split at random is not read for it."""
    if table.split != "random":
        return 1
    counted = CACHE / "rows" / table.name
    if not counted.exists():
        counted.parent.mkdir(parents=True, exist_ok=True)
        counted.write_text(str(table.rows().num_rows))
    return table.n_splits(int(counted.read_text()))


def measure(
    cells: Sequence[Cell], results: Results, *, stale: bool, absent: bool, until: float
) -> None:
    """Measures the cells that need it, until a time, and says what it does.

    A cell needs it if it has no result, or if its result has other inputs. One of our own whose
    sources alone have changed is measured again only if `stale` is given.

    Args:
        cells: The cells, in their order.
        results: Where results go, and what is there already.
        stale: Whether to measure ours again.
        absent: Whether to measure those again whose losses of each test row are not on this
            machine, which includes those that failed. A new interval needs the losses, and they
            are not committed.
        until: When to begin no further cell, in seconds of `time.monotonic`.
    """
    for cell in cells:
        if time.monotonic() > until:
            print("the budget is spent", flush=True)
            return
        prepared = prepare(cell.table, cell.split)
        if cell.system == WORDS and "text" not in prepared.columns["kinds"].values():
            continue
        inputs = cell.inputs(prepared)
        with _claimed(cell) as is_ours:
            last = results.latest().get(cell.name)
            current = last and (last.inputs == inputs or (cell.system == OURS and not stale))
            if absent and last and current:
                current = scores_path(cell.name, last.inputs).exists()
            if is_ours and not current:
                limit = _limit(cell, results)
                if limit is not None:
                    result = run(cell, prepared, inputs, limit)
                    results.add(result)
                    print(_line(result), flush=True)


@contextmanager
def _claimed(cell: Cell) -> Iterator[bool]:
    """Whether no other process measures the cell, which holds until the end."""
    path = CACHE / "locks" / "-".join(map(str, cell.name)).replace(" ", "-")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _limit(cell: Cell, results: Results) -> float | None:
    """Returns the seconds that a cell may train; 0: no limit; None: ours is not measured yet."""
    if cell.system != HIGH:
        return 0.0
    ours = results.latest().get((cell.table.name, cell.split, OURS.name))
    return TIMES_OURS * ours.cpu_s["train"] if ours and not ours.error else None


def run(cell: Cell, prepared: Prepared, inputs: str, limit: float = 0.0) -> Result:
    """Trains and answers a cell in a process of its own; a failure is a result too."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "predictions.npy")
        words = [python_of(cell.system.environment), "-m"]
        words += [f"benchmarks.quality.workers.{cell.system.worker}"]
        words += [str(prepared.folder), cell.system.name, str(out), str(limit)]
        said, error = _process(words, scratch)
        scores = None if error else _scores(out, prepared)
    if scores:
        scores.save(scores_path(cell.name, inputs))
    versions = {"commit": version()} if cell.system == OURS else said.pop("versions", {})
    return Result(
        *cell.name,
        inputs,
        scores.metrics(cell.table.task) if scores else {},
        said.pop("cpu_s", {}),
        said.pop("peak_mb", 0),
        versions,
        _n_rows(prepared),
        round(load, 1),
        time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        error,
        {name: value for name, value in said.items() if value and name != "versions"},
    )


def _process(words: list[str], scratch: str) -> tuple[dict[str, Any], str]:
    """Runs a worker; returns the line that it prints, and why it failed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": scratch}
    try:
        ended = subprocess.run(
            words,
            cwd=scratch,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_S,
        )
    except subprocess.TimeoutExpired:
        return {}, f"not done after {LONGEST_S} s"
    lines = ended.stdout.splitlines()
    found = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    if ended.returncode or not found:
        print("\n".join(lines[-30:]), flush=True)
        return {}, next((t.strip()[:300] for t in reversed(lines) if t.strip()), "no output")
    return json.loads(found[-1]), ""


def _scores(predictions: Path, prepared: Prepared) -> Scores:
    return Scores.of(np.load(predictions), prepared.labels, prepared.columns["classes"])


def scores_path(name: tuple[str, int, str], inputs: str) -> Path:
    """Returns where the scores of a cell's test rows are kept."""
    table, split, system = name
    return CACHE / "scores" / f"{table}-{split}-{system.replace(' ', '-')}-{inputs}.npz"


def _n_rows(prepared: Prepared) -> dict[str, int]:
    folder = prepared.folder
    return {n: pq.read_metadata(folder / f"{n}.parquet").num_rows for n in NAMES.tolist()}


def _line(result: Result) -> str:
    found = result.error or " ".join(f"{n} {v:.4f}" for n, v in result.metrics.items())
    cost = " ".join(f"{n} {v:g}" for n, v in result.cpu_s.items())
    return f"{result.at} {result.table} {result.split} {result.system}: {found}; CPU-s {cost}"
