"""The preprocess step: checks spec, engine and files, runs the pipeline, finishes the artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quatrain.components.buckets import HERE, check_buckets, source_warnings
from quatrain.components.engine.failures import explain_faults
from quatrain.components.engine.gcp_resources import write_resources
from quatrain.components.engine.names import LOCAL
from quatrain.components.errors import DataError, SpecError
from quatrain.components.image import IMAGE
from quatrain.components.preprocess.checks import split_problems
from quatrain.components.preprocess.cleaning import Rules
from quatrain.components.preprocess.earlier_try import earlier_try
from quatrain.components.preprocess.find_files import list_source
from quatrain.components.preprocess.finish import finish
from quatrain.components.preprocess.job import PreprocessJob, rules_of
from quatrain.components.preprocess.output_folder import Folder, attempt
from quatrain.components.preprocess.sample_run import run_passes
from quatrain.components.preprocess.summary.summary import Summary
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.source import is_table
from quatrain.components.table.files import Files
from quatrain.components.table.range import Range
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.sample_plan import plan_sample
from quatrain.components.table.versions import check_unchanged, find_versions
from quatrain.trainer.importing import uncollected

if TYPE_CHECKING:
    from quatrain.components.engine.launch import Launch


def preprocess(
    spec: str,
    *,
    runner: str,
    out: str,
    project: str = "",
    location: str = HERE,
    at: str = "",
    digest: str = "",
    runner_options: Mapping[str, Any] | None = None,
    range_bytes: int | None = None,
    sample_rows: int = 0,
    image: str = IMAGE,
    gcp_resources: str = "",
) -> int:
    """Cleans, splits and engineers the rows of a table.

    The folder `out` is written in place and counts once its manifest, the last file, is there. Even
    a complete one is written anew, since the source may have changed.

    Args:
        spec: The model spec as it travels: JSON text, or the uri of a file with its digest.
        runner: A name of `runners.ENGINES`, or that of another Beam runner.
        out: The artifact `examples`, a path or gs:// uri.
        project: The job's project.
        location: The job's region, in which every bucket must be; `local` on this machine.
        at: The time of the run, at which a window of the source ends; may be empty without one.
        digest: The digest that `find_files.find` returned; if not empty, the files must still
            have it.
        runner_options: Beam's options for the runner, for example `direct_num_workers`.
        range_bytes: The size of a range; by default about 10 MB.
        sample_rows: About how many rows are read, from even places of the source; 0: all.
        image: The image that this step runs in, as do its workers on other machines.
        gcp_resources: The file through which the page of Vertex AI links to a Dataflow job.

    Returns:
        The number of rows read.

    Raises:
        RunnerError: The engine is refused, has a wrong option, or failed.
        BucketError: A bucket is not regional in the job's region; nothing was read.
        SpecError: A rule is not an expression over one row, or a type does not suit its use.
        SourceError: The source cannot be read as the spec says, or changed during the run.
        DataError: The rows cannot train a model.
        ArtifactError: The folder cannot be written, for example because the disk is full.
    """
    chosen = dict(runner_options or {})
    launch: Launch | None = None
    if sample_rows and runner == LOCAL and not chosen:
        write_resources(gcp_resources)
    else:
        launch = _launch(runner, chosen, project, location, image, gcp_resources)
        launch.check(out)
    check_buckets([out, *_staging(chosen)], location, project)
    key = [spec, runner, at, digest, image, str(sample_rows)]
    with earlier_try(out, key), explain_faults(out):
        model, rules = _read_spec(spec)
        files, versions = list_source(model, at, digest, project)
        planned = _plan(model, files, project, range_bytes, sample_rows)
        ranges = planned.ranges
        found = (*source_warnings(model.source.uri, location, project), files.warning)
        warnings = (*filter(None, found), *planned.warnings)
        for warning in warnings:
            print(f"preprocess: warning: {warning}", flush=True)
        # A BigQuery table is read as it was when its session was opened, so it may change now.
        tables = {uri: version for uri, version in versions.items() if is_table(uri)}
        check_unchanged(tables, find_versions(tables, project))
        n_files = len({r.path for r in ranges})
        print(f"preprocess: files: {n_files:,}, ranges: {len(ranges):,}", flush=True)
        if not ranges:  # a CombineGlobally with a default for no input would cost five steps more
            raise DataError(split_problems.run_problem(model, rules.derived, Summary()))
        if launch is None and model.clean.deduplicate:
            launch = _launch(runner, chosen, project, location, image, gcp_resources)
        with _started(launch, model.name, out, ranges) as (folder, run):
            window = files.as_json() if files.days else None
            job = PreprocessJob(model, rules, folder, len(ranges), window, warnings, planned.sample)
            run(job)
            unpinned = {uri: version for uri, version in versions.items() if uri not in tables}
            check_unchanged(unpinned, find_versions(unpinned, project))
            return finish(folder, versions)


def _launch(*options: Any) -> Launch:
    """Returns the Beam job of this step, by the attributes of `Launch` from `runner` on."""
    with uncollected():
        from quatrain.components.engine.launch import Launch

    return Launch("preprocess", *options)


@contextmanager
def _started(
    launch: Launch | None, name: str, out: str, ranges: list[Range]
) -> Iterator[tuple[Folder, Callable[[PreprocessJob], None]]]:
    """Yields the folder of this attempt, and the function that runs a job over all ranges.

    Args:
        launch: The Beam job; None does the work of few ranges in this process, which saves two
            seconds.
        name: The model's name.
        out: The artifact.
        ranges: The ranges of the source.
    """
    if launch is None:
        with attempt(out, remote=False) as folder:
            yield folder, lambda job: run_passes(job, ranges)
        return
    from quatrain.components.preprocess import pipeline

    with (
        launch.start(name=name, out=out, n_elements=len(ranges)) as (own, options),
        attempt(out, remote=launch.remote) as folder,
    ):
        in_one_worker = launch.in_one_worker(options)

        def run(job: PreprocessJob) -> None:
            steps = pipeline.make(job, ranges, own, options, in_one_worker=in_one_worker)
            launch.run(steps, out)

        yield folder, run


def _read_spec(spec: str) -> tuple[ModelSpec, Rules]:
    """Reads a spec and its cleaning rules, and checks the types of derived columns."""
    model = read_parameter(spec)
    rules = rules_of(model)
    if problems := list(split_problems.spec_problems(model, rules.derived)):
        raise SpecError("\n".join(problems))
    return model, rules


@dataclass(frozen=True)
class _Planned:
    """The ranges to read; of a sample, what the manifest says of it, and its warnings."""

    ranges: list[Range]
    sample: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()


def _plan(
    model: ModelSpec, files: Files, project: str, range_bytes: int | None, sample_rows: int
) -> _Planned:
    """Cuts the files of a source into ranges, or chooses a sample of its rows."""
    source, columns, spellings = model.source, model.columns, model.spellings
    if not sample_rows:
        return _Planned(
            plan_ranges(source, columns, range_bytes, files.listing, spellings, project)
        )
    found = plan_sample(source, columns, sample_rows, files.listing, spellings, project)
    return _Planned(found.ranges, {"rows": sample_rows, "of": found.n_rows}, found.warnings)


def _staging(options: Mapping[str, Any]) -> list[str]:
    """Returns the folders in which a remote runner keeps its own files."""
    return [uri for name in ("temp_location", "staging_location") if (uri := options.get(name))]
