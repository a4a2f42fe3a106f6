"""The Beam pipeline of the preprocess step, over ranges of the source.

    Create(ranges) -> Clean -> CombineGlobally(summaries) -> Fit -> Engineer -> Commit

An element is a range, never a row: `passes` does the work of a range on Arrow batches. An error in
the data travels as data, since Beam retries and wraps a worker's exception; `run` raises it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import reduce
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineRunner

from quatrain.components.artifacts import json_bytes
from quatrain.components.errors import ErrorRecord, QuatrainError
from quatrain.components.preprocess import passes
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.duplicates import MarkDuplicates
from quatrain.components.preprocess.job import ERROR, PreprocessJob
from quatrain.components.preprocess.passes import CleanedRange, FitResult, WrittenFiles
from quatrain.components.preprocess.summary.summary import RunningSummary, Summary
from quatrain.components.table.range import Range

_SUMMARY = "summary"


def make(
    job: PreprocessJob,
    ranges: list[Range],
    runner: PipelineRunner | None,
    options: PipelineOptions,
    *,
    in_one_worker: bool,
) -> beam.Pipeline:
    """Returns the pipeline of a run, not yet started.

    The pipeline has only seven steps, since each costs about 0.05 CPU-s. If the spec removes
    duplicates, it has more, and reads the source twice.

    Args:
        job: The run, as every worker knows it.
        ranges: The ranges of the source.
        runner: Beam's runner; None lets the options choose one.
        options: Beam's options.
        in_one_worker: Whether one worker does all the work, so that ranges need no reshuffle.
    """
    pipeline = beam.Pipeline(runner, options)
    spans = pipeline | "Ranges" >> beam.Create(ranges, reshuffle=not in_one_worker)
    if job.spec.clean.deduplicate:
        spans = spans | "Deduplicate" >> MarkDuplicates(job)
    cleaned = spans | "Clean" >> beam.ParDo(CleanRanges(job)).with_outputs(_SUMMARY, main="range")
    # Beam does not infer the types of tagged outputs.
    cleaned.range.element_type = CleanedRange
    cleaned[_SUMMARY].element_type = Summary
    fitted = (
        cleaned[_SUMMARY]
        | "Summarize" >> beam.CombineGlobally(MergeSummaries()).without_defaults()
        | "Fit" >> beam.Map(passes.fit_transform, job).with_output_types(FitResult)
    )
    written = cleaned.range | "Engineer" >> beam.ParDo(
        EngineerRanges(job), beam.pvalue.AsSingleton(fitted)
    ).with_output_types(WrittenFiles)
    done = fitted | "Commit" >> beam.ParDo(
        WriteDocuments(job), beam.pvalue.AsList(written)
    ).with_output_types(tuple[str, str])
    # Where a stage has no output, Beam's own runner waits forever for a worker that was killed.
    done | beam.GroupByKey()
    return pipeline


class CleanRanges(beam.DoFn):
    """First pass over a range: its cleaned rows, and its summary as a side output."""

    def __init__(self, job: PreprocessJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Opens DuckDB, and chooses the pool of Arrow's memory."""
        self._cleaner = Cleaner(self._job.rules)
        pa.set_memory_pool(_thrifty_pool())

    def process(self, span: Range) -> Iterator[Any]:
        """Cleans one range."""
        try:
            if span.error:
                raise span.error.error
            cleaned, total = passes.clean_range(self._job, span, self._cleaner)
        except QuatrainError as error:
            cleaned, total = (
                CleanedRange(span.index),
                Summary(error=(span.index, ErrorRecord.of(error))),
            )
        yield beam.pvalue.TaggedOutput(_SUMMARY, total)
        yield cleaned


def _thrifty_pool() -> pa.MemoryPool:
    """Returns the pool that gives freed memory back to the system soon.

    Arrow's default pool keeps it, which took 40 MB more at the peak of one worker; the system's own
    keeps some for each thread, which took 40 MB more for two workers, and 150 for eight.
    """
    try:
        return pa.jemalloc_memory_pool()
    except NotImplementedError:  # pyarrow is built without it, as on Windows
        return pa.system_memory_pool()


class MergeSummaries(beam.CombineFn):
    """Merges summaries by `+`."""

    def create_accumulator(self) -> RunningSummary:
        """Returns the empty sum."""
        return RunningSummary()

    def add_input(self, accumulator: RunningSummary, element: Summary) -> RunningSummary:
        """Adds one summary."""
        return accumulator.add(element)

    def merge_accumulators(self, accumulators: Iterable[RunningSummary]) -> RunningSummary:
        """Adds up partial sums."""
        return reduce(lambda fold, other: fold.add(other.total), accumulators, RunningSummary())

    def extract_output(self, accumulator: RunningSummary) -> Summary:
        """Returns the sum."""
        return accumulator.total


class EngineerRanges(beam.DoFn):
    """Second pass over a range, with the fitted transform; does nothing after an error."""

    def __init__(self, job: PreprocessJob) -> None:
        self._job = job

    def process(self, cleaned: CleanedRange, fitted: FitResult) -> Iterator[WrittenFiles]:
        """Writes the shards of one range."""
        if fitted.error is None:
            yield passes.engineer_range(self._job, cleaned, fitted)


class WriteDocuments(beam.DoFn):
    """Writes the documents and the pending manifest, or the error."""

    def __init__(self, job: PreprocessJob) -> None:
        self._job = job

    def process(self, fitted: FitResult, written: list[WrittenFiles]) -> Iterator[tuple[str, str]]:
        """Writes the files that the end of the step reads; yields nothing."""
        if fitted.error is None:
            passes.write_documents(self._job, fitted, list(written))
        else:
            self._job.folder.scratch.write(ERROR, json_bytes(asdict(fitted.error)))
        yield from ()
