"""Preprocesses ranges in this process, without Beam, whose import and start take two seconds."""

from __future__ import annotations

from collections.abc import Sequence

from quatrain.components.errors import DataError
from quatrain.components.preprocess import passes
from quatrain.components.preprocess.checks import split_problems
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.finish import finish
from quatrain.components.preprocess.job import PreprocessJob, rules_of
from quatrain.components.preprocess.output_folder import attempt
from quatrain.components.preprocess.summary.summary import RunningSummary, Summary
from quatrain.components.quick_run import ROWS
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.table.range import Range
from quatrain.components.table.sample_plan import plan_sample


def preprocess_sample(spec: ModelSpec, files: Sequence[tuple[str, int]], out: str) -> int:
    """Writes the examples of the rows that a quick run reads; duplicates stay.

    Args:
        spec: The model's spec.
        files: The listing of `find_files`.
        out: The artifact `examples`, a path.

    Returns:
        The number of rows read.

    Raises:
        SourceError: The source cannot be read as the spec says.
        DataError: The rows of the sample cannot train a model.
    """
    found = plan_sample(spec.source, spec.columns, ROWS, files, spec.spellings)
    rules = rules_of(spec)
    if not found.ranges:
        raise DataError(split_problems.run_problem(spec, rules.derived, Summary()))
    with attempt(out, remote=False) as folder:
        sample = {"rows": ROWS, "of": found.n_rows}
        job = PreprocessJob(spec, rules, folder, len(found.ranges), sample=sample)
        run_passes(job, found.ranges)
        return finish(folder)


def run_passes(job: PreprocessJob, ranges: Sequence[Range]) -> None:
    """Does what the pipeline does, without removing duplicates, and writes the same files.

    Args:
        job: The run.
        ranges: The ranges of the source.

    Raises:
        SourceError: A range cannot be read as the spec says.
        DataError: The rows cannot train a model.
    """
    cleaner, running = Cleaner(job.rules), RunningSummary()
    cleaned = []
    for span in ranges:
        if span.error:
            raise span.error.error
        of_range, total = passes.clean_range(job, span, cleaner)
        cleaned.append(of_range)
        running.add(total)
    fitted = passes.fit_transform(running.total, job)
    if fitted.error:
        raise fitted.error.error
    written = [passes.engineer_range(job, of_range, fitted) for of_range in cleaned]
    passes.write_documents(job, fitted, written)
