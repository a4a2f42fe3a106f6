"""Measures the server under load beside its peers; `python -m benchmarks.serving` calls it.

In one run, closed loops of 1, 16 and 64 clients send requests of 1 and of 100 rows of adult to
`quatrain serve`, and to a plain server of FastAPI, pandas and LightGBM. As many threads call the
SavedModel itself. Client and server share the machine.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.measuring import Case, Results, interleave, machine, median, python_of, table

SCRIPT, PEER = "benchmarks/peers/load_.py", "benchmarks/peers/fastapi_.py"
REQUIREMENTS = ("fastapi==0.165.0", "uvicorn==0.55.0", "lightgbm==4.7.0", "pandas==3.1.1")
REQUIREMENTS += ("pyarrow==25.0.1",)
CLIENTS, ROWS = (1, 16, 64), (1, 100)
BUSY = 4.0
"""A load average that the measurements themselves do not reach."""
NAMES = {
    "serve": "quatrain serve, trees",
    "peer": "FastAPI + LightGBM",
    "bare": "the SavedModel itself, trees",
}


def _case(kind: str, train: str) -> Case:
    if kind == "peer":
        command = (python_of(REQUIREMENTS), PEER, train)
        return Case(NAMES[kind], SCRIPT, (SCRIPT, PEER), command)
    return Case(NAMES[kind], SCRIPT, (SCRIPT, "components/serve", "trainer"))


def _size(clients: int, rows: int) -> str:
    return f"{clients}x{rows}"


def measure_load(results: Results, rows_csv: str, train: str, model: Path, repeats: int) -> None:
    """Runs each case until it has its number of runs.

    Args:
        results: Where the measurements go.
        rows_csv: A CSV file with the raw rows.
        train: A Parquet file with the typed train rows, for the peer.
        model: The folder of the exported model.
        repeats: The number of runs.
    """
    cases = [
        (_case(kind, train), _size(n, rows), [kind, str(n), str(rows), rows_csv, str(model)])
        for n in CLIENTS
        for rows in ROWS
        for kind in NAMES
    ]
    print(f"load average before the load test: {os.getloadavg()[0]:.1f}", flush=True)
    interleave(results, cases, repeats)


def load_page(results: Results, train: str) -> str:
    """Returns the part of docs/benchmarks.md about the server."""
    lines, busiest = [], 0.0
    for rows in ROWS:
        for clients in CLIENTS:
            for kind in NAMES:
                runs = results.of(_case(kind, train), _size(clients, rows))
                if not runs:
                    continue
                rate, p50, p99, others = (
                    median(run.outcome[key] for run in runs)
                    for key in ("rows_a_second", "p50_ms", "p99_ms", "load_before")
                )
                busiest = max(busiest, others)
                lines.append(
                    [
                        *(f"{rows}", f"{clients}", NAMES[kind], f"{rate:,.0f}"),
                        *(f"{p50:,.1f}", f"{p99:,.1f}", f"{others:.1f}"),
                    ]
                )
    header = ["rows a request", "clients", "what answers", "rows/s", "p50, ms", "p99, ms"]
    about = (
        "Closed loops of clients, each with one connection, ask a server on the same machine for "
        "5 s. The peer is one process of uvicorn with FastAPI, pandas and LightGBM's defaults, "
        "and checks neither types nor names: JSON becomes a frame. The SavedModel itself is "
        "called by as many threads, without HTTP or JSON. The last column is the machine's load "
        f"average just before a run. On {machine()}."
    )
    if busiest > BUSY:
        about += (
            " **Other programs kept the machine busy** during these runs, so the numbers are "
            "rough, and far below those of an idle machine."
        )
    return "\n\n".join(["### The server under load", about, table([*header, "load"], lines)])
