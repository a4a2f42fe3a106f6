"""The Beam pipeline of the evaluation: survey both splits, count train rows, score test rows.

    Create(shards) -> survey -> reference -> count inputs -> fit inputs -> score -> summarize

An element is a shard, never a row: `passes` does the work of a shard. The pipeline writes one JSON
file of measurements, and the predictions of every test shard. The statistics are exact, so they may
be merged in any order. An error of a shard or a model travels as an `ErrorRecord`, like the
statistics, and `score` raises it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial, reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.shared import Shared

from quatrain.components.artifacts import write_json
from quatrain.components.errors import ErrorRecord, QuatrainError
from quatrain.components.evaluate.measures.baseline import SingleInputModel
from quatrain.components.evaluate.measures.measurements import Measurements, summarize
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.evaluate.measures.slice_values import Survey
from quatrain.components.evaluate.passes import (
    EvaluationPlan,
    Shard,
    count_shard,
    fit_inputs,
    load_models,
    score_shard,
    survey_shard,
)

_ERROR = "error"


def score(plan: EvaluationPlan, train: Sequence[Shard], test: Sequence[Shard]) -> dict[str, Any]:
    """Scores every test shard and returns the measurements, as in metrics.json.

    The pipeline names FnApiRunner, because Beam's default runner first looks for another one to
    download.

    Args:
        plan: The models, and what to measure.
        train: The shards of the train split.
        test: The shards of the test split.

    Raises:
        ArtifactError: A shard or the model is not what was written, or cannot be read.
        DataError: A split has no rows, or a weight is negative or not finite.
    """
    with TemporaryDirectory(prefix="quatrain-evaluate-") as folder:
        out = Path(folder, "measurements.json")
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
            _build(pipeline, plan, train, test, out)
        measurements: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if _ERROR in measurements:
        raise ErrorRecord(**measurements[_ERROR]).error
    return measurements


def _build(
    pipeline: beam.Pipeline,
    plan: EvaluationPlan,
    train: Sequence[Shard],
    test: Sequence[Shard],
    out: Path,
) -> None:
    """Adds the steps to a pipeline; the last one writes the measurements, or an error, to `out`."""
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
        survey | "reference" >> beam.Map(_recording(_reference), plan)
    )
    tables = (
        train_shards
        | "count inputs" >> beam.Map(_recording(count_shard), plan, reference)
        | "merge counts" >> beam.CombineGlobally(MergeStatistics()).without_defaults()
        | "fit inputs" >> beam.Map(_recording(fit_inputs), plan, reference)
    )
    _ = (
        test_shards
        | "score" >> beam.ParDo(ScoreShards(plan), reference, beam.pvalue.AsSingleton(tables))
        | "merge measurements" >> beam.CombineGlobally(MergeStatistics()).without_defaults()
        | "summarize" >> beam.Map(_write_summary, out)
    )


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


class ScoreShards(beam.DoFn):
    """Scores test shards; each process loads the model, and the champion, once."""

    def __init__(self, plan: EvaluationPlan) -> None:
        self._plan, self._shared = plan, Shared()

    def setup(self) -> None:
        """Loads the models, or takes those that this process has loaded."""
        self._models = self._shared.acquire(partial(_record, load_models, self._plan))

    def process(
        self,
        shard: Shard,
        reference: Reference | ErrorRecord,
        tables: Mapping[str, SingleInputModel] | ErrorRecord,
    ) -> Iterator[Measurements | ErrorRecord]:
        """Yields the measurements of a shard."""
        yield _record(score_shard, shard, self._plan, self._models, reference, tables)


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


def _reference(survey: Survey, plan: EvaluationPlan) -> Reference:
    classes = plan.transform.label.classes
    return survey.reference(plan.transform.task, len(classes), plan.weight is not None)


def _write_summary(measured: Measurements | ErrorRecord, out: Path) -> None:
    if isinstance(measured, ErrorRecord):
        write_json(out, {_ERROR: asdict(measured)})
    else:
        write_json(out, summarize(measured))
