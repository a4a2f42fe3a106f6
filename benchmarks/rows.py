"""Writes the flights table many times over, with jitter and wrong rows, from fixed seeds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

WRONG_EVERY = 10_000
"""One in this many rows is wrong: a few in each block of about 43 000 rows that a worker reads."""
_JITTERED = {"dep_delay": 3, "arr_delay": 3, "sched_dep_time": 4, "distance": 9}
"""The columns with jitter, and the largest change of a value in the column's unit."""


def write_rows(flights: Path, target: Path, times: int, *, dirty: bool = True) -> Path:
    """Writes copies of a table; the first is the table itself, apart from the wrong rows.

    A third of the wrong rows have a text as `dep_time`, a third one as `arr_delay`, and a third end
    after three values. Every reader should reject them. Those that take a cell for missing if they
    cannot read it (pandas, polars) do so by the rules of the job.

    Args:
        flights: The flights table.
        target: The file to write; it appears once it is complete.
        times: Number of copies.
        dirty: Whether there are wrong rows.
    """
    if target.exists():
        return target
    table = _read(flights)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    with part.open("wb") as file:
        for copy in range(times):
            rows = _copy(table, copy)
            lines = _lines(rows, header=copy == 0)
            file.write(_spoilt(lines, copy, header=copy == 0) if dirty else lines)
    os.replace(part, target)
    return target


def _read(flights: Path) -> pa.Table:
    with flights.open("rb") as file:
        names = file.readline().decode().strip().split(",")
    return pacsv.read_csv(
        flights, convert_options=pacsv.ConvertOptions(column_types={n: pa.string() for n in names})
    )


def _copy(table: pa.Table, copy: int) -> pa.Table:
    """Returns a copy of the table with jitter; copy 0 is the table itself."""
    if copy == 0:
        return table
    draw = np.random.default_rng(copy)
    for name, most in _JITTERED.items():
        text = table.column(name).combine_chunks()
        known = pc.not_equal(text, "NA")
        values = pc.if_else(known, text, "0").cast(pa.int64()).to_numpy()
        moved = pa.array(values + draw.integers(-most, most + 1, len(values)))
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pc.if_else(known, moved.cast(pa.string()), "NA"))
    return table


def _lines(table: pa.Table, *, header: bool) -> bytes:
    sink = pa.BufferOutputStream()
    options = pacsv.WriteOptions(include_header=header, quoting_style="none")
    pacsv.write_csv(table, sink, options)
    return sink.getvalue().to_pybytes().replace(b'"', b"")


def _spoilt(lines: bytes, copy: int, *, header: bool) -> bytes:
    """Returns the lines with one wrong row in every `WRONG_EVERY`; the three kinds take turns."""
    rows = lines.split(b"\n")
    draw = np.random.default_rng([copy, 1])
    first = draw.integers(int(header), WRONG_EVERY)
    for kind, at in enumerate(range(int(first) + int(header), len(rows) - 1, WRONG_EVERY)):
        cells = rows[at].split(b",")
        if kind % 3 == 2:
            cells = cells[:3]
        else:
            cells[3 if kind % 3 else 8] = b"late"
        rows[at] = b",".join(cells)
    return b"\n".join(rows)
