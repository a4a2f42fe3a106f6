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
) -> NamedTuple(  # type: ignore[valid-type]
    "Plan",
    worker_pool_specs=list,
    base_output_directory=str,
    strategy=str,
    timeout=str,
    restart_job_on_worker_restart=bool,
    max_wait_duration=str,
):
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
        spec,
        planning.Input(package.uri, package.path),
        planning.Input(examples.uri, examples.path),
        model.uri,
        tier=tier,
        image=image,
    )
