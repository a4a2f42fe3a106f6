"""The KFP doorway of the package step."""

from kfp import dsl

from quatrain.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def package(
    spec: str,
    root: str,
    run: str,
    created: str,
    cache_key: str,
    examples: dsl.Input[dsl.Dataset],
    package: dsl.Output[dsl.Artifact],
) -> str:
    """Builds the trainer's sdist, proves it and publishes it under its digest.

    The package of a quick run is not proved.

    Args:
        spec: The model spec as JSON text, or the uri of its file. Its `train.trainer` may name
            another trainer, and its `train.model` is the kind of model that the proof trains.
        root: The folder of all runs, where proofs are recorded; if empty, they are not.
        run: The name of the run.
        created: When the run was created.
        cache_key: The run's own key of the cache; if empty, a proof that an earlier run has
            recorded is taken.
        examples: Engineered rows; a handful of them trains the proof.
        package: The sdist and package.json with the checks it passed.

    Returns:
        The sha256 of the package.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.folder import read_manifest
        from quatrain.components.package import publishing
        from quatrain.components.quick_run import is_quick
        from quatrain.components.specification.parameter import read_parameter

    with in_a_sentence():
        train = read_parameter(spec).train
        quick = is_quick(read_manifest(examples.uri, "manifest.json", "preprocess"))
        return publishing.publish(
            examples.uri,
            package.uri,
            train.trainer or "",
            train.settings.model,
            root=root,
            run=run,
            created=created,
            cached=not cache_key,
            proves=not quick,
        )
