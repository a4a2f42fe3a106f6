"""Compares the predictions of two runs row by row, where their test rows are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate.measures.exact_sums import MeanSums
from quatrain.components.evaluate.measures.measurements import relative_loss, row_losses
from quatrain.components.evaluate.measures.metrics import MetricEstimate
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.storage import list_names, read_file
from quatrain.trainer.failure import Failure
from quatrain.trainer.features.base import LABEL, WEIGHT

BATCH_ROWS = 65_536
_PROBABILITY = "probability_"
_DECIDES = ("source", "clean", "label", "task", "split", "weight")
"""The sections of a spec that decide which rows are test rows, beside the columns that are read."""


@dataclass(frozen=True)
class Evaluated:
    """What a comparison row by row takes of a run.

    Attributes:
        evaluation: The folder of its predictions, a path or uri.
        examples: The folder of its examples.
        manifest: manifest.json of the examples.
        spec: Its spec, as a document.
        run: `run` of its metrics.json: the source's files with their digest, and the rows.
    """

    evaluation: str
    examples: str
    manifest: Mapping[str, Any]
    spec: Mapping[str, Any]
    run: Mapping[str, Any] = field(default_factory=dict)


def pair(task: str, before: Evaluated, now: Evaluated) -> MetricEstimate | str:
    """Returns by which share the loss of a run exceeds that of another one; below 0 it is better.

    Where the test rows are not the same, or not known to be, it returns why.

    Args:
        task: binary, multiclass or regression. The loss is the log-loss, or the RMSE.
        before: The run that is compared with.
        now: The run.

    Raises:
        ArtifactError: Predictions cannot be read.
    """
    if why := why_other_rows(before, now):
        return why
    streams = [_batches(run.evaluation, "predictions-") for run in (before, now)]
    is_weighted = bool(now.spec.get("weight"))
    if is_weighted:
        streams.append(_batches(now.examples, "test-", [WEIGHT]))
    loss, difference = MeanSums(), MeanSums()
    for theirs, ours, *weights in _aligned(streams):
        if why := _why_not_paired(theirs, ours):
            return why
        w = np.ones(ours.num_rows)
        if is_weighted:
            w = weights[0].column(WEIGHT).to_numpy().astype(np.float64)
        losses = [_losses(task, table) for table in (theirs, ours)]
        loss += MeanSums.of(losses[0], w)
        difference += MeanSums.of(losses[1] - losses[0], w)
    if not loss.weight.units:
        return "neither of them has predictions any more"
    return relative_loss(difference, loss.mean, task == "regression")


def why_other_rows(before: Evaluated, now: Evaluated) -> str:
    """Returns why two runs may have other test rows, or in another order; empty if they have not.

    They are the same if the shards of both have the same bytes. If features differ, the shards do
    too; then the same files, split and clean in the same way, give the same rows.
    """
    if _test_shards(before) == _test_shards(now):
        return ""
    theirs, ours = (run.run.get("data", {}) for run in (before, now))
    if not theirs.get("digest") or not ours.get("digest"):
        return "it was not recorded from which files their test rows are"
    if (theirs["digest"], theirs["days"]) != (ours["digest"], ours["days"]):
        return "their rows are from other files"
    for key in _DECIDES:
        if before.spec.get(key) != now.spec.get(key):
            return f"{key} of their specs differs, and with it the test rows"
    columns = [run.spec.get("columns", {}) for run in (before, now)]
    shared = columns[0].keys() & columns[1].keys()
    if any(columns[0][name] != columns[1][name] for name in shared):
        return "a column of both is read in another way"
    is_equal = before.manifest["rows"] == now.manifest["rows"]
    return "" if is_equal else "their numbers of rows differ"


def _why_not_paired(theirs: pa.Table, ours: pa.Table) -> str:
    """Returns why the predictions of some rows cannot be paired; empty if they can."""
    if theirs.num_rows != ours.num_rows:
        return "one of them has predictions of more rows"
    if set(theirs.column_names) != set(ours.column_names):
        return "they predict other classes"
    is_equal = theirs.column(LABEL).equals(ours.column(LABEL))
    return "" if is_equal else "the labels of their test rows differ"


def _test_shards(run: Evaluated) -> list[str]:
    files = run.manifest["files"]
    return [files[name] for name in sorted(files) if name.startswith("test-")]


def _batches(folder: str, begin: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yields the rows of the shards of a folder, in their order."""
    try:
        names = sorted(name for name in list_names(folder) if name.startswith(begin))
        for name in names:
            data = pa.BufferReader(read_file(f"{folder}/{name}"))  # one shard in memory, packed
            for batch in pq.ParquetFile(data).iter_batches(BATCH_ROWS, columns=columns):
                yield pa.Table.from_batches([batch])
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(str(Failure.of(error))) from error


def _aligned(streams: Sequence[Iterator[pa.Table]]) -> Iterator[list[pa.Table]]:
    """Yields the same rows of every stream, whose batches may end elsewhere.

    Where one stream has ended and another has not, the last tables have other numbers of rows.
    """
    rests: list[pa.Table | None] = [None] * len(streams)
    empty: list[pa.Table] = [pa.table({})] * len(streams)
    while True:
        rests = [
            next((t for t in stream if t.num_rows), None) if rest is None else rest
            for stream, rest in zip(streams, rests, strict=True)
        ]
        tables = [e if rest is None else rest for e, rest in zip(empty, rests, strict=True)]
        n = min(table.num_rows for table in tables)
        if not n:
            if max(table.num_rows for table in tables):
                yield tables
            return
        yield [table.slice(0, n) for table in tables]
        rests = [table.slice(n) if table.num_rows > n else None for table in tables]


def _losses(task: str, table: pa.Table) -> np.ndarray:
    """Returns the loss of each prediction, `[N] float64`."""
    if task == "regression":
        reference = Reference(task, 0, ())
        labels, outputs = (table.column(c).to_numpy() for c in (LABEL, "prediction"))
        return row_losses(reference, labels, outputs)
    names = [name for name in table.column_names if name.startswith(_PROBABILITY)]
    classes = pa.array([name.removeprefix(_PROBABILITY) for name in names])
    labels = pc.index_in(table.column(LABEL), classes).to_numpy()
    outputs = np.stack([table.column(name).to_numpy() for name in names], axis=1)
    return row_losses(Reference(task, len(names), ()), labels, outputs)
