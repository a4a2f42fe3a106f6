"""The KFP doorways of the prediction pipeline."""

from typing import NamedTuple

from kfp import dsl

from quatrain.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def find_inputs(
    spec: str, project: str, root: str, at: str, scheduled: str, created: str
) -> NamedTuple("PredictionInputs", at=str, digest=str, champion=str, files=int):  # type: ignore[valid-type]
    """Finds the files to predict, and the champion as of now.

    Args:
        spec: The model spec as JSON text, as checked by `quatrain check`, or the uri of its file.
        project: The project of the job.
        root: The folder of all runs, where the champion is recorded.
        at: The time of the job, at which a window of the source ends. If it is empty, the job has
            the time of its schedule, or else that of its creation.
        scheduled: The time for which the schedule planned the job; 1970 without a schedule.
        created: The time at which the job was created.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.prediction.inputs import find

    with in_a_sentence():
        return find(spec, project=project, root=root, at=at, clocks=(scheduled, created))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare_inputs(
    spec: str,
    root: str,
    project: str,
    location: str,
    at: str,
    digest: str,
    champion: str,
    drift: dsl.Output[dsl.Artifact],
) -> None:
    """Compares the rows to predict with those that the champion was trained on.

    The requests in the log that the spec names are compared, too.

    Args:
        spec: The model spec as JSON text, as checked by `quatrain check`, or the uri of its file.
        root: The folder of all runs, with the champion's statistics.
        project: The project of the job.
        location: The region of the job.
        at: The day of the job, on which a window of the source ends.
        digest: The digest of the files that the job found when it began.
        champion: The champion that it found, as JSON text.
        drift: drift.json: how far each input has moved.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.prediction import compare

    with in_a_sentence():
        compare.compare_inputs(
            spec,
            root=root,
            project=project,
            location=location,
            at=at,
            digest=digest,
            champion=champion,
            out=drift.uri,
        )


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def predict(
    spec: str,
    root: str,
    runner: str,
    runner_options: dict,
    project: str,
    location: str,
    at: str,
    digest: str,
    champion: str,
    keep: list,
    image: str,
    gcp_resources: dsl.OutputPath(str),  # type: ignore[valid-type]
) -> str:
    """Answers the rows by the champion, and writes the partition of their day.

    Args:
        spec: The model spec as JSON text, as checked by `quatrain check`, or the uri of its file.
        root: The folder of all runs, below which the predictions are written.
        runner: Where Beam runs: local, prism, portable, dataflow, flink, spark, ...
        runner_options: Beam's options for the runner, by name.
        project: The project of the job.
        location: The region of the job, in which every bucket must be; `local` on a laptop.
        at: The day of the job, on which a window of the source ends.
        digest: The digest of the files that the job found when it began.
        champion: The champion that it found, as JSON text.
        keep: Columns of the input to copy to the left of the answers; by default those of the spec,
            or else the row's keys.
        image: The image that this step runs in, as do its workers on other machines.
        gcp_resources: Links to the job of Dataflow, if there is one.

    Returns:
        The folder of the predictions, by its path or uri.
    """
    from quatrain.components.faults import in_a_sentence
    from quatrain.trainer.importing import uncollected
    from quatrain.trainer.streams import stderr_for_errors

    with in_a_sentence(), stderr_for_errors():
        with uncollected():
            from quatrain.components.prediction import run

        return run.predict(
            spec,
            root=root,
            runner=runner,
            project=project,
            location=location,
            at=at,
            digest=digest,
            champion=champion,
            keep=keep,
            runner_options=runner_options,
            image=image,
            gcp_resources=gcp_resources,
        )
