"""Reads the engineered rows that preprocessing wrote: Parquet shards as arrays.

Folders are local or in an object store (`gs://...`), through pyarrow's file systems.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .features import LABEL, RAW_PREFIX, WEIGHT, raw_inputs
from .features.transform import Transform
from .settings import TrainerError
from .storage import open_folder, read_file
from .uris import name_outside, named


@dataclass(frozen=True, eq=False)
class Split:
    """The engineered rows of one split.

    Attributes:
        numbers: `[N, F] float32`, the float columns in the transform's order.
        indices: `[N, K] int32`, the index columns in the transform's order.
        labels: `[N]`: int32 index of the class, or float32 value.
        weights: `[N] float32`, above 0; all 1 without a weight column.
        names: Names of the float columns.
    """

    numbers: np.ndarray
    indices: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    names: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def size_bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(a.nbytes for a in (self.numbers, self.indices, self.labels, self.weights))

    def take(self, rows: np.ndarray) -> Split:
        """Returns the rows at `[M]` places."""
        return Split(
            self.numbers[rows],
            self.indices[rows],
            self.labels[rows],
            self.weights[rows],
            self.names,
        )


def joined(parts: Sequence[Split]) -> Split:
    """Returns the rows of all parts, in order."""
    return Split(
        np.concatenate([p.numbers for p in parts]),
        np.concatenate([p.indices for p in parts]),
        np.concatenate([p.labels for p in parts]),
        np.concatenate([p.weights for p in parts]),
        parts[0].names,
    )


@dataclass(frozen=True, eq=False)
class Labels:
    """Statistics of the labels of a split; `+` joins parts (Chan, Golub & LeVeque 1979).

    Attributes:
        weight: Sum of the weights of the rows.
        counts: Rows of each class, `[C] int64`; `[0]` for a regression.
        mean: Weighted mean label of a regression.
        squares: Weighted sum of the squared deviations from the mean.
    """

    weight: float = 0.0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(
        cls, labels: np.ndarray, transform: Transform, weights: np.ndarray | None = None
    ) -> Labels:
        """Counts the classes, or computes the moments of a regression.

        Args:
            labels: `[N]`, as in a `Split`.
            transform: The task and the classes.
            weights: `[N] float32`, above 0; None: each row weighs 1.

        Raises:
            TrainerError: A label is not a finite number, or not the index of a class.
        """
        w = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
        weight = math.fsum(w.tolist())
        if transform.task == "regression":
            values = labels.astype(np.float64)
            if not np.isfinite(values).all():
                wrong = values[~np.isfinite(values)][0]
                raise TrainerError(f"a label of the train split is {wrong}; reject its row")
            # Exact sums: the outputs are scaled by them, and must not depend on the rows' order.
            mean = math.fsum((w * values).tolist()) / weight if len(values) else 0.0
            squares = math.fsum((w * np.square(values - mean)).tolist())
            return cls(weight, mean=mean, squares=squares)
        n_classes = len(transform.label.classes)
        if len(labels) and not 0 <= labels.min() <= labels.max() < n_classes:
            raise TrainerError(
                f"a label of the train split is {labels.min()} or {labels.max()}, but "
                f"transform.json names {n_classes} classes; run the preprocessing again"
            )
        return cls(weight, np.bincount(labels, minlength=n_classes))

    def __add__(self, other: Labels) -> Labels:
        if not self.weight or not other.weight:
            return other if other.weight else self
        weight, distance = self.weight + other.weight, other.mean - self.mean
        squares = self.squares + other.squares + distance**2 * self.weight * other.weight / weight
        mean = self.mean + distance * other.weight / weight
        return Labels(weight, self.counts + other.counts, mean, squares)

    @property
    def deviation(self) -> float:
        """The population standard deviation of a regression's labels."""
        return (self.squares / self.weight) ** 0.5


@dataclass(frozen=True)
class Group:
    """A row group of a shard.

    Attributes:
        split: train, validation or test.
        shard: Name of the file.
        place: Number of the group in the file.
        rows: Number of rows.
    """

    split: str
    shard: str
    place: int
    rows: int


@dataclass(frozen=True, eq=False)
class Examples:
    """A committed folder of examples.

    Attributes:
        uri: The folder.
        manifest: The document of manifest.json.
        transform: The fitted transform.
        transform_text: The text of transform.json.
        class_weights: What multiplies the weight of a row, by its class, `[C] float32`; None: 1.
    """

    uri: str
    manifest: dict[str, Any]
    transform: Transform
    transform_text: str
    class_weights: np.ndarray | None = None

    @property
    def transform_sha256(self) -> str:
        """The sha256 of transform.json."""
        return hashlib.sha256(self.transform_text.encode()).hexdigest()

    def split(self, name: str) -> Split:
        """Reads all rows of a split but those of weight 0, in the order of the source.

        Raises:
            TrainerError: The split has no rows or no weight, or a shard differs from the manifest.
        """
        table = pa.concat_tables(self.shards(name, self._columns))
        if table.num_rows == 0:
            raise self._empty(name)
        split = self._split(table, name)
        if not split.rows:
            raise weightless(name)
        return split

    def groups(self, name: str) -> Iterator[Group]:
        """Checks the shards of a split, and yields its row groups in the order of the source.

        Raises:
            TrainerError: The split has no rows, or a shard differs from the manifest.
        """
        total = 0
        for shard in self._names(name):
            self._check(shard, self._digest(shard))
            metadata = pq.read_metadata(self._file(shard))
            for place in range(metadata.num_row_groups):
                rows = metadata.row_group(place).num_rows
                total += rows
                yield Group(name, shard, place, rows)
        if not total:
            raise self._empty(name)

    def read_group(self, group: Group) -> Split:
        """Reads one row group but its rows of weight 0; `groups` has checked its shard."""
        columns = self._columns
        with named(f"{self.uri}/{group.shard}"), self._file(group.shard) as stream:
            file = pq.ParquetFile(stream)
            table = file.read_row_group(group.place, columns, use_threads=False)
        return self._split(table.select(columns), group.split)

    @property
    def _columns(self) -> list[str]:
        """Names of the engineered columns, the label and the weight."""
        weight = [WEIGHT] if self.transform.weight is not None else []
        return [*(c.name for c in self.transform.engineered), LABEL, *weight]

    def _empty(self, name: str) -> TrainerError:
        return TrainerError(
            f"the {name} split has no rows ({self.manifest['rows']}); "
            "change the spec's split so that it gets some"
        )

    def _split(self, table: pa.Table, name: str) -> Split:
        """Returns the rows of a table of engineered columns that have a weight.

        Rows of weight 0 are left out, since a model also counts rows: in a batch, in the leaf of a
        tree, between two knots. Without a weight column, each row weighs 1.
        """
        transform = self.transform
        label = np.float32 if transform.task == "regression" else np.int32
        weights = np.ones(table.num_rows, np.float32)
        if transform.weight is not None:
            weights = _checked_weights(table.column(WEIGHT).to_numpy().astype(np.float32), name)
            if not weights.all():
                table, weights = table.filter(pa.array(weights > 0)), weights[weights > 0]
        labels = table.column(LABEL).to_numpy().astype(label)
        if self.class_weights is not None:
            weights = weights * np.take(self.class_weights, labels, mode="clip")
        return Split(
            _matrix(table, transform.numbers, np.float32),
            _matrix(table, transform.indices, np.int32),
            labels,
            weights,
            transform.numbers,
        )

    def sets(self, name: str) -> pa.Table:
        """Returns the sets of n-grams of the texts of a split, for the rows of `split`."""
        names = [f.set_name for f in self.transform.texts]
        weight = [WEIGHT] if self.transform.weight is not None else []
        table = pa.concat_tables(self.shards(name, [*names, *weight]))
        if weight:
            table = table.filter(pc.greater(table[WEIGHT], 0))
        return table.select(names)

    def set_bytes(self, name: str) -> int:
        """Returns the bytes of the sets of n-grams of a split in memory, each as often as it is.

        Parquet's own sizes are of a dictionary, which holds a text that repeats once.
        """
        columns = [f.set_name for f in self.transform.texts]
        total = 0
        for shard in self._names(name) if columns else ():
            with named(f"{self.uri}/{shard}"), self._file(shard) as stream:
                file = pq.ParquetFile(stream, read_dictionary=columns)
                for batch in file.iter_batches(columns=columns, use_threads=False):
                    total += sum(_bytes_of(column) for column in batch.columns)
        return total

    def first_rows(self, name: str, rows: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Reads a split's first rows, and only the shards that hold them.

        Returns:
            The raw inputs in the form of the serving signature, and the engineered columns, with
            the sets of n-grams; each is `[N]` by name.
        """
        inputs, engineered = self.transform.inputs, [c.name for c in self.transform.engineered]
        engineered += [f.set_name for f in self.transform.texts]
        columns = [*(RAW_PREFIX + i.name for i in inputs), *engineered]
        parts: list[pa.Table] = []
        for shard in self.shards(name, columns):
            parts.append(shard.slice(0, rows))
            rows -= parts[-1].num_rows
            if not rows:
                break
        table = pa.concat_tables(parts)
        numbers = {n: table.column(n).to_numpy() for n in engineered}
        return raw_inputs(table, inputs, RAW_PREFIX), numbers

    def shards(self, split: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yields the shards of a split, in the order of the source.

        Args:
            split: train, validation or test.
            columns: Names of the columns to read; None: all.

        Raises:
            TrainerError: The manifest names no shard of the split, or a shard differs from it.
        """
        for name in self._names(split):
            yield self._shard(name, columns)

    def _names(self, split: str) -> list[str]:
        names = sorted(n for n in self.manifest["files"] if n.startswith(f"{split}-"))
        if not names:
            raise TrainerError(
                f"{self.uri}: the manifest names no {split} shard; run the preprocessing again"
            )
        return names

    def _file(self, name: str) -> pa.NativeFile:
        files, folder = open_folder(self.uri)
        try:
            with named(f"{self.uri}/{name}"):
                return files.open_input_file(f"{folder}/{name}")
        except FileNotFoundError as error:
            raise self._absent(name) from error

    def _absent(self, name: str) -> TrainerError:
        return TrainerError(
            f"{self.uri}/{name} is in the manifest but not there; run the preprocessing again"
        )

    def _digest(self, name: str) -> str:
        """Returns the sha256 of a shard, read in pieces of 4 MiB."""
        digest = hashlib.sha256()
        with named(f"{self.uri}/{name}"), self._file(name) as file:
            while piece := file.read(1 << 22):
                digest.update(piece)
        return digest.hexdigest()

    def _check(self, name: str, digest: str) -> None:
        if digest != self.manifest["files"][name]:
            raise TrainerError(
                f"{self.uri}/{name} has sha256 {digest}, the manifest says "
                f"{self.manifest['files'][name]}; run the preprocessing again"
            )

    def _shard(self, name: str, columns: Sequence[str] | None) -> pa.Table:
        """Reads a shard once, and checks the same bytes against the manifest."""
        try:
            data = read_file(self.uri, name)  # by one call; _file asks for the size before
        except FileNotFoundError as error:
            raise self._absent(name) from error
        self._check(name, hashlib.sha256(data).hexdigest())
        file = pq.ParquetFile(pa.BufferReader(data))
        available = file.schema_arrow.names
        selected = list(available if columns is None else columns)
        if absent := sorted(set(selected) - set(available)):
            raise TrainerError(
                f"{self.uri}/{name} has no column {absent[0]!r}; run the preprocessing again"
            )
        return file.read(selected, use_threads=False).select(selected)


def read_examples(uri: str) -> Examples:
    """Opens a committed folder of examples, local or in an object store.

    Raises:
        TrainerError: The folder has no manifest, so it is absent or incomplete; or the transform
            is not the one that was fitted.
        OSError: A file cannot be read.
    """
    try:
        manifest = json.loads(read_file(uri, "manifest.json"))
        if outside := name_outside(manifest["files"]):
            raise ValueError(f"it names {outside!r}, outside of the folder")
    except FileNotFoundError as error:
        raise TrainerError(
            f"{uri} has no manifest.json, so it holds no complete examples; run the preprocessing"
        ) from error
    except ValueError as error:
        raise TrainerError(
            f"{uri}/manifest.json is cut short or altered ({error}); run the preprocessing again"
        ) from error
    data = read_file(uri, "transform.json")
    if (digest := hashlib.sha256(data).hexdigest()) != manifest["files"]["transform.json"]:
        raise TrainerError(
            f"{uri}/transform.json has sha256 {digest}, the manifest says "
            f"{manifest['files']['transform.json']}; run the preprocessing again"
        )
    text = data.decode()
    return Examples(uri, manifest, Transform.from_json(text), text)


def _bytes_of(texts: pa.Array) -> int:
    """Returns the bytes of a column of dictionary-encoded texts when it is decoded."""
    lengths = pc.fill_null(pc.binary_length(texts.dictionary), 0)
    return int(pc.sum(lengths.take(texts.indices)).as_py() or 0)


def _matrix(table: pa.Table, names: Sequence[str], dtype: type) -> np.ndarray:
    """Returns the columns side by side, `[N, len(names)]`."""
    out = np.empty((table.num_rows, len(names)), dtype)
    for place, name in enumerate(names):
        out[:, place] = table.column(name).to_numpy()
    return out


def weightless(split: str) -> TrainerError:
    """Returns the error about a split whose rows all have weight 0."""
    return TrainerError(
        f"the weight is 0 in every row of the {split} split; correct it, or change the split"
    )


def _checked_weights(weights: np.ndarray, split: str) -> np.ndarray:
    """Returns the weights.

    Raises:
        TrainerError: A weight is negative or not a number.
    """
    if not np.isfinite(weights).all() or weights.min(initial=0) < 0:
        raise TrainerError(
            f"the weights of the {split} split must be numbers of at least 0; "
            f"they lie between {weights.min()} and {weights.max()}"
        )
    return weights
