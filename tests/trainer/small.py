"""Small examples as preprocessing commits them, and what trains on them."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.trainer.features import (
    Cross,
    Cyclic,
    Feature,
    Input,
    Raw,
    Standardize,
    Vocabulary,
    raw_inputs,
)
from quatrain.trainer.features.statistics import (
    MAX_BINS,
    Categories,
    Distribution,
    TableStatistics,
)
from quatrain.trainer.features.transform import Label, Transform, fit_features
from quatrain.trainer.job import Job, Outputs
from quatrain.trainer.settings import Hyperparameters

INPUTS = (
    Input("delay", "float"),
    Input("carrier-code", "string"),
    Input("stops", "int"),
    Input("time", "timestamp"),
)
SMALL = Hyperparameters(
    model="tabm",
    epochs=3,
    batch_size=64,
    members=2,
    hidden_units=(16, 8),
    bins=8,
    embedding_size=4,
    learning_rate=0.01,
    patience=3,
)


def raw_table(rows: int, seed: int = 0) -> pa.Table:
    """Returns raw rows: a delay (1 in 20 missing), a carrier, stops and a time."""
    random = np.random.default_rng(seed)
    delay = random.normal(10.0, 20.0, rows)
    carriers = np.array(["AA", "B6", "DL", "UA", "YV", "été", "ж", "HA", "OO", ""])
    return pa.table(
        {
            "delay": pa.array(delay, mask=random.random(rows) < 0.05),
            "carrier-code": pa.array(carriers[random.integers(0, len(carriers), rows)]),
            "stops": pa.array(random.integers(0, 3, rows)),
            "time": pa.array(1_357_000_000 + random.integers(0, 10**6, rows)).cast(
                pa.timestamp("s", "UTC")
            ),
        }
    )


def features() -> tuple[Feature, ...]:
    """Returns features of every kind of engineered column."""
    return (
        Standardize(name="delay", columns=("delay",), types=("float",)),
        Vocabulary(name="carrier-code", columns=("carrier-code",), types=("string",)),
        Cross(
            name="carrier_stops",
            columns=("carrier-code", "stops"),
            types=("string", "int"),
            buckets=50,
        ),
        Cyclic(name="hour", columns=("time",), types=("timestamp",), part="hour"),
    )


def statistics_of(
    features: Sequence[Feature],
    raw: Raw,
    rows: int,
    sampled: Collection[str] = (),
    bins: int = MAX_BINS,
) -> TableStatistics:
    """Returns the statistics that features are fitted to: of raw inputs and of their quantities."""
    quantities = {name: values for f in features for name, values in f.quantities(raw).items()}
    columns = {**raw, **quantities}
    if bins == MAX_BINS:
        return TableStatistics.of(columns, rows, sampled)
    return TableStatistics(
        rows,
        {
            name: Distribution.of(values, bins)
            if isinstance(values, np.ndarray)
            else Categories.of(values)
            for name, values in columns.items()
        },
    )


def labels(table: pa.Table, task: str) -> np.ndarray:
    """Returns labels that the delay and the stops explain."""
    delay = table.column("delay").to_numpy(zero_copy_only=False).astype(float)
    score = np.nan_to_num(delay, nan=0.0) / 20.0 + table.column("stops").to_numpy()
    if task == "regression":
        return (1000.0 + 50.0 * score).astype(np.float32)
    edges = [1.5] if task == "binary" else [0.8, 2.0]
    return np.digitize(score, edges).astype(np.int32)


CLASSES = {"binary": ("on time", "late"), "multiclass": ("early", "fair", "late"), "regression": ()}


def write_examples(
    folder: Path,
    task: str = "binary",
    rows: Sequence[int] = (200, 133, 90),
    spoil: Mapping[str, Callable[[pa.Table], pa.Table]] | None = None,
    weighted: bool = False,
    group_rows: int | None = None,
) -> Path:
    """Commits examples: `rows[0]` and `rows[1]` in two train shards, `rows[2]` to validate.

    `spoil` changes the shards of a split before they are written.
    """
    tables = [raw_table(n, seed) for seed, n in enumerate(rows)]
    raws = [raw_inputs(t, INPUTS) for t in tables]
    statistics = sum(
        (TableStatistics.of(r, t.num_rows) for r, t in zip(raws[:2], tables, strict=False)),
        TableStatistics(),
    )
    transform = Transform(
        task=task,  # type: ignore[arg-type]
        label=Label("late", CLASSES[task]),
        weight="importance" if weighted else None,
        inputs=INPUTS,
        features=fit_features(features(), statistics.columns),
    )
    names = ["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00002"]
    folder.mkdir(parents=True)
    for name, table, raw in zip(names, tables, raws, strict=True):
        shard = pa.table({**transform.numpy(raw), "label": labels(table, task)})
        if weighted:
            shard = shard.append_column("weight", pa.array(np.ones(len(shard), np.float32) * 7))
        if name.startswith("validation"):
            for column in table.column_names:
                shard = shard.append_column(f"raw_{column}", table.column(column))
        spoiled = (spoil or {}).get(name.split("-")[0], lambda rows: rows)(shard)
        pq.write_table(spoiled, folder / f"{name}.parquet", row_group_size=group_rows)
    empty = pq.read_table(folder / f"{names[2]}.parquet").slice(0, 0)
    pq.write_table(empty, folder / "validation-00001-of-00002.parquet")
    (folder / "transform.json").write_text(transform.to_json())
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
    counts = {"train": rows[0] + rows[1], "validation": rows[2], "test": 0, "rejected": 0}
    manifest = {"version": 1, "rows": counts, "files": files, "spec": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def job(examples: Path, folder: Path, **changes: Any) -> Job:
    """Returns a job of few steps; `changes` are settings."""
    return Job(
        examples=str(examples),
        outputs=Outputs.of(str(folder), {}),
        settings=replace(SMALL, **changes),
    )
