"""The Beam pipeline of the evaluation: survey, count, score.

Shards of Parquet go in; one JSON file of measurements and the predictions of every shard come out.
The statistics are exact, so `Fold` may merge them in any order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.shared import Shared

from quatrain.components import errors
from quatrain.components.artifacts import write_json
from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.evaluate.measures.baseline import OneInput
from quatrain.components.evaluate.measures.measurements import Measured, summarize
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.evaluate.measures.slice_values import Survey
from quatrain.components.evaluate.passes import (
    Models,
    Plan,
    Shard,
    count_shard,
    fit_inputs,
    score_shard,
    survey_shard,
)
from quatrain.components.serve.served_model import ServedModel

PROBLEM = ".problem.json"
UNLOADED = ".champion.json"
"""Why the champion was not loaded."""


class Fold(beam.CombineFn):
    """Merges statistics by `+`; there is at least one."""

    def create_accumulator(self) -> Any:
        """Nothing yet."""
        return None

    def add_input(self, accumulator: Any, element: Any) -> Any:
        """The statistics of both."""
        return element if accumulator is None else accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        """The statistics of all."""
        present = [a for a in accumulators if a is not None]
        return reduce(add, present) if present else None

    def extract_output(self, accumulator: Any) -> Any:
        """The statistics themselves."""
        return accumulator


class Score(beam.DoFn):
    """Scores test shards with the model, and the champion, which a process loads once."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._model, self._champion = plan, Shared(), Shared()

    def setup(self) -> None:
        """Loads the models, or takes those that this process has."""
        load, plan = _Noting(self._plan, ServedModel.load), self._plan
        self._models = Models(
            self._model.acquire(partial(load, plan.model)),
            self._champion.acquire(partial(_load_champion, plan)) if plan.champion else None,
        )

    def process(
        self, shard: Shard, reference: Reference, tables: dict[str, OneInput]
    ) -> Iterator[Measured]:
        """Gives what was measured on a shard."""
        told = _Noting(self._plan, score_shard)
        yield told(shard, self._plan, self._models, reference, tables)


def score(plan: Plan, train: Sequence[Shard], test: Sequence[Shard]) -> dict[str, Any]:
    """Scores every test shard and returns the measurements, as in metrics.json.

    Of a champion that cannot be loaded they have `why` alone.

    Locally on FnApiRunner, by name: the default runner would look for another one to download.
    """
    out = Path(plan.out, ".measurements.json")
    try:
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
            _build(pipeline, plan, train, test, out)
    except Exception as error:
        _raise_noted(plan, error)
        raise
    measurements: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    out.unlink()
    unloaded = Path(plan.out, UNLOADED)
    if unloaded.exists():
        measurements["champion"] = json.loads(unloaded.read_text(encoding="utf-8"))
        unloaded.unlink()
    return measurements


def _load_champion(plan: Plan) -> ServedModel | None:
    """Loads the champion; where that fails, notes why, for the driver, and the run goes on."""
    try:
        return ServedModel.load(str(plan.champion))
    except ArtifactError as error:
        write_json(Path(plan.out, UNLOADED), {"why": str(error)})
        return None


class _Noting:
    """A function that notes an error which a user can mend, for the driver.

    Beam gives it another text, and with worker processes another class.
    """

    def __init__(self, plan: Plan, function: Callable[..., Any]) -> None:
        self._plan, self._function = plan, function

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function."""
        try:
            return self._function(*arguments)
        except QuatrainError as error:
            problem = {"error": type(error).__name__, "message": str(error)}
            write_json(Path(self._plan.out, PROBLEM), problem)
            raise


def _raise_noted(plan: Plan, error: Exception) -> None:
    path = Path(plan.out, PROBLEM)
    if path.exists():
        problem = json.loads(path.read_text(encoding="utf-8"))
        raise getattr(errors, problem["error"])(problem["message"]) from error


def _reference(survey: Survey, plan: Plan) -> Reference:
    classes = plan.transform.label.classes
    return survey.reference(plan.transform.task, len(classes), plan.weight is not None)


def _build(
    pipeline: beam.Pipeline, plan: Plan, train: Sequence[Shard], test: Sequence[Shard], out: Path
) -> None:
    train_shards = pipeline | "train shards" >> beam.Create(train, reshuffle=True)
    test_shards = pipeline | "test shards" >> beam.Create(test, reshuffle=True)
    survey = (
        (
            train_shards | "survey train" >> beam.Map(_Noting(plan, survey_shard), plan, "train"),
            test_shards | "survey test" >> beam.Map(_Noting(plan, survey_shard), plan, "test"),
        )
        | beam.Flatten()
        | "fold survey" >> beam.CombineGlobally(Fold()).without_defaults()
    )
    reference = beam.pvalue.AsSingleton(
        survey | "reference" >> beam.Map(_Noting(plan, _reference), plan)
    )
    tables = (
        train_shards
        | "count inputs" >> beam.Map(_Noting(plan, count_shard), plan, reference)
        | "fold inputs" >> beam.CombineGlobally(Fold()).without_defaults()
        | "fit inputs" >> beam.Map(fit_inputs, plan, reference)
    )
    _ = (
        test_shards
        | "score" >> beam.ParDo(Score(plan), reference, beam.pvalue.AsSingleton(tables))
        | "fold measured" >> beam.CombineGlobally(Fold()).without_defaults()
        | "summarize" >> beam.Map(lambda measured: write_json(out, summarize(measured)))
    )
