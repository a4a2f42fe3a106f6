"""Cuts a handful of real engineered rows, on which the package proves that it trains."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts import read_manifest, sha256_of_files, write_json
from components.spec.schema import SPLITS
from trainer.examples import Examples, read_examples
from trainer.features import RAW_PREFIX, raw_inputs
from trainer.transform import Transform

ROWS = 64
"""Rows a split; fewer where there are fewer."""


def cut_sample(examples: Path, out: Path) -> Path:
    """Writes an examples folder of the first rows of each split, with a manifest of its own.

    A second class is looked for when the first rows have only one.

    Raises:
        ArtifactError: The examples are not complete.
        TrainerError: A shard is not what the manifest says.
    """
    manifest = read_manifest(examples, "manifest.json", made_by="preprocess")
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
    kept: list[pa.Table] = []
    missing = ROWS
    for table in examples.shards(split):
        kept.append(table.slice(0, missing))
        missing -= kept[-1].num_rows
        if missing == 0 and _has_two_classes(kept):
            break
        if missing == 0 and (other := _another_class(table, kept)) is not None:
            kept.append(other)
            break
    return pa.concat_tables(kept)


def _has_two_classes(tables: list[pa.Table]) -> bool:
    labels = pa.chunked_array(
        [c for t in tables for c in t["label"].chunks], tables[0]["label"].type
    )
    return len(labels.unique()) > 1


def _another_class(table: pa.Table, kept: list[pa.Table]) -> pa.Table | None:
    """Returns the first row of a shard whose label is not among those kept."""
    seen = {label for part in kept for label in part["label"].to_pylist()}
    labels = table["label"].to_pylist()
    row = next((i for i, label in enumerate(labels) if label not in seen), None)
    return None if row is None else table.slice(row, 1)


def _python(column: Any) -> Any:
    value = column[0]
    return value.as_py() if isinstance(value, pa.Scalar) else value.item()
