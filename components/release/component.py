"""The KFP doorway of the release."""

from kfp import dsl

from quatrain.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def release(
    spec: str,
    root: str,
    run: str,
    project: str,
    location: str,
    image: str,
    released: dsl.OutputPath(str),  # type: ignore[valid-type]
) -> None:
    """Releases the model that the gate has promoted, as the spec's section `release` says.

    Args:
        spec: The model spec as JSON text, or the uri of its file.
        root: The folder of all runs, where the champion is recorded.
        run: The name of the run.
        project: The project of the job.
        location: The region of the job.
        image: The image that serves the model, which is that of the steps.
        released: How far the release got, in a sentence. Why an earlier attempt at this task failed
            lies beside it.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.release.run import release_run

    with in_a_sentence():
        release_run(spec, root, run, project, location, image, released)
