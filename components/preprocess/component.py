"""The KFP doorways of the preprocess step."""

from typing import NamedTuple

from kfp import dsl

from quatrain.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def find_files(
    spec: str,
    project: str,
    at: str,
    scheduled: str,
    created: str,
    root: str,
    cache_key: str,
) -> NamedTuple("SourceVersion", at=str, digest=str, cache_key=str, files=int, spec=str):  # type: ignore[valid-type]
    """Finds the files of a run, a digest that stays the same while they do, and what to preprocess.

    Args:
        spec: The model spec as JSON text, as checked by `quatrain check`, or the uri of its file.
        project: The project of the job.
        at: The time of the run, at which a window of the source ends. If it is empty, the run has
            the time of its schedule, or else that of its creation.
        scheduled: The time for which the schedule planned the run; 1970 without a schedule.
        created: The time at which the run was created.
        root: The folder of all runs, with a note of examples that were deleted.
        cache_key: The run's own key of the cache; if empty, it follows from that note.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.preprocess.find_files import find

    with in_a_sentence():
        return find(
            spec,
            project=project,
            at=at,
            clocks=(scheduled, created),
            root=root,
            cache_key=cache_key,
        )


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preprocess(
    spec: str,
    runner: str,
    project: str,
    location: str,
    at: str,
    digest: str,
    cache_key: str,
    sample_rows: int,
    runner_options: dict,
    image: str,
    examples: dsl.Output[dsl.Dataset],
    gcp_resources: dsl.OutputPath(str),  # type: ignore[valid-type]
) -> int:
    """Cleans, splits and engineers the rows of a table.

    Args:
        spec: The part of the model spec that the step reads, as JSON text or the uri of its file.
        runner: Where Beam runs: local, prism, portable, dataflow, flink, spark, ...
        project: The project of the job.
        location: The region of the job, in which every bucket must be; `local` on a laptop.
        at: The day of the run, on which a window of the source ends; empty without a window.
        digest: The digest of the files that the run found when it began.
        cache_key: Changes nothing, except that a new value keeps the step from being cached.
        sample_rows: About how many rows are read, from even places of the source; 0: all.
        runner_options: Beam's options for the runner, by name.
        image: The image that this step runs in, as do its workers on other machines.
        examples: Parquet shards for train, validation and test.
        gcp_resources: Links to the job of Dataflow, if there is one.

    Returns:
        The number of rows read.
    """
    from quatrain.components.faults import in_a_sentence
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.preprocess import run

    with in_a_sentence():
        return run.preprocess(
            spec,
            runner=runner,
            out=examples.uri,
            project=project,
            location=location,
            at=at,
            digest=digest,
            sample_rows=sample_rows,
            runner_options=runner_options,
            image=image,
            gcp_resources=gcp_resources,
        )
