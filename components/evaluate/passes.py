"""The passes over one shard of examples: survey, count and score, batch by batch, without Beam."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components import storage
from quatrain.components.artifacts import run_again
from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate.answer_cache import AnswerCache
from quatrain.components.evaluate.importance.budget import Budget
from quatrain.components.evaluate.importance.explanation import explain
from quatrain.components.evaluate.measures import baseline
from quatrain.components.evaluate.measures.baseline import ColumnSums, LabelSums, SingleInputModel
from quatrain.components.evaluate.measures.measurements import (
    N_BINS_COARSE,
    Measurements,
    OpponentComparison,
    PairedComparison,
    Skew,
    Statistics,
    measure,
    no_rows,
    row_losses,
    summarize,
)
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.evaluate.measures.row_sample import RowSample
from quatrain.components.evaluate.measures.slice_values import Survey, rows_of_slices
from quatrain.components.evaluate.measures.worst_rows import WorstRows, quoted
from quatrain.components.evaluate.opponent.opponent import (
    Opponent,
    OpponentPlan,
    ShardAnswers,
    fit_opponent,
)
from quatrain.components.folder import Folder
from quatrain.components.serve.served_model import (
    BATCH_ROWS,
    Columns,
    ServedModel,
    on_this_machine,
    prediction_schema,
    prediction_table,
)
from quatrain.trainer.features import LABEL, RAW_PREFIX, WEIGHT, raw_inputs
from quatrain.trainer.features.transform import Transform
from quatrain.trainer.uris import by_uri

TRAIN_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Shard:
    """A Parquet file of examples.

    Attributes:
        path: The file, by its path or gs:// uri.
        first_row: Number of its first row in the split, from 0.
        sha256: The file's digest in the manifest.
    """

    path: str
    first_row: int
    sha256: str


@dataclass(frozen=True)
class EvaluationPlan:
    """What every worker needs: the models, and what to measure.

    Attributes:
        model: Folder of the exported model, by its path or gs:// uri.
        transform: The fitted transform of the examples.
        slices: The columns whose values are measured apart.
        out: Folder for the predictions, a path or gs:// uri.
        champion: Folder of the champion that the model is compared with, by its path or uri; None
            without one.
        report_rows: Number of the worst rows to quote; 0: no raw value of a row is quoted.
        budget: What it may cost to explain the model.
        model_sha256: The digest of the model's metadata.json.
        champion_sha256: That of the champion's.
        best: Folder of the best earlier model, by its path or uri; None if the champion is that.
        best_sha256: The digest of its metadata.json.
        cache: The answers that earlier runs have recorded, and where this one records its own.
        opponent: What the opponent is made of.
        class_weights: Those that the model was trained with, `[C]`; empty without any.
    """

    model: str
    transform: Transform
    slices: tuple[str, ...]
    out: str
    champion: str | None = None
    report_rows: int = 0
    budget: Budget = field(default_factory=Budget)
    model_sha256: str = ""
    champion_sha256: str = ""
    cache: AnswerCache = field(default_factory=AnswerCache)
    opponent: OpponentPlan = field(default_factory=OpponentPlan)
    class_weights: tuple[float, ...] = ()
    best: str | None = None
    best_sha256: str = ""

    @property
    def weight(self) -> str | None:
        """The name of the weight column in a shard, or None."""
        return WEIGHT if self.transform.weight else None

    @property
    def label_columns(self) -> list[str]:
        """The label column of a shard, and the weight column if there is one."""
        return [LABEL, *([self.weight] if self.weight else [])]


@dataclass(frozen=True)
class Baselines:
    """What was fitted to train rows, to compare the model with.

    Attributes:
        inputs: The single-input models, by engineered column.
        opponent: The boosted trees.
    """

    inputs: Mapping[str, SingleInputModel]
    opponent: Opponent


class LoadedModels:
    """The model, and its earlier rivals, each of which is loaded when it is first needed."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self._loading = threading.Lock()
        self._rivals: dict[str, ServedModel | str] = {}

    def rival(self, uri: str) -> ServedModel | str:
        """Returns an earlier model, or why it cannot be loaded.

        One that cannot be loaded does not stop the run: one that an older TensorFlow wrote would
        otherwise block every later model.

        Args:
            uri: Its folder, by its path or gs:// uri.
        """
        with self._loading:  # Beam scores shards in several threads
            if uri not in self._rivals:
                try:
                    self._rivals[uri] = _load(uri)
                except ArtifactError as error:
                    self._rivals[uri] = by_uri(str(error))
            return self._rivals[uri]


class _EarlierModel:
    """An earlier model's answers to one shard: those that a run has recorded, or its own.

    Attributes:
        error: Why there are none.
        run: The run that has recorded them; empty if the model answers.
    """

    def __init__(
        self, uri: str, sha256: str, shard: Shard, cache: AnswerCache, models: LoadedModels
    ) -> None:
        recorded = cache.read(sha256, shard.sha256)
        self.error, self.run, self._model = "", "", None
        self._values, self._row = np.zeros(0, np.float32), 0
        self._recording = cache.recording(sha256, shard.sha256)
        if recorded is not None:
            self._values, self.run = recorded.values, recorded.run
            return
        model = models.rival(uri)
        if isinstance(model, str):
            self.error = model
        else:
            self._model = model

    def answer(self, columns: Columns, rows: int) -> np.ndarray | None:
        """Returns the answers to the next batch of the shard, or None if there are none."""
        if self.error:
            return None
        if self._model is None:
            self._row += rows
            return self._values[self._row - rows : self._row]
        answers = self._model.answer(
            {i.name: columns[i.name] for i in self._model.transform.inputs}
        )
        self._recording.add(answers)
        return answers

    def end(self) -> None:
        """Records the answers, if the model has given them."""
        if self._model is not None:
            self._recording.write()


def load_models(plan: EvaluationPlan) -> LoadedModels:
    """Loads the model.

    Raises:
        ArtifactError: The model cannot be loaded.
    """
    return LoadedModels(_load(plan.model))


def _load(uri: str) -> ServedModel:
    with on_this_machine(uri) as folder:
        return ServedModel.load(folder)


def survey_shard(shard: Shard, plan: EvaluationPlan, split: str) -> Survey:
    """Returns the labels of a train shard, or the weights and slice values of a test shard.

    Raises:
        ArtifactError: The shard is not the file that the preprocess step wrote, or cannot be read.
    """
    with storage.open_stream(shard.path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != shard.sha256:
        raise ArtifactError(
            f"{shard.path} is not the file that was written: its sha256 is {digest[:12]}..., "
            f"manifest.json says {shard.sha256[:12]}...; {run_again('preprocess')}"
        )
    survey = Survey()
    slices = [RAW_PREFIX + s for s in plan.slices] if split == "test" else []
    for batch in _batches(shard, [*plan.label_columns, *slices]):
        if split == "train":
            survey += Survey.of_train(_numbers(batch, LABEL), _weights(batch, plan))
        else:
            values = batch.select(slices).rename_columns(list(plan.slices))
            survey += Survey.of_test(batch.num_rows, _weights(batch, plan), values)
    return survey


def reference_of(survey: Survey, plan: EvaluationPlan) -> Reference:
    """Returns the reference of the survey of all shards."""
    classes = plan.transform.label.classes
    plain = survey.reference(plan.transform.task, len(classes), plan.weight is not None)
    return plain.with_class_weights(plan.class_weights)


def count_shard(shard: Shard, plan: EvaluationPlan, reference: Reference) -> ColumnSums:
    """Returns the label sums by value of every engineered column of a train shard."""
    names = [e.name for e in plan.transform.engineered]
    sums = ColumnSums()
    for batch in _batches(shard, [*plan.label_columns, *names]):
        terms = baseline.label_terms(reference, _numbers(batch, LABEL), _weights(batch, plan))
        sums += ColumnSums({name: LabelSums.of(_numbers(batch, name), terms) for name in names})
    return sums


def fit_baselines(sums: ColumnSums, plan: EvaluationPlan, reference: Reference) -> Baselines:
    """Returns the single-input model of every engineered column, and the opponent."""
    inputs = {
        e.name: SingleInputModel.fit(sums.by_column[e.name], reference, e.cardinality is None)
        for e in plan.transform.engineered
    }
    return Baselines(inputs, fit_opponent(plan.opponent, plan.transform, plan.cache))


def score_shard(
    shard: Shard,
    plan: EvaluationPlan,
    models: LoadedModels,
    reference: Reference,
    baselines: Baselines,
) -> Measurements:
    """Scores a test shard, writes its predictions and returns its measurements."""
    champion, best = (
        None if uri is None else _EarlierModel(uri, sha256, shard, plan.cache, models)
        for uri, sha256 in (
            (plan.champion, plan.champion_sha256),
            (plan.best, plan.best_sha256),
        )
    )
    opponent = ShardAnswers(baselines.opponent, shard.sha256, plan.cache)
    measured = _no_measurements(reference, champion, best, opponent)
    own = plan.cache.recording(plan.model_sha256, shard.sha256)
    row = shard.first_row
    name = Path(shard.path).name.replace("test-", "predictions-")
    schema = prediction_schema(plan.transform, labelled=True)
    with Folder(plan.out).create(name) as stream, pq.ParquetWriter(stream, schema) as writer:
        for batch in _batches(shard, _scored_columns(plan), BATCH_ROWS):
            rivals = _Rivals(baselines.inputs, champion, best, opponent)
            scored = _score(batch, row, plan, models.model, rivals, reference)
            batch_measured, answers, predictions = scored
            measured += batch_measured
            own.add(answers)
            row += batch.num_rows
            writer.write_table(predictions)
    own.write()
    opponent.end()
    for earlier in (champion, best):
        if earlier:
            earlier.end()
    return measured


def summarize_model(
    measured: Measurements, plan: EvaluationPlan, models: LoadedModels
) -> dict[str, Any]:
    """Returns the measured part of metrics.json, the importance of the inputs included."""
    columns = {e.name: f.columns for f in plan.transform.features for e in f.outputs}
    return {**summarize(measured, columns), **explain(measured, models.model, plan.budget)}


def _scored_columns(plan: EvaluationPlan) -> list[str]:
    engineered = [e.name for e in plan.transform.engineered]
    engineered += [f.set_name for f in plan.transform.texts]
    return [*plan.label_columns, *engineered, *(RAW_PREFIX + n for n in _raw_columns(plan))]


def _sampled_columns(plan: EvaluationPlan) -> list[str]:
    return [*plan.label_columns, *(RAW_PREFIX + i.name for i in plan.transform.inputs)]


def _raw_columns(plan: EvaluationPlan) -> list[str]:
    """Returns the columns of a test shard as they were read: the inputs, then the slices."""
    return list(dict.fromkeys([*(i.name for i in plan.transform.inputs), *plan.slices]))


def _no_measurements(
    reference: Reference,
    champion: _EarlierModel | None,
    best: _EarlierModel | None,
    opponent: ShardAnswers,
) -> Measurements:
    """Returns the zero to which the measurements of batches are added."""
    empty = no_rows(reference)
    nothing = PairedComparison(empty)
    return Measurements(
        empty,
        PairedComparison(no_rows(reference, N_BINS_COARSE)),
        {},
        {},
        champion=nothing if champion and not champion.error else None,
        champion_error=champion.error if champion else "",
        champion_runs=frozenset([champion.run] if champion and champion.run else []),
        opponent=OpponentComparison(
            None if opponent.why else nothing,
            opponent.why,
            frozenset([opponent.run] if opponent.run else []),
        ),
        best=OpponentComparison(
            nothing if best and not best.error else None,
            best.error if best else "",
            frozenset([best.run] if best and best.run else []),
        ),
    )


@dataclass(frozen=True)
class _Rivals:
    """What the model is compared with on a shard: single inputs, earlier models, the opponent."""

    inputs: Mapping[str, SingleInputModel]
    champion: _EarlierModel | None
    best: _EarlierModel | None
    opponent: ShardAnswers


def _score(
    batch: pa.Table,
    row: int,
    plan: EvaluationPlan,
    model: ServedModel,
    rivals: _Rivals,
    reference: Reference,
) -> tuple[Measurements, np.ndarray, pa.Table]:
    """Returns the measurements, the answers and the predictions of a batch.

    Args:
        batch: The columns of `_scored_columns`.
        row: Number of its first row in the test split, from 0.
        plan: What to measure.
        model: The model.
        rivals: What it is compared with.
        reference: What the rows are measured against.

    Raises:
        ArtifactError: An answer of the model is not a finite number.
    """
    names = _raw_columns(plan)
    read = batch.select([RAW_PREFIX + name for name in names]).rename_columns(names)
    raw = read.select([i.name for i in plan.transform.inputs])
    engineered = {e.name: _numbers(batch, e.name) for e in plan.transform.engineered}
    labels, weights = _numbers(batch, LABEL), _weights(batch, plan)
    columns = raw_inputs(raw, plan.transform.inputs)
    answers = model.answer(columns)
    _check_finite(answers, row, raw)
    champion, best = (
        earlier.answer(columns, len(labels)) if earlier else None
        for earlier in (rivals.champion, rivals.best)
    )

    def compared(theirs: np.ndarray | None) -> PairedComparison | None:
        if theirs is None:
            return None
        return PairedComparison.of(reference, labels, answers, theirs, weights)

    losses, classes = row_losses(reference, labels, answers), plan.transform.label.classes
    worst = WorstRows.of(plan.report_rows, row, losses, labels, answers, classes, read, weights)
    prior = baseline.trivial_answer(reference, len(labels))
    measured = Measurements(
        measure(reference, labels, answers, weights),
        PairedComparison.of(reference, labels, answers, prior, weights, N_BINS_COARSE),
        {
            name: measure(reference, labels, t.answer(engineered[name]), weights, N_BINS_COARSE)
            for name, t in rivals.inputs.items()
        },
        dict(_measure_slices(reference, batch, labels, answers, weights)),
        _skew(
            model,
            columns,
            engineered,
            _sets(batch, plan, model),
            answers / reference.deviation,
            reference,
            row,
            raw,
        ),
        compared(champion),
        rivals.champion.error if rivals.champion else "",
        worst,
        RowSample.of(batch.select(_sampled_columns(plan)), row, plan.budget.max_rows),
        opponent=OpponentComparison(compared(rivals.opponent.answer(batch)), rivals.opponent.why),
        best=OpponentComparison(compared(best), rivals.best.error if rivals.best else ""),
    )
    return measured, answers, prediction_table(plan.transform, answers, labels)


def _sets(batch: pa.Table, plan: EvaluationPlan, model: ServedModel) -> dict[str, pa.Array]:
    """Returns the sets of n-grams that the model takes; one of a trainer of one's own may not."""
    names = [f.set_name for f in plan.transform.texts]
    taken = model.arguments["engineered"]
    return {n: batch[n].combine_chunks() for n in names if n in taken}


def _measure_slices(
    reference: Reference,
    batch: pa.Table,
    labels: np.ndarray,
    answers: np.ndarray,
    weights: np.ndarray | None,
) -> Iterator[tuple[tuple[str, str], Statistics]]:
    """Yields the column and value of each slice in a batch, and the statistics of its rows."""
    for column, values in reference.slices.items():
        for value, rows in rows_of_slices(batch[RAW_PREFIX + column], values):
            if rows.any():
                w = None if weights is None else weights[rows]
                statistics = measure(reference, labels[rows], answers[rows], w, N_BINS_COARSE)
                yield (column, value), statistics


def _skew(
    served: ServedModel,
    columns: Mapping[str, Any],
    engineered: Mapping[str, np.ndarray],
    sets: Mapping[str, pa.Array],
    answers: np.ndarray,
    reference: Reference,
    row: int,
    raw: pa.Table,
) -> Skew:
    """Returns the skew of a batch.

    Args:
        served: The model.
        columns: The raw inputs, as `served` takes them.
        engineered: The engineered columns of the same rows, as the model was trained on.
        sets: The sets of n-grams of their texts, if the model takes these.
        answers: The answers to `columns`, over the deviation of the train labels.
        reference: Holds that deviation.
        row: Number of the first row in the test split, from 0.
        raw: The raw inputs, as metrics.json shows them.
    """
    direct = served.answer({**engineered, **sets}, "engineered") / reference.deviation
    differences = np.abs(answers - direct).reshape(len(answers), -1).max(axis=1)
    differences = np.where(np.isnan(differences), np.inf, differences)  # NaN is the worst of all
    worst = int(differences.argmax())
    inputs = {k: v[0] for k, v in raw.slice(worst, 1).to_pydict().items()}
    # The worst row through the numpy form of the transform shows which column is to blame.
    worst_row = {n: c[worst : worst + 1] for n, c in columns.items()}
    gaps = {
        n: abs(float(v[0]) - float(engineered[n][worst]))
        for n, v in served.transform.numpy(worst_row).items()
    }
    ours = served.transform.sets_numpy(worst_row)
    gaps |= {n: float(ours[n][0] != column[worst]) for n, column in sets.items()}
    column = max(gaps, key=lambda n: gaps[n])
    return Skew(
        len(answers),
        float(differences[worst]),
        row + worst,
        {name: quoted(v) for name, v in inputs.items()},
        column if gaps[column] > 0 else "",
    )


def _check_finite(answers: np.ndarray, row: int, raw: pa.Table) -> None:
    """Refuses answers that are not finite; the message shows the first row that has one."""
    finite = np.isfinite(answers).reshape(len(answers), -1).all(axis=1)
    if not finite.all():
        wrong = int(np.flatnonzero(~finite)[0])
        raise ArtifactError(
            f"the model answers {answers[wrong].tolist()} for row {row + wrong} of the test split, "
            f"{raw.slice(wrong, 1).to_pylist()[0]}; its weights are not finite, train it again"
        )


def _batches(shard: Shard, columns: list[str], rows: int = TRAIN_BATCH_ROWS) -> Iterator[pa.Table]:
    """Yields some columns of a shard, in batches of at most `rows` rows.

    Raises:
        ArtifactError: The shard lacks a column, or cannot be read.
    """
    try:
        with storage.open_file(shard.path) as stream, pq.ParquetFile(stream) as file:
            absent = set(columns) - set(file.schema_arrow.names)
            if absent:
                raise ArtifactError(
                    f"{shard.path} has no column {sorted(absent)[0]!r}; {run_again('preprocess')}"
                )
            for batch in file.iter_batches(rows, columns=columns):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(
            f"{shard.path} cannot be read ({error}); {run_again('preprocess')}"
        ) from error


def _numbers(batch: pa.Table, name: str) -> np.ndarray:
    return np.asarray(batch[name].combine_chunks().to_numpy(zero_copy_only=False))


def _weights(batch: pa.Table, plan: EvaluationPlan) -> np.ndarray | None:
    return _numbers(batch, plan.weight) if plan.weight else None
