"""The KFP doorway of the comparison with earlier runs."""

from kfp import dsl

from quatrain.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare(
    spec: str, root: str, examples: dsl.Input[dsl.Dataset], drift: dsl.Output[dsl.Artifact]
) -> None:
    """Compares the rows with those of the last successful run, and of the champion.

    Args:
        spec: The model spec as JSON text, as checked by `quatrain check`, or the uri of its file.
        root: The folder of all runs; if empty, there is nothing to compare with.
        examples: Parquet shards, with their statistics.
        drift: drift.json: how far each column has moved.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.preprocess.drift.compare import check_drift

    with in_a_sentence():
        check_drift(spec, examples.uri, root, drift.uri)
