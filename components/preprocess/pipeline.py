"""The preprocess step: one Beam pipeline over ranges of the source.

    Create(ranges) -> Clean -> CombineGlobally(summaries) -> Fit -> Engineer -> Commit

An element is a range, never a row: `shards` does the work of a range on Arrow batches. What is
wrong with the data travels as data (a worker's exception would be retried and wrapped) and is
raised once, by `run`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from components.artifacts import commit, write_json
from components.buckets import HERE, check_buckets, source_warnings
from components.errors import DataError, QuatrainError, SourceError, SpecError
from components.preprocess import contents, judging, shards
from components.preprocess.cleaning import Cleaner, Rules
from components.preprocess.duplicates import LeaveOutDuplicates
from components.preprocess.shards import Fitted, Job, Written
from components.preprocess.sources import Range, find_files, plan_ranges
from components.preprocess.summary import Summary
from components.preprocess.windows import run_time
from components.spec.reading import read_parameter
from components.spec.schema import is_table

RUNNERS = {
    # By name: Beam's DirectRunner first tries to download another runner.
    "local": "apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "dataflow": "DataflowRunner",
    "flink": "FlinkRunner",
}
PROBLEM = "problem.json"
_SUMMARY = "summary"


def run(
    spec: Mapping[str, Any],
    *,
    runner: str,
    out: str,
    project: str = "",
    location: str = HERE,
    at: str = "",
    digest: str = "",
    runner_options: Mapping[str, Any] | None = None,
    range_bytes: int | None = None,
) -> int:
    """Cleans, splits and engineers the rows of a table.

    The folder `out` appears complete, by a rename, or not at all. It is made anew even when it is
    there: the source may have changed.

    Args:
        spec: The model's spec, as `ModelSpec.as_parameter` gives it.
        runner: local, dataflow, flink or the name of another Beam runner.
        out: The folder of the artifact `examples`; `gs://` is reached through its mount.
        project: The job's project.
        location: The job's region, where every bucket must be; `local` on this machine.
        at: The time of the run, where a window of the source ends; may be empty without one.
        digest: What `finding.find` said of the files; they must still be those, if it is given.
        runner_options: Further Beam options, as `direct_num_workers`.
        range_bytes: Size of a range; by default about 8 MB.

    Returns:
        How many rows were read.

    Raises:
        BucketError: A bucket is not regional in the job's region; nothing was read.
        SpecError: A rule is not an expression over one row, or a type does not suit its use.
        SourceError: The source cannot be read as the spec says, or changed meanwhile.
        DataError: The rows cannot train a model.
    """
    model = read_parameter(spec)
    rules = Rules.of(model)
    if problems := list(judging.spec_problems(model, rules.derived)):
        raise SpecError("\n".join(problems))
    check_buckets([out, *_staging(runner_options)], location, project)
    files = find_files(model.source, run_time(at) if model.source.window else None)
    before = contents.versions((path for path, _ in files.found), project)
    if digest and contents.digest(before) != digest:
        raise SourceError(
            "the files of the source are not those that the run found when it began: one was "
            "written, added or removed since; run again"
        )
    for warning in (*source_warnings(model.source.uri, location, project), files.warning):
        if warning:
            print(f"preprocess: warning: {warning}", flush=True)
    ranges = plan_ranges(
        model.source, model.columns, range_bytes, files.found, model.spellings, project
    )
    # A table is read as it was when its session was opened: it may change from here on.
    tables = {uri: version for uri, version in before.items() if is_table(uri)}
    contents.check_unchanged(tables, contents.versions(tables, project))
    files_before = {uri: version for uri, version in before.items() if uri not in tables}
    n_files = len({r.path for r in ranges})
    print(f"preprocess: files: {n_files:,}, ranges: {len(ranges):,}", flush=True)
    with commit(out.replace("gs://", "/gcs/", 1)) as folder:
        window = files.as_json() if files.days else None
        job = Job(model, rules, str(folder), len(ranges), window)
        options = PipelineOptions(
            [],
            runner=RUNNERS.get(runner, runner),
            save_main_session=False,
            **(runner_options or {}),
        )
        with beam.Pipeline(options=options) as pipeline:
            build(pipeline, job, ranges, in_one_worker=_n_workers(runner, runner_options) == 1)
        contents.check_unchanged(files_before, contents.versions(files_before, project))
        shutil.rmtree(folder / shards.SPILL, ignore_errors=True)
        return _finish(folder)


def build(pipeline: beam.Pipeline, job: Job, ranges: list[Range], *, in_one_worker: bool) -> None:
    """Adds the steps to a Beam pipeline; seven, as each costs about 0.05 CPU-s.

    Duplicates cost steps of their own, and a second reading, where the spec asks for it.
    """
    spans = pipeline | "Ranges" >> beam.Create(ranges, reshuffle=not in_one_worker)
    if job.spec.clean.deduplicate:
        spans = spans | "Deduplicate" >> LeaveOutDuplicates(job)
    cleaned = spans | "Clean" >> beam.ParDo(Clean(job)).with_outputs(_SUMMARY, main="range")
    cleaned.range.element_type = int
    cleaned[_SUMMARY].element_type = Summary
    fitted = (
        cleaned[_SUMMARY]
        | "Summarize" >> beam.CombineGlobally(SumSummaries())
        | "Fit" >> beam.Map(fit_transform, job).with_output_types(Fitted)
    )
    written = cleaned.range | "Engineer" >> beam.ParDo(
        Engineer(job), beam.pvalue.AsSingleton(fitted)
    ).with_output_types(Written)
    fitted | "Commit" >> beam.ParDo(Commit(job), beam.pvalue.AsList(written))


class Clean(beam.DoFn):
    """First pass over a range; gives its index, and its summary on the side."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def setup(self) -> None:
        """Opens DuckDB, and takes the memory pool that gives memory back (40 MB less, measured)."""
        self._cleaner = Cleaner(self._job.rules)
        pa.set_memory_pool(pa.system_memory_pool())

    def process(self, span: Range) -> Iterator[Any]:
        """Cleans one range."""
        try:
            if span.problem:
                raise QuatrainError(span.problem)
            total = shards.clean_range(self._job, span, self._cleaner)
        except QuatrainError as error:
            total = Summary(problem=(span.index, str(error)))
        yield beam.pvalue.TaggedOutput(_SUMMARY, total)
        yield span.index


class SumSummaries(beam.CombineFn):
    """Lifts the zero and `+` of `Summary`."""

    def create_accumulator(self) -> Summary:
        """The zero."""
        return Summary()

    def add_input(self, accumulator: Summary, element: Summary) -> Summary:
        """`+`."""
        return accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Summary]) -> Summary:
        """`+` of all."""
        return sum(accumulators, Summary())

    def extract_output(self, accumulator: Summary) -> Summary:
        """The sum itself."""
        return accumulator


def fit_transform(total: Summary, job: Job) -> Fitted:
    """Fits the transform and says how far the step is."""
    kept = total.read - total.rejected
    print(
        f"preprocess: {total.read:,} rows read, {kept:,} kept, {total.rejected:,} rejected",
        flush=True,
    )
    return shards.fit(job, total)


class Engineer(beam.DoFn):
    """Second pass over a range, once the transform is known; nothing when there is a problem."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, index: int, fitted: Fitted) -> Iterator[Written]:
        """Writes the shards of one range."""
        if fitted.problem is None:
            yield shards.engineer_range(self._job, index, fitted)


class Commit(beam.DoFn):
    """Writes the documents, the manifest last; or the problem."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, fitted: Fitted, written: list[Written]) -> None:
        """Ends the artifact."""
        if fitted.problem is None:
            shards.write_documents(self._job, fitted, list(written))
        else:
            write_json(Path(self._job.folder, PROBLEM), {"problem": fitted.problem})


def _staging(options: Mapping[str, Any] | None) -> list[str]:
    """Returns where a remote runner keeps its own files."""
    given = (options or {}).get
    return [uri for name in ("temp_location", "staging_location") if (uri := given(name))]


def _n_workers(runner: str, options: Mapping[str, Any] | None) -> int | None:
    return int((options or {}).get("direct_num_workers", 1)) if runner == "local" else None


def _finish(folder: Path) -> int:
    """Raises the problem that stopped the run, or returns the rows read."""
    problem = folder / PROBLEM
    if problem.exists():
        raise DataError(json.loads(problem.read_text(encoding="utf-8"))["problem"])
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    print(f"preprocess: files written: {len(manifest['files']):,}", flush=True)
    return int(manifest["rows"]["read"])
