"""The KFP doorway of the plan; the job itself is CustomTrainingJobOp."""

from typing import NamedTuple

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def plan(
    spec: dict,
    tier: str,
    image: str,
    examples: dsl.Input[dsl.Dataset],
    package: dsl.Input[dsl.Artifact],
    model: dsl.Output[dsl.Model],
) -> NamedTuple("Plan", worker_pool_specs=list, base_output_directory=str):  # type: ignore[valid-type]
    """Resolves the tier into worker pools and the trainer's command.

    Args:
        spec: The model spec, as checked by `quatrain check`.
        tier: Takes the place of the spec's tier, unless empty.
        image: The image that every replica runs.
        examples: Parquet shards for train, validation and test.
        package: The proved trainer package.
        model: The job's base output directory; the SavedModel is in `model/` below it.
    """
    from components.train import plan as planning

    return planning.plan(
        spec, package.uri, package.path, examples.uri, model.uri, tier=tier, image=image
    )
