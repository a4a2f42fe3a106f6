"""The Beam pipeline of the evaluation: survey both splits, count train rows, score test rows.

    Create(shards) -> survey -> reference -> count inputs -> fit baselines -> score -> explain

An element is a shard, never a row: `passes` does the work of a shard. The pipeline writes one JSON
file of measurements, and the predictions of every test shard. The statistics are exact, so they may
be merged in any order. An error of a shard or a model travels as an `ErrorRecord`, like the
statistics, and `score` raises it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial, reduce
from operator import add
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
from apache_beam.utils.shared import Shared

from quatrain.components.engine.launch import Launch
from quatrain.components.errors import ArtifactError, ErrorRecord, QuatrainError, RunnerError
from quatrain.components.evaluate.measures.measurements import Measurements
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.evaluate.passes import (
    Baselines,
    EvaluationPlan,
    LoadedModels,
    Shard,
    count_shard,
    fit_baselines,
    load_models,
    reference_of,
    score_shard,
    summarize_model,
    survey_shard,
)
from quatrain.components.faults import sentence_of
from quatrain.components.folder import Folder
from quatrain.components.storage import remove_folder

LOCAL_WORKERS = 1
"""TensorFlow itself works on all cores: with two threads, 400 000 rows took 3.1 to 4.6 s instead of
2.9, and 4.5 CPU-seconds instead of 2.8. So a local run without options needs no Beam: `in_process`
does the same."""
_ERROR, _MEASUREMENTS = "error", "measurements.json"


def score(
    plan: EvaluationPlan,
    train: Sequence[Shard],
    test: Sequence[Shard],
    launch: Launch,
    name: str,
) -> dict[str, Any]:
    """Scores every test shard and returns the measurements, as in metrics.json.

    Args:
        plan: The models, and what to measure.
        train: The shards of the train split.
        test: The shards of the test split.
        launch: Where Beam runs.
        name: The model's name.

    Raises:
        ArtifactError: A shard or the model is not what was written, or cannot be read.
        DataError: A split has no rows, or a weight is negative or not finite.
        RunnerError: The engine is refused, has a wrong option, or failed.
    """
    n_shards = len(train) + len(test)
    with (
        TemporaryDirectory(prefix="quatrain-evaluate-") as here,
        launch.start(name=name, out=plan.out, n_elements=n_shards, most_local=LOCAL_WORKERS) as (
            runner,
            options,
        ),
    ):
        scratch = Folder(f"{plan.out}/.scratch" if launch.remote else here)
        pipeline = beam.Pipeline(runner, options)
        _build(pipeline, plan, train, test, scratch)
        launch.run(pipeline, plan.out)
        written = scratch.read(_MEASUREMENTS)
        if launch.remote:
            remove_folder(scratch.uri)
    if written is None:
        raise RunnerError(
            "the engine says that all is done, but the measurements are absent: it lost work; run "
            "again with --runner local"
        )
    measurements: dict[str, Any] = json.loads(written)
    if _ERROR in measurements:
        raise ErrorRecord(**measurements[_ERROR]).error
    return measurements


def _build(
    pipeline: beam.Pipeline,
    plan: EvaluationPlan,
    train: Sequence[Shard],
    test: Sequence[Shard],
    scratch: Folder,
) -> None:
    """Adds the steps to a pipeline; the last one writes the measurements, or an error."""
    train_shards = pipeline | "train shards" >> beam.Create(train, reshuffle=True)
    test_shards = pipeline | "test shards" >> beam.Create(test, reshuffle=True)
    survey = (
        (
            train_shards | "survey train" >> beam.Map(_recording(survey_shard), plan, "train"),
            test_shards | "survey test" >> beam.Map(_recording(survey_shard), plan, "test"),
        )
        | beam.Flatten()
        | "merge surveys" >> beam.CombineGlobally(MergeStatistics()).without_defaults()
    )
    reference = beam.pvalue.AsSingleton(
        survey | "reference" >> beam.Map(_recording(reference_of), plan)
    )
    baselines = beam.pvalue.AsSingleton(
        train_shards
        | "count inputs" >> beam.Map(_recording(count_shard), plan, reference)
        | "merge counts" >> beam.CombineGlobally(MergeStatistics()).without_defaults()
        | "fit baselines" >> beam.Map(_recording(fit_baselines), plan, reference)
    )
    models = SharedModels(plan)
    done = (
        test_shards
        | "score" >> beam.ParDo(ScoreShards(plan, models), reference, baselines)
        | "merge measurements" >> beam.CombineGlobally(MergeStatistics()).without_defaults()
        | "explain" >> beam.ParDo(ExplainModel(plan, models))
        | "write" >> beam.FlatMap(_write_summary, scratch).with_output_types(tuple[str, str])
    )
    # Where a stage has no output, Beam's own runner waits forever for a worker that was killed.
    done | beam.GroupByKey()


class MergeStatistics(beam.CombineFn):
    """Merges statistics by `+`; keeps the alphabetically first of several errors, in any order."""

    def create_accumulator(self) -> Any:
        """Returns None: there is no zero, and at least one element."""
        return None

    def add_input(self, accumulator: Any, element: Any) -> Any:
        """Returns the statistics of both."""
        return self.merge_accumulators((accumulator, element))

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        """Returns the statistics of all."""
        present = [a for a in accumulators if a is not None]
        errors = [a for a in present if isinstance(a, ErrorRecord)]
        if errors:
            return min(errors, key=lambda record: record.message)
        return reduce(add, present) if present else None

    def extract_output(self, accumulator: Any) -> Any:
        """Returns the statistics."""
        return accumulator


class SharedModels:
    """The models, which a process loads once for all that it does with them."""

    def __init__(self, plan: EvaluationPlan) -> None:
        self._plan, self._shared = plan, Shared()

    def load(self) -> LoadedModels | ErrorRecord:
        """Loads the model and the champion, or returns those that this process has loaded."""
        loaded: LoadedModels | ErrorRecord = self._shared.acquire(
            partial(_record, load_models, self._plan)
        )
        return loaded


class ScoreShards(beam.DoFn):
    """Scores test shards."""

    def __init__(self, plan: EvaluationPlan, models: SharedModels) -> None:
        self._plan, self._shared = plan, models

    def setup(self) -> None:
        """Loads the models."""
        self._models = self._shared.load()

    def process(
        self,
        shard: Shard,
        reference: Reference | ErrorRecord,
        baselines: Baselines | ErrorRecord,
    ) -> Iterator[Measurements | ErrorRecord]:
        """Yields the measurements of a shard."""
        yield _record(score_shard, shard, self._plan, self._models, reference, baselines)


class ExplainModel(beam.DoFn):
    """Explains the model with the sample of the test rows, and summarizes all measurements."""

    def __init__(self, plan: EvaluationPlan, models: SharedModels) -> None:
        self._plan, self._shared = plan, models

    def setup(self) -> None:
        """Loads the models."""
        self._models = self._shared.load()

    def process(self, measured: Measurements | ErrorRecord) -> Iterator[Any]:
        """Yields the measured part of metrics.json."""
        yield _record(summarize_model, measured, self._plan, self._models)


def _recording(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that returns its errors instead of raising them."""
    return partial(_record, function)


def _record(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns a function's result, the record of its error, or a record among its arguments."""
    for argument in arguments:
        if isinstance(argument, ErrorRecord):
            return argument
    try:
        return function(*arguments)
    except QuatrainError as error:
        return ErrorRecord.of(error)
    except OSError as error:
        if not (sentence := sentence_of(error)):
            raise
        return ErrorRecord.of(ArtifactError(sentence))


def _write_summary(
    summary: dict[str, Any] | ErrorRecord, scratch: Folder
) -> Iterator[tuple[str, str]]:
    """Writes what the driver reads; yields nothing."""
    if isinstance(summary, ErrorRecord):
        scratch.write_json(_MEASUREMENTS, {_ERROR: asdict(summary)})
    else:
        scratch.write_json(_MEASUREMENTS, summary)
    yield from ()
