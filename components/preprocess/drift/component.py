"""The KFP doorway of the comparison with earlier runs."""

from kfp import dsl

from quatrain.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare(
    spec: str,
    root: str,
    project: str,
    location: str,
    at: str,
    scheduled: str,
    created: str,
    examples: dsl.Input[dsl.Dataset],
    drift: dsl.Output[dsl.Artifact],
) -> None:
    """Compares the rows with those of the last successful run, and of the champion.

    The requests in the log that the spec names are compared with the champion's rows, too.

    Args:
        spec: The model spec as JSON text, as checked by `quatrain check`, or the uri of its file.
        root: The folder of all runs; if empty, there is nothing to compare with.
        project: The project of the job.
        location: The region of the job.
        at: The time of the run, up to which requests are read. If it is empty, the run has the time
            of its schedule, or else that of its creation.
        scheduled: The time for which the schedule planned the run; 1970 without a schedule.
        created: The time at which the run was created.
        examples: Parquet shards, with their statistics.
        drift: drift.json: how far each column has moved.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.preprocess.drift.check import check_drift

    with in_a_sentence():
        check_drift(
            spec,
            examples.uri,
            root,
            drift.uri,
            project=project,
            location=location,
            at=at,
            clocks=(scheduled, created),
        )
