"""The KFP doorways of the plan and of the best trial; Google's own components run the jobs."""

from typing import NamedTuple

from kfp import dsl

from quatrain.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def plan(
    spec: str,
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
    trials=int,
    parallel_trials=int,
    failed_trials=int,
    study_metrics=list,
    study_parameters=list,
    tuning_directory=str,
    pools=str,
):
    """Resolves the tier into worker pools and the trainer's command.

    Args:
        spec: The model spec as JSON text, as checked by `quatrain check`, or the uri of its file.
        tier: Replaces the spec's tier, unless empty.
        image: The image that every replica runs.
        examples: Parquet shards for train, validation and test.
        package: The proved trainer package.
        model: The job's base output directory; the SavedModel is in `model/` below it.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.train import plan as planning

    with in_a_sentence():
        return planning.plan(
            spec,
            package.uri,
            examples.uri,
            model.uri,
            tier=tier,
            image=image,
        )


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def choose(gcp_resources: str, pools: str, tuning: dsl.Output[dsl.Artifact]) -> list:
    """Adds the best trial's settings to the final training.

    Args:
        gcp_resources: The finished tuning job, as the job's component writes it.
        pools: The worker pools of the trials as JSON text, which keeps counts whole numbers.
        tuning: tuning.json: the job with all its trials.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.train import best_trial

    with in_a_sentence():
        return best_trial.choose(gcp_resources, pools, tuning.uri)
