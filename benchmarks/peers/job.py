"""The flights job of examples/flights/flights.yaml as data for every peer, and its check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quatrain.trainer.features.fingerprint import fingerprint64

SPLITS = ("train", "validation", "test")
NAMES = [
    "year",
    "month",
    "day",
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "arr_time",
    "sched_arr_time",
    "arr_delay",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "air_time",
    "distance",
    "hour",
    "minute",
    "time_hour",
]
"""The columns of the file, in its order."""
TYPES = {
    "year": "int",
    "month": "int",
    "day": "int",
    "dep_time": "int",
    "sched_dep_time": "int",
    "dep_delay": "int",
    "sched_arr_time": "int",
    "arr_delay": "int",
    "carrier": "string",
    "origin": "string",
    "dest": "string",
    "distance": "int",
    "hour": "int",
    "time_hour": "timestamp",
}
COLUMNS = list(TYPES)
NUMBERS = (
    "month",
    "sched_dep_time",
    "dep_delay",
    "sched_arr_time",
    "distance",
    "hour",
    "time_hour",
    "late",
)
TEXTS = ("carrier", "origin", "dest")
"""The columns that have statistics: inputs of features, the label and the slices."""
RAW = ("month", "sched_dep_time", "dep_delay", "sched_arr_time", *TEXTS, "distance", "hour")
RAW = (*RAW, "time_hour")
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
MEDIAN = QUANTILES.index(0.5)
EDGES = [i / 32 for i in range(1, 32)]
STANDARDIZED = ("dep_delay", "sched_dep_time", "sched_arr_time", "distance")
VOCABULARIES = {"carrier": 10, "origin": 1, "dest": 50}
CROSSES = {
    "route": (("origin", "dest"), 500),
    "carrier_route": (("carrier", "origin", "dest"), 1000),
    "origin_hour": (("origin", "hour"), 100),
    "route_hour": (("origin", "dest", "hour"), 2000),
}


def _days() -> tuple[list[int], list[int], list[int]]:
    of = [(m, d) for m in range(1, 13) for d in range(1, 32)]
    keys = fingerprint64(pa.array([f"2013\x1f{m}\x1f{d}" for m, d in of])).view("int64").tolist()
    part = [abs(k) % 1000 for k in keys]
    side = [0 if p < 800 else 1 if p < 900 else 2 for p in part]
    return [m for m, _ in of], [d for _, d in of], side


DAYS = _days()
"""Month, day and split (0 to 2) of the days of 2013, by Quatrain's own fingerprint."""


def write_statistics(out: Path, splits: dict[str, Any]) -> None:
    """Writes statistics as JSON."""
    (out / "statistics.json").write_text(json.dumps(splits, default=str))


def outcome(out: Path) -> dict[str, Any]:
    """Returns the rows of each split, and the means of two columns of the test split."""
    values: dict[str, Any] = {}
    for split in SPLITS:
        files = sorted(out.glob(f"{split}*.parquet"))
        values[split] = sum(pq.read_metadata(f).num_rows for f in files)
    files = sorted(out.glob("test*.parquet"))
    columns = [pq.read_table(f, columns=["dep_delay", "label"]) for f in files]
    for name in ("dep_delay", "label"):
        total = sum(pc.sum(t.column(name)).as_py() or 0 for t in columns)
        values[f"test_{name}"] = round(total / values["test"], 4)
    return values
