"""The KFP doorway of the preprocess step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preprocess(spec: dict, runner: str, examples: dsl.Output[dsl.Dataset]) -> int:
    """Cleans, splits and engineers the rows of a table.

    Args:
        spec: The model spec, as checked by `quatrain check`.
        runner: Where Beam runs: local, dataflow or flink.
        examples: Parquet shards for train, validation and test.

    Returns:
        Rows read.
    """
    from components.preprocess import pipeline

    return pipeline.run(spec, runner=runner, out=examples.uri)
