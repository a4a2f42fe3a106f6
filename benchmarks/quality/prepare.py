"""One split of a table on disk: rows and the unedited spec for us, typed columns for libraries."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import yaml

from benchmarks.quality.places import CACHE, TABLES
from benchmarks.quality.sources import DRAFT, digest_of
from benchmarks.quality.splits import NAMES, split_rows
from benchmarks.quality.tables import QualityTable, members
from quatrain.components.artifacts import write_whole
from quatrain.draft.propose import propose

SPLIT = "split_"
"""The column of rows.csv that says which split a row is in."""
LABEL = "label_"
"""The label in the Parquet files."""
OPTIONS = pacsv.WriteOptions(quoting_style="needed")
_READING = tuple(TABLES.parent / f"{n}.py" for n in ("formats", "prepare", "splits", "tables"))


@dataclass(frozen=True)
class Prepared:
    """The folder of one split of a table.

    `rows.csv` and `spec.yaml` are for the product; `train`, `validation` and `test.parquet` for the
    libraries, by the kinds of `columns.json`. `labels.parquet` has the labels of the test rows,
    which `test.parquet` has not.
    """

    folder: Path

    @cached_property
    def columns(self) -> dict[str, Any]:
        """The document columns.json: the task, the classes of the train rows, the kinds."""
        return dict(json.loads((self.folder / "columns.json").read_text()))

    @property
    def digest(self) -> str:
        """The digest of the rows and of their splits."""
        return str(self.columns["sha256"])

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels of the test rows, `[N]`: texts of classes, or numbers."""
        return np.asarray(pq.read_table(self.folder / "labels.parquet")[LABEL].to_numpy())


def prepare(table: QualityTable, seed: int) -> Prepared:
    """Returns one split of a table, written unless it is there; the folder appears complete.

    Raises:
        ValueError: `init` reads the label as that of another task.
    """
    stamp = hashlib.sha256(repr((table, members(table), digest_of(*_READING, DRAFT))).encode())
    parent = CACHE / "splits" / f"{table.name}-{stamp.hexdigest()[:12]}"
    folder = parent / str(seed)
    if not folder.exists():
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent) as part:
            _write(table, seed, Path(part, "split"), parent / "draft.json")
            Path(part, "split").rename(folder)
    return Prepared(folder)


def _write(table: QualityTable, seed: int, folder: Path, draft: Path) -> None:
    folder.mkdir()
    rows = table.rows()
    places = split_rows(rows, table.split, table.by, seed)
    if table.split == "group":
        rows = rows.drop_columns(table.by)
    if not draft.exists():
        write_whole(draft, json.dumps(_proposed(table, rows), default=str).encode())
    document = json.loads(draft.read_text())
    pacsv.write_csv(rows.append_column(SPLIT, pa.array(places)), folder / "rows.csv", OPTIONS)
    (folder / "spec.yaml").write_text(yaml.safe_dump(with_split(document), sort_keys=False))
    kinds = kinds_of(document)
    _write_typed(rows, places, table, kinds, folder)
    classes = _classes(rows[table.target], places) if table.task != "regression" else []
    digest = hashlib.sha256((folder / "rows.csv").read_bytes()).hexdigest()
    columns = {"task": table.task, "classes": classes, "kinds": kinds, "sha256": digest}
    (folder / "columns.json").write_text(json.dumps(columns, indent=1))


def _proposed(table: QualityTable, rows: pa.Table) -> dict[str, Any]:
    """Returns the spec that `init` writes for the rows."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, f"{table.name}.csv")
        pacsv.write_csv(rows, path, OPTIONS)
        document = propose(str(path), table.target, None, table.name).document
    if document["task"] != table.task:
        raise ValueError(f"{table.name}: init takes it for {document['task']}, not {table.task}")
    return document


def with_split(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the spec that init wrote, with these splits: nothing else is edited."""
    read = {f["from"] for f in document["features"]} | {document["label"]}
    derived = document.get("clean", {}).get("derive", {})
    columns = {n: t for n, t in document["columns"].items() if n in read or derived}
    return {
        **document,
        "source": {**document["source"], "uri": "rows.csv"},
        "columns": {**columns, SPLIT: "string"},
        "split": {"by": "column", "column": SPLIT},
    }


def kinds_of(document: dict[str, Any]) -> dict[str, str]:
    """Returns what each column is to a library, of the columns that are features of the spec.

    A `text` is free text, a `category` a word, a `time` a moment; all else is a `number`. A number
    whose values are also levels of a vocabulary stays a number.
    """
    kinds = {}
    for feature in document["features"]:
        name, kind = feature["from"], str(_type_of(document["columns"][feature["from"]]))
        if feature["transform"] == "text":
            kinds[name] = "text"
        elif kind in ("date", "timestamp"):
            kinds[name] = "time"
        else:
            kinds[name] = "category" if kind == "string" else "number"
    return kinds


def _type_of(column: Any) -> Any:
    return column["type"] if isinstance(column, dict) else column


def _classes(labels: pa.ChunkedArray, places: np.ndarray) -> list[str]:
    texts = np.array(labels.cast(pa.string()).to_pylist())
    return sorted(set(texts[places == "train"].tolist()))


def _write_typed(
    rows: pa.Table, places: np.ndarray, table: QualityTable, kinds: dict[str, str], folder: Path
) -> None:
    """Writes the Parquet files: numbers as doubles, categories as texts, times as numbers."""
    label = "DOUBLE" if table.task == "regression" else "VARCHAR"
    fields = [f for name, kind in kinds.items() for f in _fields(name, kind)]
    fields.append(f"CAST({quoted(table.target)} AS {label}) AS {LABEL}")
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("rows", rows)
    typed = connection.sql(f"SELECT {', '.join(fields)} FROM rows").to_arrow_table()  # noqa: S608
    for split in NAMES.tolist():
        part = typed.filter(pa.array(places == split))
        if split == "test":
            pq.write_table(part.select([LABEL]), folder / "labels.parquet")
            part = part.drop_columns(LABEL)
        pq.write_table(part, folder / f"{split}.parquet")


def quoted(name: str) -> str:
    """Returns a column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _fields(name: str, kind: str) -> list[str]:
    """Returns a column as SQL; a time also gives its hour, weekday and month."""
    column = quoted(name)
    if kind == "number":
        return [f"TRY_CAST({column} AS DOUBLE) AS {column}"]
    if kind != "time":
        return [f"CAST({column} AS VARCHAR) AS {column}"]
    moment = f"TRY_CAST(TRY_CAST({column} AS VARCHAR) AS TIMESTAMP)"
    parts = {"": "epoch", " hour": "hour", " weekday": "dayofweek", " month": "month"}
    return [
        f"CAST({part}({moment}) AS DOUBLE) AS {quoted(name + suffix)}"
        for suffix, part in parts.items()
    ]
