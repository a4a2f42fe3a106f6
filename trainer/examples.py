"""The engineered rows that preprocessing wrote: Parquet shards as arrays.

Works on local folders and on object stores (`gs://...`), through pyarrow's file systems.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from trainer.features import LABEL, RAW_PREFIX, WEIGHT, raw_inputs
from trainer.settings import TrainerError
from trainer.transform import Transform


@dataclass(frozen=True, eq=False)
class Split:
    """The engineered rows of one split.

    Attributes:
        numbers: `[N, F] float32`, the float columns in the transform's order.
        indices: `[N, K] int32`, the index columns in the transform's order.
        labels: `[N]`, int32 class or float32 value.
        weights: `[N] float32`, ones without a weight column.
        names: Of the float columns.
    """

    numbers: np.ndarray
    indices: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    names: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Examples:
    """A committed folder of examples.

    Attributes:
        uri: The folder.
        manifest: manifest.json.
        transform: The fitted transform.
        transform_text: transform.json, byte for byte.
    """

    uri: str
    manifest: dict[str, Any]
    transform: Transform
    transform_text: str

    @property
    def transform_sha256(self) -> str:
        """Digest of transform.json."""
        return hashlib.sha256(self.transform_text.encode()).hexdigest()

    def split(self, name: str) -> Split:
        """Reads one split, in the order of the source.

        Raises:
            TrainerError: The split has no rows, or a shard is not what the manifest says.
        """
        transform, weighted = self.transform, self.transform.weight is not None
        wanted = [*(c.name for c in transform.engineered), LABEL, *([WEIGHT] if weighted else [])]
        table = pa.concat_tables(self.shards(name, wanted))
        if table.num_rows == 0:
            raise TrainerError(
                f"the {name} split has no rows ({self.manifest['rows']}); "
                "change the spec's split so that it gets some"
            )
        label = np.float32 if transform.task == "regression" else np.int32
        weights = np.ones(table.num_rows, np.float32)
        if weighted:
            weights = table.column(WEIGHT).to_numpy().astype(np.float32)
        return Split(
            _matrix(table, transform.numbers, np.float32),
            _matrix(table, transform.indices, np.int32),
            table.column(LABEL).to_numpy().astype(label),
            _checked_weights(weights, name),
            transform.numbers,
        )

    def raw_rows(self, name: str, rows: int) -> dict[str, Any]:
        """Returns the raw inputs of a split's first rows, as the serving signature takes them."""
        inputs = self.transform.inputs
        return raw_inputs(
            self._first(name, [RAW_PREFIX + i.name for i in inputs], rows), inputs, RAW_PREFIX
        )

    def engineered_rows(self, name: str, rows: int) -> dict[str, np.ndarray]:
        """Returns the engineered columns of a split's first rows."""
        table = self._first(name, [c.name for c in self.transform.engineered], rows)
        return {n: table.column(n).to_numpy() for n in table.column_names}

    def shards(self, split: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yields the shards of a split, in the order of the source.

        Args:
            split: train, validation or test.
            columns: Which columns; all by default.

        Raises:
            TrainerError: There is no shard, or one is not what the manifest says.
        """
        names = sorted(n for n in self.manifest["files"] if n.startswith(f"{split}-"))
        if not names:
            raise TrainerError(f"{self.uri}: the manifest names no {split} shard")
        for name in names:
            yield self._shard(name, columns)

    def _first(self, split: str, columns: Sequence[str], rows: int) -> pa.Table:
        """Reads no more shards than it takes for so many rows."""
        parts: list[pa.Table] = []
        for shard in self.shards(split, columns):
            parts.append(shard.slice(0, rows))
            rows -= parts[-1].num_rows
            if not rows:
                break
        return pa.concat_tables(parts)

    def _shard(self, name: str, columns: Sequence[str] | None) -> pa.Table:
        try:
            data = read_bytes(self.uri, name)
        except FileNotFoundError as error:
            raise TrainerError(
                f"{self.uri}/{name} is in the manifest but not there; run the preprocessing again"
            ) from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.manifest["files"][name]:
            raise TrainerError(
                f"{self.uri}/{name} has sha256 {digest}, the manifest says "
                f"{self.manifest['files'][name]}; run the preprocessing again"
            )
        file = pq.ParquetFile(pa.BufferReader(data))
        held = file.schema_arrow.names
        wanted = list(held if columns is None else columns)
        if absent := sorted(set(wanted) - set(held)):
            raise TrainerError(f"{self.uri}/{name} has no column {absent}; it has {held}")
        return file.read(wanted, use_threads=False).select(wanted)


def read_examples(uri: str) -> Examples:
    """Opens a committed folder of examples.

    Raises:
        TrainerError: There is no manifest: the folder is absent or incomplete.
    """
    try:
        manifest = json.loads(read_bytes(uri, "manifest.json"))
    except FileNotFoundError as error:
        raise TrainerError(
            f"{uri} has no manifest.json, so it holds no complete examples; run the preprocessing"
        ) from error
    text = read_bytes(uri, "transform.json").decode()
    return Examples(uri, manifest, Transform.from_json(text), text)


def read_bytes(folder: str, name: str) -> bytes:
    """Reads a file of a local folder or of an object store."""
    if "://" in folder:
        files, path = pyarrow.fs.FileSystem.from_uri(folder)
    else:
        files, path = pyarrow.fs.LocalFileSystem(), folder
    with files.open_input_stream(f"{path.rstrip('/')}/{name}", compression=None) as stream:
        return bytes(stream.read())


def _matrix(table: pa.Table, names: Sequence[str], dtype: type) -> np.ndarray:
    """Returns `[N, len(names)]`; `[N, 0]` without names."""
    out = np.empty((table.num_rows, len(names)), dtype)
    for place, name in enumerate(names):
        out[:, place] = table.column(name).to_numpy()
    return out


def _checked_weights(weights: np.ndarray, split: str) -> np.ndarray:
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise TrainerError(
            f"the weights of the {split} split must be numbers of at least 0, not all 0; "
            f"they lie between {weights.min()} and {weights.max()}"
        )
    return weights
