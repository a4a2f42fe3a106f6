"""The training pipeline: four steps and the release, wiring only."""

from collections.abc import Callable
from typing import Any, NamedTuple

from kfp import dsl

from quatrain.components.evaluate.component import gate, measure
from quatrain.components.image import IMAGE, LAUNCHER_IMAGE
from quatrain.components.notify.component import notify
from quatrain.components.package.component import package
from quatrain.components.preprocess.component import find_files, preprocess
from quatrain.components.preprocess.drift.component import compare
from quatrain.components.release.component import release
from quatrain.components.train.component import choose, plan
from quatrain.pipelines.executor import replaced_command
from quatrain.pipelines.operators import CustomTrainingJobOp, HyperparameterTuningJobRunOp

NAME = "quatrain-training"
BACKOFF, BACKOFF_FACTOR = "60s", 2.0
"""The wait before the first retry, and by what it grows. A service that is busy (429, 503) is so
for longer than the no time at all that KFP would wait."""


class Prepared(NamedTuple):
    """The outputs of the preprocess step."""

    examples: dsl.Dataset
    drift: dsl.Artifact
    files: int
    digest: str


Configure = Callable[..., dsl.PipelineTask]
"""Sets the image, command, retries and caching of a task that runs our code; returns the task."""


def make_pipeline(
    image: str = IMAGE,
    retries: int = 0,
    launcher_image: str = LAUNCHER_IMAGE,
    memory: str = "",
    cpu: str = "",
) -> Any:
    """Returns the pipeline, whose components all run the same image.

    Training replicas run it too, unless the run's `train_image` names one for their accelerators.

    Only preprocess is cached, by the digest of the files that it reads, since the rows behind an
    unchanged uri may be new. Training is not cached, since two jobs would write into one folder.

    Args:
        image: The image of every component, and of the training replicas by default.
        retries: How often a failed component is repeated, the first time after a minute. The
            comparison and the gate are not, since their result would be the same. A launcher is:
            a second one finds the job of the first in `gcp_resources`, and polls it again.
        launcher_image: The image of the launchers.
        memory: What a step of ours may use, such as 32G; if empty, what the service gives.
        cpu: How many CPUs it may use, such as 8; if empty, what the service gives.
    """

    def repeat(task: dsl.PipelineTask) -> dsl.PipelineTask:
        return task.set_retry(retries, BACKOFF, BACKOFF_FACTOR) if retries else task

    def launch(task: dsl.PipelineTask) -> dsl.PipelineTask:
        return repeat(task.set_container_image(launcher_image)).set_caching_options(False)

    def configure(
        task: dsl.PipelineTask, *, repeatable: bool = True, cached: bool = False
    ) -> dsl.PipelineTask:
        task.set_container_image(image).set_caching_options(cached)
        task.container_spec.command = replaced_command(task.container_spec.command)
        if memory:
            task.set_memory_limit(memory)
        if cpu:
            task.set_cpu_limit(cpu)
        return repeat(task) if repeatable else task

    prepare, train, evaluate, give_out = (
        _prepare(configure, image),
        _train(configure, launch),
        _evaluate(configure, image),
        _release(configure, image),
    )

    @dsl.pipeline(
        name=NAME,
        description="Turns a table into an evaluated model: preprocess, package, train, evaluate.",
    )
    def training(
        spec: str,
        project: str,
        location: str,
        root: str = "",
        tier: str = "",
        runner: str = "local",
        runner_options: dict = {},  # noqa: B006 - compiled, never called with it
        service_account: str = "",
        network: str = "",
        reserved_ip_ranges: list = [],  # noqa: B006 - compiled, never called with it
        psc_interface: dict = {},  # noqa: B006 - compiled, never called with it
        encryption_key: str = "",
        at: str = "",
        cache_key: str = "",
        sample_rows: int = 0,
        train_image: str = image,
        template: str = "",
        notices: dict = {},  # noqa: B006 - compiled, never called with it
        experiment: str = "",
    ) -> None:
        ended = notify(
            spec=spec,
            root=root,
            run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            addresses=notices,
            project=project,
            location=location,
            experiment=experiment,
        )
        configure(ended, repeatable=False)
        with dsl.ExitHandler(ended, name="run"):
            prepared = prepare(
                spec=spec,
                root=root,
                runner=runner,
                runner_options=runner_options,
                project=project,
                location=location,
                at=at,
                cache_key=cache_key,
                sample_rows=sample_rows,
            )
            prepared.set_caching_options(False)  # the digest of its files is not known yet
            examples = prepared.outputs["examples"]
            proved = configure(
                package(
                    spec=spec,
                    root=root,
                    run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
                    created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
                    cache_key=cache_key,
                    examples=examples,
                )
            )
            trained = train(
                spec=spec,
                tier=tier,
                image=train_image,
                project=project,
                location=location,
                service_account=service_account,
                network=network,
                reserved_ip_ranges=reserved_ip_ranges,
                psc_interface=psc_interface,
                encryption_key=encryption_key,
                examples=examples,
                package=proved.outputs["package"],
            )
            trained.set_caching_options(False)
            evaluated = evaluate(
                spec=spec,
                root=root,
                cache_key=cache_key,
                template=template,
                files=prepared.outputs["files"],
                digest=prepared.outputs["digest"],
                runner=runner,
                runner_options=runner_options,
                project=project,
                location=location,
                train_image=train_image,
                examples=examples,
                drift=prepared.outputs["drift"],
                model=trained.output,
            )
            evaluated.set_caching_options(False)
            released = give_out(
                spec=spec,
                root=root,
                project=project,
                location=location,
                decision=evaluated.output,
            )
            released.set_caching_options(False)

    return training


def _prepare(configure: Configure, image: str) -> Any:
    """Returns the sub-pipeline that finds the files, preprocesses them and compares the rows."""

    @dsl.pipeline(name="preprocess")
    def prepare(
        spec: str,
        root: str,
        runner: str,
        runner_options: dict,
        project: str,
        location: str,
        at: str,
        cache_key: str,
        sample_rows: int,
    ) -> Prepared:
        files = configure(
            find_files(
                spec=spec,
                project=project,
                at=at,
                scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
                created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
                root=root,
                cache_key=cache_key,
            )
        )
        prepared = preprocess(
            spec=files.outputs["spec"],
            runner=runner,
            project=project,
            location=location,
            at=files.outputs["at"],
            digest=files.outputs["digest"],
            cache_key=files.outputs["cache_key"],
            sample_rows=sample_rows,
            runner_options=runner_options,
            image=image,
        )
        examples = configure(prepared, cached=True).outputs["examples"]
        compared = compare(
            spec=spec,
            root=root,
            project=project,
            location=location,
            at=at,
            scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
            created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
            examples=examples,
        )
        comparison = configure(compared, repeatable=False)
        return Prepared(
            examples=examples,
            drift=comparison.outputs["drift"],
            files=files.outputs["files"],
            digest=files.outputs["digest"],
        )

    return prepare


def _train(configure: Configure, launch: Configure) -> Any:
    """Returns the sub-pipeline that plans the job, tunes it if the spec says so, and runs it."""

    @dsl.pipeline(name="train")
    def train(
        spec: str,
        tier: str,
        image: str,
        project: str,
        location: str,
        service_account: str,
        network: str,
        reserved_ip_ranges: list,
        psc_interface: dict,
        encryption_key: str,
        examples: dsl.Input[dsl.Dataset],
        package: dsl.Input[dsl.Artifact],
    ) -> dsl.Model:
        planned = configure(
            plan(spec=spec, tier=tier, image=image, examples=examples, package=package)
        )
        out = planned.outputs

        where = {
            "display_name": dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            "project": project,
            "location": location,
            "service_account": service_account,
            "network": network,
            "encryption_spec_key_name": encryption_key,
        }

        def job(pools: Any) -> None:
            # Pools come from an upstream output: inline lists with run-time values stay unresolved.
            task = CustomTrainingJobOp(
                **where,
                worker_pool_specs=pools,
                base_output_directory=out["base_output_directory"],
                strategy=out["strategy"],
                timeout=out["timeout"],
                restart_job_on_worker_restart=out["restart_job_on_worker_restart"],
                max_wait_duration=out["max_wait_duration"],
                reserved_ip_ranges=reserved_ip_ranges,
                psc_interface_config=psc_interface,
                persistent_resource_id="",
            )
            launch(task)

        with dsl.If(out["trials"] > 0):
            study = HyperparameterTuningJobRunOp(
                **where,
                base_output_directory=out["tuning_directory"],
                worker_pool_specs=out["worker_pool_specs"],
                study_spec_metrics=out["study_metrics"],
                study_spec_parameters=out["study_parameters"],
                max_trial_count=out["trials"],
                parallel_trial_count=out["parallel_trials"],
                max_failed_trial_count=out["failed_trials"],
            )
            launch(study)
            best = choose(
                gcp_resources=study.outputs["gcp_resources"],
                pools=out["pools"],
            )
            job(configure(best).outputs["Output"])
        with dsl.Else():
            job(out["worker_pool_specs"])
        return out["model"]

    return train


def _evaluate(configure: Configure, image: str) -> Any:
    """Returns the sub-pipeline that measures the model, then lets the gate decide."""

    @dsl.pipeline(name="evaluate")
    def evaluate(
        spec: str,
        root: str,
        cache_key: str,
        template: str,
        files: int,
        digest: str,
        runner: str,
        runner_options: dict,
        project: str,
        location: str,
        train_image: str,
        examples: dsl.Input[dsl.Dataset],
        drift: dsl.Input[dsl.Artifact],
        model: dsl.Input[dsl.Model],
    ) -> str:
        measured = configure(
            measure(
                spec=spec,
                root=root,
                run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
                created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
                cache_key=cache_key,
                template=template,
                files=files,
                digest=digest,
                runner=runner,
                runner_options=runner_options,
                project=project,
                location=location,
                image=image,
                train_image=train_image,
                examples=examples,
                drift=drift,
                model=model,
            )
        )
        decision = gate(
            spec=spec,
            root=root,
            run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
            examples=examples,
            evaluation=measured.outputs["evaluation"],
            model=model,
        )
        return configure(decision, repeatable=False).output

    return evaluate


def _release(configure: Configure, image: str) -> Any:
    """Returns the sub-pipeline that releases the model, if the gate and the spec say so.

    It is apart from `evaluate`, so that a release that fails leaves that step's verdict green. A
    condition that is false starts no machine.
    """

    @dsl.pipeline(name="release")
    def give_out(spec: str, root: str, project: str, location: str, decision: str) -> None:
        with dsl.If(decision == "release"):
            task = release(
                spec=spec,
                root=root,
                run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
                project=project,
                location=location,
                image=image,
            )
            configure(task)

    return give_out
