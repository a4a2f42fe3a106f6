"""Cuts a small sample of engineered rows, on which a package proves that it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quatrain.components import storage
from quatrain.components.artifacts import sha256_of_files, write_json
from quatrain.components.folder import read_manifest
from quatrain.components.specification.split import SPLITS
from quatrain.trainer.examples import Examples, read_examples
from quatrain.trainer.features import RAW_PREFIX, WEIGHT, raw_inputs
from quatrain.trainer.features.transform import Transform

ROWS = 64
"""The number of rows of a split, if it has that many."""


def cut_sample(examples: Path | str, out: Path) -> Path:
    """Writes an examples folder of the first rows of each split, with a manifest of its own.

    For a class that these rows lack, its first row is added: the train split gets every class, as
    trainers require, and each other split gets two.

    Raises:
        ArtifactError: The examples are not complete.
        TrainerError: A shard differs from the manifest.
    """
    manifest = read_manifest(examples, "manifest.json", step="preprocess")
    read = read_examples(str(examples))
    out.mkdir(parents=True)
    rows: dict[str, int] = {}
    for split in SPLITS:
        table = _first_rows(read, split)
        pq.write_table(table, out / f"{split}-00000-of-00001.parquet")
        rows[split] = table.num_rows
    (out / "transform.json").write_text(read.transform_text, encoding="utf-8")
    statistics = storage.read_file(f"{examples}/statistics.json")
    (out / "statistics.json").write_bytes(statistics)
    written = {
        **manifest,
        "rows": {"read": sum(rows.values()), **rows, "rejected": 0},
        "reasons": {},
        "files": sha256_of_files(out),
        "warnings": [],
    }
    write_json(out / "manifest.json", written)
    return out


def raw_row(sample: Path) -> dict[str, Any]:
    """Returns one raw validation row as the serving signature takes it: numbers and text."""
    text = (sample / "transform.json").read_text(encoding="utf-8")
    inputs = Transform.from_json(text).inputs
    table = pq.read_table(sample / "validation-00000-of-00001.parquet").slice(0, 1)
    values = raw_inputs(table, inputs, RAW_PREFIX)
    return {name: _python(column) for name, column in values.items()}


def _first_rows(examples: Examples, split: str) -> pa.Table:
    """Returns the first rows of a split that have a weight, and one of each class that they lack.

    A trainer leaves rows of weight 0 out.
    """
    classes = len(examples.transform.label.classes)
    n_classes_needed = classes if split == "train" else min(classes, 2)
    tables: list[pa.Table] = []
    present: set[int] = set()
    n_rows_needed = ROWS
    for table in examples.shards(split):
        if WEIGHT in table.column_names:
            table = table.filter(pc.greater(table[WEIGHT], 0))
        first = table.slice(0, n_rows_needed)
        tables.append(first)
        n_rows_needed -= first.num_rows
        present.update(pc.unique(first["label"]).to_pylist() if classes else ())
        if not n_rows_needed and len(present) < n_classes_needed:
            others = _first_of_each(table, present, n_classes_needed - len(present))
            tables.append(others)
            present.update(others["label"].to_pylist())
        if not n_rows_needed and len(present) >= n_classes_needed:
            break
    return pa.concat_tables(tables)


def _first_of_each(table: pa.Table, present: set[int], most: int) -> pa.Table:
    """Returns the first row of each class that is not yet present, for `most` classes at most."""
    classes, first = np.unique(table["label"].to_numpy(), return_index=True)
    rows = np.sort(first[~np.isin(classes, list(present))])[:most]
    return table.take(pa.array(rows))


def _python(column: Any) -> Any:
    value = column[0]
    return value.as_py() if isinstance(value, pa.Scalar) else value.item()
