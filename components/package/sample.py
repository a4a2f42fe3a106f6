"""Cuts a handful of real engineered rows, on which the package proves that it trains."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quatrain.components.artifacts import read_manifest, sha256_of_files, write_json
from quatrain.components.specification.split import SPLITS
from quatrain.trainer.examples import Examples, read_examples
from quatrain.trainer.features import RAW_PREFIX, raw_inputs
from quatrain.trainer.features.transform import Transform

ROWS = 64
"""Rows a split; fewer where there are fewer."""


def cut_sample(examples: Path, out: Path) -> Path:
    """Writes an examples folder of the first rows of each split, with a manifest of its own.

    Of classes that these rows lack it takes the first row: all of the train split, which a trainer
    asks for, and a second one of the others.

    Raises:
        ArtifactError: The examples are not complete.
        TrainerError: A shard is not what the manifest says.
    """
    manifest = read_manifest(examples, "manifest.json", step="preprocess")
    read = read_examples(str(examples))
    out.mkdir(parents=True)
    rows: dict[str, int] = {}
    for split in SPLITS:
        table = _first_rows(read, split)
        pq.write_table(table, out / f"{split}-00000-of-00001.parquet")
        rows[split] = table.num_rows
    for name in ("transform.json", "statistics.json"):
        shutil.copyfile(examples / name, out / name)
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
    classes = len(examples.transform.label.classes)
    lacking = classes if split == "train" else min(classes, 2)
    kept: list[pa.Table] = []
    seen: set[int] = set()
    missing = ROWS
    for table in examples.shards(split):
        first = table.slice(0, missing)
        kept.append(first)
        missing -= first.num_rows
        seen.update(pc.unique(first["label"]).to_pylist() if classes else ())
        if not missing and len(seen) < lacking:
            others = _first_of_each(table, seen, lacking - len(seen))
            kept.append(others)
            seen.update(others["label"].to_pylist())
        if not missing and len(seen) >= lacking:
            break
    return pa.concat_tables(kept)


def _first_of_each(table: pa.Table, seen: set[int], most: int) -> pa.Table:
    """Returns the first row of each class that was not seen, of so many classes at most."""
    found, first = np.unique(table["label"].to_numpy(), return_index=True)
    rows = np.sort(first[~np.isin(found, list(seen))])[:most]
    return table.take(pa.array(rows))


def _python(column: Any) -> Any:
    value = column[0]
    return value.as_py() if isinstance(value, pa.Scalar) else value.item()
