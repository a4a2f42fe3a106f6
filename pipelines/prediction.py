"""The prediction pipeline: the window's files are found, compared and answered; wiring only."""

from typing import Any

from kfp import dsl

from quatrain.components.image import IMAGE
from quatrain.components.notify.component import notify
from quatrain.components.prediction.component import compare_inputs, find_inputs, predict
from quatrain.pipelines.executor import replaced_command

NAME = "quatrain-prediction"
BACKOFF, BACKOFF_FACTOR = "60s", 2.0
"""The wait before the first retry, and by what it grows, as in the training pipeline."""


def make_pipeline(image: str = IMAGE, retries: int = 0, memory: str = "", cpu: str = "") -> Any:
    """Returns the pipeline, whose components all run the same image.

    Nothing is cached, since the champion may be another one for the same files.

    Args:
        image: The image of every component.
        retries: How often a failed component is repeated, the first time after a minute. The
            comparison is not, since its result would be the same.
        memory: What a step may use, such as 32G; if empty, what the service gives.
        cpu: How many CPUs it may use, such as 8; if empty, what the service gives.
    """

    def configure(task: dsl.PipelineTask, *, repeatable: bool = True) -> dsl.PipelineTask:
        task.set_container_image(image).set_caching_options(False)
        task.container_spec.command = replaced_command(task.container_spec.command)
        if memory:
            task.set_memory_limit(memory)
        if cpu:
            task.set_cpu_limit(cpu)
        if retries and repeatable:
            task.set_retry(retries, BACKOFF, BACKOFF_FACTOR)
        return task

    @dsl.pipeline(
        name=NAME,
        description="Answers the rows of a window by the champion: find, compare, predict.",
    )
    def prediction(
        spec: str,
        project: str,
        location: str,
        root: str,
        runner: str = "local",
        runner_options: dict = {},  # noqa: B006 - compiled, never called with it
        at: str = "",
        keep: list = [],  # noqa: B006 - compiled, never called with it
        notices: dict = {},  # noqa: B006 - compiled, never called with it
        notify_success: bool = False,
    ) -> None:
        ended = notify(
            spec=spec,
            root=root,
            run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            addresses=notices,
            project=project,
            location=location,
            predicts=True,
            notify_success=notify_success,
        )
        configure(ended, repeatable=False)
        with dsl.ExitHandler(ended, name="run"):
            inputs = configure(
                find_inputs(
                    spec=spec,
                    project=project,
                    root=root,
                    at=at,
                    scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
                    created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
                )
            ).outputs
            found = {key: inputs[key] for key in ("at", "digest", "champion")}
            compared = compare_inputs(
                spec=spec, root=root, project=project, location=location, **found
            )
            configure(compared, repeatable=False)
            answered = predict(
                spec=spec,
                root=root,
                runner=runner,
                runner_options=runner_options,
                project=project,
                location=location,
                keep=keep,
                image=image,
                **found,
            )
            configure(answered).after(compared)

    return prediction
