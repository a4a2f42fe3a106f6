"""What is done with one shard of examples: surveyed, counted or scored, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate.measures import baseline
from quatrain.components.evaluate.measures.baseline import Cells, Inputs, OneInput
from quatrain.components.evaluate.measures.exact_sums import MeanSums
from quatrain.components.evaluate.measures.measurements import (
    N_BINS_COARSE,
    Against,
    Measured,
    Skew,
    Statistics,
    measure,
    nothing,
)
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.evaluate.measures.slice_values import OTHER, TOO_MANY, Survey, as_text
from quatrain.components.serve.served_model import (
    BATCH_ROWS,
    ServedModel,
    prediction_schema,
    prediction_table,
)
from quatrain.trainer.features import LABEL, RAW_PREFIX, WEIGHT, raw_inputs
from quatrain.trainer.features.transform import Transform

TRAIN_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Shard:
    """A Parquet file of examples.

    Attributes:
        path: The file.
        first_row: Number of its first row in the split, from 0.
        sha256: Its digest in the manifest.
    """

    path: str
    first_row: int
    sha256: str


@dataclass(frozen=True)
class Plan:
    """What every worker knows.

    Attributes:
        model: Folder of the exported model.
        transform: The fitted transform of the examples.
        slices: Columns whose values are measured apart.
        out: Folder for the predictions.
        champion: Folder of the model that is compared with it; None without one.
    """

    model: str
    transform: Transform
    slices: tuple[str, ...]
    out: str
    champion: str | None = None

    @property
    def weight(self) -> str | None:
        """The name of the weight column in a shard, or None."""
        return WEIGHT if self.transform.weight else None

    @property
    def labelled(self) -> list[str]:
        """The columns of a shard that say what happened: the label, and the weight if any."""
        return [LABEL, *([self.weight] if self.weight else [])]


@dataclass(frozen=True)
class Models:
    """The model, and the champion if it is compared with one."""

    model: ServedModel
    champion: ServedModel | None


def survey_shard(shard: Shard, plan: Plan, split: str) -> Survey:
    """Returns the labels of a train shard, or the weights and slice values of a test shard.

    Raises:
        ArtifactError: It is not the file that the preprocess step wrote.
    """
    if (digest := sha256_of(shard.path)) != shard.sha256:
        raise ArtifactError(
            f"{shard.path} is not the file that was written: its sha256 is {digest[:12]}..., "
            f"manifest.json says {shard.sha256[:12]}...; run the preprocess step again"
        )
    found = Survey()
    slices = [RAW_PREFIX + s for s in plan.slices] if split == "test" else []
    for batch in _batches(shard, [*plan.labelled, *slices]):
        if split == "train":
            found += Survey.of_train(_numbers(batch, LABEL), _weights(batch, plan))
        else:
            values = batch.select(slices).rename_columns(list(plan.slices))
            found += Survey.of_test(batch.num_rows, _weights(batch, plan), values)
    return found


def count_shard(shard: Shard, plan: Plan, reference: Reference) -> Inputs:
    """Returns the label sums by value of every engineered column of a train shard."""
    names = [e.name for e in plan.transform.engineered]
    found = Inputs()
    for batch in _batches(shard, [*plan.labelled, *names]):
        marks = baseline.marks_of(reference, _numbers(batch, LABEL), _weights(batch, plan))
        found += Inputs({name: Cells.of(_numbers(batch, name), marks) for name in names})
    return found


def fit_inputs(inputs: Inputs, plan: Plan, reference: Reference) -> dict[str, OneInput]:
    """Returns the model of every engineered column."""
    return {
        e.name: OneInput.fit(inputs.cells[e.name], reference, e.cardinality is None)
        for e in plan.transform.engineered
    }


def score_shard(
    shard: Shard,
    plan: Plan,
    models: Models,
    reference: Reference,
    tables: Mapping[str, OneInput],
) -> Measured:
    """Scores a test shard, writes its predictions and returns what was measured."""
    measured = zero(reference, plan)
    row = shard.first_row
    target = Path(plan.out, Path(shard.path).name.replace("test-", "predictions-"))
    partial = target.with_name(f".{target.name}.tmp")
    with pq.ParquetWriter(partial, prediction_schema(plan.transform, labelled=True)) as writer:
        for batch in _batches(shard, _scored_columns(plan), BATCH_ROWS):
            batch_measured, predictions = _score(batch, row, plan, models, reference, tables)
            measured += batch_measured
            row += batch.num_rows
            writer.write_table(predictions)
    os.replace(partial, target)
    return measured


def _scored_columns(plan: Plan) -> list[str]:
    raw = dict.fromkeys([i.name for i in plan.transform.inputs] + list(plan.slices))
    engineered = [e.name for e in plan.transform.engineered]
    return [*plan.labelled, *engineered, *(RAW_PREFIX + n for n in raw)]


def zero(reference: Reference, plan: Plan) -> Measured:
    """Returns what is measured on no rows."""
    empty = nothing(reference)
    against = Against(empty, MeanSums()) if plan.champion else None
    return Measured(empty, nothing(reference, N_BINS_COARSE), {}, {}, champion=against)


def _score(
    batch: pa.Table,
    row: int,
    plan: Plan,
    models: Models,
    reference: Reference,
    tables: Mapping[str, OneInput],
) -> tuple[Measured, pa.Table]:
    raw = batch.select([RAW_PREFIX + i.name for i in plan.transform.inputs])
    raw = raw.rename_columns([i.name for i in plan.transform.inputs])
    engineered = {e.name: _numbers(batch, e.name) for e in plan.transform.engineered}
    labels, weights = _numbers(batch, LABEL), _weights(batch, plan)
    columns = raw_inputs(raw, plan.transform.inputs)
    answers = models.model.answer(columns)
    _check_finite(answers, row, raw)
    against = None
    if models.champion is not None:
        inputs = models.champion.transform.inputs
        theirs = models.champion.answer({i.name: columns[i.name] for i in inputs})
        against = Against.of(reference, labels, answers, theirs, weights)
    prior = baseline.trivial_answer(reference, len(labels))
    measured = Measured(
        measure(reference, labels, answers, weights),
        measure(reference, labels, prior, weights, N_BINS_COARSE),
        {
            name: measure(reference, labels, t.answer(engineered[name]), weights, N_BINS_COARSE)
            for name, t in tables.items()
        },
        dict(_measure_slices(reference, batch, labels, answers, weights)),
        _skew(
            models.model, columns, engineered, answers / reference.deviation, reference, row, raw
        ),
        against,
    )
    return measured, prediction_table(plan.transform, answers, labels)


def _measure_slices(
    reference: Reference,
    batch: pa.Table,
    labels: np.ndarray,
    answers: np.ndarray,
    weights: np.ndarray | None,
) -> Iterator[tuple[tuple[str, str], Statistics]]:
    for column, values in reference.slices.items():
        text = as_text(batch[RAW_PREFIX + column]).to_numpy(zero_copy_only=False)
        if values is None:
            text, values = np.full(len(text), TOO_MANY, object), (TOO_MANY,)
        rest = np.ones(len(text), bool)
        for value in (*values, OTHER):
            rows = rest if value == OTHER else text == value
            rest = rest & ~rows
            if rows.any():
                kept = None if weights is None else weights[rows]
                of_slice = measure(reference, labels[rows], answers[rows], kept, N_BINS_COARSE)
                yield (column, value), of_slice


def _skew(
    served: ServedModel,
    columns: Mapping[str, Any],
    engineered: Mapping[str, np.ndarray],
    answers: np.ndarray,
    reference: Reference,
    row: int,
    raw: pa.Table,
) -> Skew:
    direct = served.answer(engineered, "engineered") / reference.deviation
    differences = np.abs(answers - direct).reshape(len(answers), -1).max(axis=1)
    differences = np.where(np.isnan(differences), np.inf, differences)
    worst = int(differences.argmax())
    inputs = {k: v[0] for k, v in raw.slice(worst, 1).to_pydict().items()}
    one = {n: c[worst : worst + 1] for n, c in columns.items()}
    gaps = {
        n: abs(float(v[0]) - float(engineered[n][worst]))
        for n, v in served.transform.numpy(one).items()
    }
    column = max(gaps, key=lambda n: gaps[n])
    return Skew(
        len(answers),
        float(differences[worst]),
        row + worst,
        {name: _plain(v) for name, v in inputs.items()},
        column if gaps[column] > 0 else "",
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str | bool) else str(value)


def _check_finite(answers: np.ndarray, row: int, raw: pa.Table) -> None:
    finite = np.isfinite(answers).reshape(len(answers), -1).all(axis=1)
    if not finite.all():
        wrong = int(np.flatnonzero(~finite)[0])
        raise ArtifactError(
            f"the model answers {answers[wrong].tolist()} for row {row + wrong} of the test split, "
            f"{raw.slice(wrong, 1).to_pylist()[0]}; its weights are not finite, train it again"
        )


def _batches(shard: Shard, columns: list[str], rows: int = TRAIN_BATCH_ROWS) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(shard.path) as file:
            absent = set(columns) - set(file.schema_arrow.names)
            if absent:
                raise ArtifactError(
                    f"{shard.path} has no column {sorted(absent)[0]!r}; "
                    "run the preprocess step again"
                )
            for batch in file.iter_batches(rows, columns=columns):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(
            f"{shard.path} cannot be read ({error}); run the preprocess step again"
        ) from error


def _numbers(batch: pa.Table, name: str) -> np.ndarray:
    return np.asarray(batch[name].combine_chunks().to_numpy(zero_copy_only=False))


def _weights(batch: pa.Table, plan: Plan) -> np.ndarray | None:
    return _numbers(batch, plan.weight) if plan.weight else None
