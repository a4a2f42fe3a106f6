"""The Beam pipeline of a prediction, over ranges of the table.

    Create(ranges) -> predict -> collect -> write

An element is a range, never a row: `passes` does the work of a range. What its shards hold travels
to one JSON file, which the driver reads; an error travels with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from tempfile import TemporaryDirectory

import apache_beam as beam
from apache_beam.utils.shared import Shared

from quatrain.components.engine.launch import Launch
from quatrain.components.errors import ErrorRecord, QuatrainError, RunnerError
from quatrain.components.folder import Folder
from quatrain.components.serve.batch import passes
from quatrain.components.serve.batch.passes import PredictionPlan, WrittenRange
from quatrain.components.serve.batch.shard_folder import SCRATCH
from quatrain.components.serve.served_model import ServedModel
from quatrain.components.storage import remove_folder
from quatrain.components.table.range import Range

_WRITTEN = "written.json"


def predict(
    plan: PredictionPlan, spans: Sequence[Range], launch: Launch, name: str
) -> list[WrittenRange]:
    """Predicts all ranges on the engine of the launch, and returns what their shards hold.

    Args:
        plan: The model, and where its answers go.
        spans: The ranges of the table.
        launch: Where Beam runs.
        name: The name of the job.

    Raises:
        RunnerError: The engine is refused, has a wrong option, or failed.
    """
    with (
        TemporaryDirectory(prefix="quatrain-predict-") as here,
        launch.start(name=name, out=plan.out, n_elements=len(spans)) as (runner, options),
    ):
        scratch = Folder(f"{plan.out}/{SCRATCH}" if launch.remote else here)
        pipeline = beam.Pipeline(runner, options)
        _build(pipeline, plan, spans, scratch)
        launch.run(pipeline, plan.out)
        written = scratch.read(_WRITTEN)
        if launch.remote:
            remove_folder(scratch.uri)
    if written is None:
        raise RunnerError(
            "the engine says that all is done, but its list of shards is absent: it lost work; run "
            "again with --runner local"
        )
    return [_read(document) for document in json.loads(written)]


def _read(document: dict[str, object]) -> WrittenRange:
    error = document.pop("error")
    return WrittenRange(**document, error=error and ErrorRecord(**error))  # type: ignore[arg-type]


def _build(
    pipeline: beam.Pipeline, plan: PredictionPlan, spans: Sequence[Range], scratch: Folder
) -> None:
    """Adds the steps to a pipeline; the last one writes what the driver reads."""
    done = (
        pipeline
        | "ranges" >> beam.Create(spans, reshuffle=True)
        | "predict" >> beam.ParDo(PredictRanges(plan)).with_output_types(WrittenRange)
        | "collect" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "write" >> beam.FlatMap(_write_list, scratch).with_output_types(tuple[str, str])
    )
    # Where a stage has no output, Beam's own runner waits forever for a worker that was killed.
    done | beam.GroupByKey()


class PredictRanges(beam.DoFn):
    """Predicts ranges; a process loads the model once."""

    def __init__(self, plan: PredictionPlan) -> None:
        self._plan, self._shared = plan, Shared()

    def setup(self) -> None:
        """Loads the model."""
        self._model = self._shared.acquire(partial(_loaded, self._plan))

    def process(self, span: Range) -> Iterator[WrittenRange]:
        """Yields what the shards of a range hold."""
        if isinstance(self._model, ErrorRecord):
            yield WrittenRange(span.index, error=self._model)
        else:
            yield passes.predict_range(span, self._plan, self._model)


def _loaded(plan: PredictionPlan) -> ServedModel | ErrorRecord:
    try:
        return passes.load_model(plan)
    except QuatrainError as error:
        return ErrorRecord.of(error)


def _write_list(written: list[WrittenRange], scratch: Folder) -> Iterator[tuple[str, str]]:
    """Writes what the driver reads; yields nothing."""
    scratch.write_json(_WRITTEN, [asdict(w) for w in written])
    yield from ()
