"""The answers that champions gave before the labels were known, scored now that they are.

The prediction pipeline keeps its answers beside the keys of their rows, a partition a day. Once a
run reads the same rows with their labels, its test rows show how good those answers were. Only
test rows are looked up, since they hold their keys and none of them has trained a model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components import history, storage
from quatrain.components.confidence import Z95
from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate.measures.classification import log_losses
from quatrain.components.evaluate.measures.metrics import loss_of
from quatrain.components.evaluate.passes import Shard
from quatrain.components.folder import read_manifest
from quatrain.components.prediction.inputs import partition_of, predictions_of
from quatrain.components.preprocess.splitting import joined
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.wording import counted, first_line
from quatrain.trainer.features import LABEL, RAW_PREFIX, WEIGHT
from quatrain.trainer.features.fingerprint import fingerprint64
from quatrain.trainer.features.transform import Transform

MOST_DAYS = 31
"""The newest partitions that are looked through."""
MOST_ROWS = 1_000_000
"""The first test rows that are looked up. They take 40 MB, and their mean loss is known to a
thousandth of the deviation of a row's."""
_MANIFEST = re.compile(r"day=(\d{4}-\d{2}-\d{2})/manifest\.json")


@dataclass(frozen=True)
class _TestRows:
    """The test rows whose key no other one has, in the order of their fingerprints.

    Attributes:
        fingerprints: Of the keys, `[N] int64`, ascending.
        labels: `[N]` class indices or numbers.
        weights: `[N] float64`.
        types: The type of each key column.
        repeated: How many rows were left out, since another one has the same key.
    """

    fingerprints: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    types: Mapping[str, pa.DataType]
    repeated: int


def score_past_answers(
    spec: ModelSpec, root: str, test: Sequence[Shard], transform: Transform
) -> dict[str, Any] | None:
    """Returns how good the champions' own answers were; None if no prediction was kept.

    Args:
        spec: The spec of this run.
        root: The folder of all runs, below which predictions are kept; if empty, there are none.
        test: The test shards of this run.
        transform: The fitted transform of this run's examples.

    Returns:
        `keys`, the number of `days` looked through, `test_rows`, how many of them are `repeated`,
        the matched `rows`, `runs` with the loss of each champion on its rows (`now`, with its 95 %
        interval) and on the test rows of its own gate (`then`, None if it is not recorded), and
        `why` nothing matches, else empty. A partition that cannot be read fails no run.
    """
    days = _days(root, spec.name) if root else []
    if not days:
        return None
    found: dict[str, Any] = {
        "keys": list(spec.row_keys),
        "days": len(days),
        "test_rows": 0,
        "repeated": 0,
        "rows": 0,
        "metric": loss_of(spec.task),
        "runs": [],
        "why": "",
    }
    if not spec.row_keys:
        return {**found, "why": f"no column identifies a row; {_NAME_KEYS}"}
    try:
        rows = _test_rows(test, spec.row_keys)
        found["repeated"] = rows.repeated
        found["test_rows"] = len(rows.labels) + rows.repeated
        losses, runs = _losses_of_days(spec, root, days, rows, transform)
        found["runs"] = [_scored(spec, root, run, losses, rows) for run in runs]
    except (ArtifactError, OSError, pa.ArrowException) as error:
        return {**found, "why": f"the kept predictions cannot be read: {first_line(error)}"}
    found["rows"] = int(np.isfinite(losses).sum())
    return found if found["rows"] else {**found, "why": _why_nothing(found)}


_NAME_KEYS = "name those that do by clean.deduplicate.keys, which predictions then keep"


def sentence_of(found: Mapping[str, Any]) -> str:
    """Returns the result in a sentence, for the log and the report."""
    days = counted(found["days"], "day")
    if found["why"]:
        return f"the kept answers of {days} match no test row: {found['why']}"
    parts = []
    for run in found["runs"]:
        then = f", {run['then']:.4g} at its gate" if run["then"] is not None else ""
        now = run["now"]
        interval = "" if now["low"] is None else f" ({now['low']:.4g} to {now['high']:.4g})"
        parts.append(
            f"run {run['run']} on {counted(run['rows'], 'row')}: {found['metric']} "
            f"{now['value']:.4g}{interval}{then}"
        )
    return f"kept answers of {days}, now that labels are there: {'; '.join(parts)}"


def _days(root: str, name: str) -> list[str]:
    """Returns the newest days with a complete partition, newest first."""
    names = storage.list_names(predictions_of(root, name))
    days = (match[1] for match in map(_MANIFEST.fullmatch, names) if match)
    return sorted(days, reverse=True)[:MOST_DAYS]


def _test_rows(test: Sequence[Shard], keys: Sequence[str]) -> _TestRows:
    prints, labels, weights, n_rows = [], [], [], 0
    types: dict[str, pa.DataType] = {}
    for shard in test:
        with storage.open_file(shard.path) as stream, pq.ParquetFile(stream) as file:
            schema = file.schema_arrow
            if absent := [k for k in keys if RAW_PREFIX + k not in schema.names]:
                raise ArtifactError(f"the test rows hold no column {absent[0]!r}; run preprocess")
            types = {k: schema.field(RAW_PREFIX + k).type for k in keys}
            weight = [WEIGHT] if WEIGHT in schema.names else []
            columns = [LABEL, *weight, *(RAW_PREFIX + k for k in keys)]
            for batch in file.iter_batches(columns=columns):
                prints.append(fingerprint64(joined([batch[RAW_PREFIX + k] for k in keys])))
                labels.append(batch[LABEL].to_numpy(zero_copy_only=False))
                weights.append(
                    batch[WEIGHT].to_numpy(zero_copy_only=False).astype(np.float64)
                    if weight
                    else np.ones(batch.num_rows)
                )
                n_rows += batch.num_rows
        if n_rows >= MOST_ROWS:
            break
    together = np.concatenate(prints).view(np.int64)
    unique, first, counts = np.unique(together, return_index=True, return_counts=True)
    alone = first[counts == 1]
    return _TestRows(
        unique[counts == 1],
        np.concatenate(labels)[alone],
        np.concatenate(weights)[alone],
        types,
        len(together) - len(alone),
    )


def _losses_of_days(
    spec: ModelSpec, root: str, days: Sequence[str], rows: _TestRows, transform: Transform
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Returns the loss of each test row, NaN without an answer, and the runs that answered.

    Of several days that answer a row, the newest counts. A key that a day has twice counts for
    none of its rows.
    """
    losses = np.full(len(rows.labels), np.nan)
    runs: dict[str, dict[str, Any]] = {}
    for day in days:
        folder = partition_of(root, spec.name, day)
        manifest = read_manifest(folder, "manifest.json", "predict")
        theirs, times = np.full(len(losses), np.nan), np.zeros(len(losses), np.int64)
        for places, found in _matches(folder, manifest, rows, transform):
            np.add.at(times, places, 1)
            theirs[places] = found
        fresh = np.isnan(losses) & (times == 1)
        losses[fresh] = theirs[fresh]
        run = runs.setdefault(
            manifest["champion"]["run"],
            {"run": manifest["champion"]["run"], "last": day, "mine": np.zeros(len(losses), bool)},
        )
        run |= {"first": day, "mine": run["mine"] | fresh}
    return losses, [run for run in runs.values() if run["mine"].any()]


def _matches(
    folder: str, manifest: Mapping[str, Any], rows: _TestRows, transform: Transform
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the places of the test rows that a partition answers, and the losses of its answers.

    A partition without a key column, or with other answers, matches nothing.
    """
    classes = transform.label.classes
    answers = [f"probability_{c}" for c in classes] or ["prediction"]
    columns = [*rows.types, *answers]
    if set(columns) - set(manifest["columns"]) or not len(rows.fingerprints):
        return
    for name in sorted(manifest["files"]):
        with storage.open_file(f"{folder}/{name}") as stream, pq.ParquetFile(stream) as file:
            for batch in file.iter_batches(columns=columns):
                keys = [_typed(batch[key], type_) for key, type_ in rows.types.items()]
                prints = fingerprint64(joined(keys)).view(np.int64)
                places = np.searchsorted(rows.fingerprints, prints)
                places = np.minimum(places, len(rows.fingerprints) - 1)
                at = np.flatnonzero(rows.fingerprints[places] == prints)
                places = places[at]
                outputs = np.stack([batch[a].to_numpy()[at] for a in answers], axis=1)
                labels = rows.labels[places]
                yield (
                    places,
                    log_losses(labels, outputs)
                    if classes
                    else (outputs[:, 0].astype(np.float64) - labels) ** 2,
                )


def _typed(column: pa.Array, type_: pa.DataType) -> pa.Array:
    """Returns a column of texts as a type, or as it is where a text is none of that type."""
    try:
        return column.cast(type_)
    except pa.ArrowInvalid:
        return column


def _scored(
    spec: ModelSpec, root: str, run: Mapping[str, Any], losses: np.ndarray, rows: _TestRows
) -> dict[str, Any]:
    """Returns the loss of a run's answers, with its interval, and that at its own gate."""
    mine, weights = losses[run["mine"]], rows.weights[run["mine"]]
    total = weights.sum()
    mean = float((weights * mine).sum() / total) if total > 0 else math.nan
    error = float(np.sqrt((weights**2 * (mine - mean) ** 2).sum()) / total) if total > 0 else 0.0
    power = 0.5 if spec.task == "regression" else 1.0
    several = len(mine) > 1 and math.isfinite(mean)
    low, high = max(mean - Z95 * error, 0.0), mean + Z95 * error
    record = history.measured_run(root, spec.name, run["run"])
    then = ((record or {}).get("metrics") or {}).get(loss_of(spec.task))
    return {
        "run": run["run"],
        "first": run["first"],
        "last": run["last"],
        "rows": len(mine),
        "now": {
            "value": mean**power if math.isfinite(mean) else None,
            "low": low**power if several else None,
            "high": high**power if several else None,
        },
        "then": then["value"] if isinstance(then, Mapping) else then,
    }


def _why_nothing(found: Mapping[str, Any]) -> str:
    keys = ", ".join(found["keys"])
    if found["repeated"] == found["test_rows"]:
        return f"each key ({keys}) is that of several test rows; {_NAME_KEYS}"
    return (
        f"no row of those days has the {keys} of one of {counted(found['test_rows'], 'test row')}, "
        f"or `--keep` left a key out; keep the keys, and wait until labels of those days are read"
    )
