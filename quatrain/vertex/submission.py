"""Makes a pipeline job from a compiled file and a spec, after every check that needs no job."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quatrain.components.buckets import check_buckets, source_warnings
from quatrain.components.errors import SourceDenied
from quatrain.components.specification.parameter import parameter_of, write_spec
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import tiers
from quatrain.components.times import window_end
from quatrain.components.train.plan import resolve_tier
from quatrain.pipelines.compiled import Compiled, compile_pipeline, read_compiled
from quatrain.pipelines.origin import check_origin
from quatrain.validation.load import load_spec
from quatrain.vertex.checks import engine, run
from quatrain.vertex.checks.price import price
from quatrain.vertex.cloud_file import Cloud, CloudError, load_cloud
from quatrain.vertex.job_names import JOB_ID
from quatrain.vertex.registry import Registry

DIGEST_CHARS = 40
"""Labels hold the first 40 characters of a sha256, which is one character too long for a label."""

_OF_TRAINING = ("tier", "service_account", "network", "encryption_key")
"""The parameters of the training job alone; all steps of a prediction run as its job does."""

PACKAGE = "quatrain-training"
"""The template's name in the registry, which is the pipeline's."""


@dataclass(frozen=True)
class Submission:
    """A job in the form in which it is sent.

    Attributes:
        job_id: The last part of the job's name.
        job: The PipelineJob in the API's JSON form; `pipelineSpec` is the compiled file's content.
        compiled: The compiled file.
    """

    job_id: str
    job: Mapping[str, Any]
    compiled: Compiled


@dataclass(frozen=True)
class JobRequest:
    """A job that the command line describes.

    Attributes:
        spec: The spec's file.
        cloud: The cloud's file.
        set_cloud: Overrides of the cloud.
        overrides: Overrides of the spec.
        tier: Replaces the spec's tier, unless empty.
        runner: Where Beam runs; if empty, where the cloud's settings say.
        runner_options: Beam's options for the runner, in addition to the cloud's.
        pipeline: A compiled file to send as it is.
        trust: Whether to send a file that `quatrain compile` would not write.
        template: The digest of a template to send, unless empty.
        allow_tag: Whether to accept an image that is named by a tag.
        at: The time of the run, at which a window of the source ends; if empty, the job's own.
        predicts: Whether the job predicts by the champion, and does not train.
    """

    spec: Path
    cloud: Path
    set_cloud: Sequence[str] = ()
    overrides: Sequence[str] = ()
    tier: str = ""
    runner: str = ""
    runner_options: Mapping[str, Any] = field(default_factory=dict)
    pipeline: Path | None = None
    trust: bool = False
    template: str = ""
    allow_tag: bool = False
    at: str = ""
    predicts: bool = False


@dataclass(frozen=True)
class CheckedJob:
    """A job that has passed every check and can be sent."""

    cloud: Cloud
    spec: ModelSpec
    tier: tiers.Tier
    compiled: Compiled
    job: Mapping[str, Any]
    warnings: Sequence[str]
    at: datetime.datetime

    def write_spec(self) -> None:
        """Writes the file of a spec that is too long for a parameter, before it is sent.

        Raises:
            SpecError: The file cannot be written.
        """
        write_spec(self.spec, self.cloud.root)

    def with_id(self, job_id: str, *, cached: bool = True) -> Submission:
        """Returns the job with an id; unless `cached`, every step runs again."""
        config = self.job["runtimeConfig"]
        parameters = config["parameterValues"] | ({} if cached else {"cache_key": job_id})
        job = {**self.job, "runtimeConfig": {**config, "parameterValues": parameters}}
        return Submission(job_id, job, self.compiled)


def prepare(request: JobRequest, folder: Path) -> CheckedJob:
    """Builds the job, and checks everything that can be checked before it is sent.

    Args:
        request: The job to make.
        folder: Where a compiled or downloaded file may be put.

    Raises:
        QuatrainError: The spec, the cloud, the tier, the file, a bucket, an image or the price is
            wrong.
    """
    cloud = load_cloud(request.cloud, request.set_cloud, request.allow_tag)
    spec = load_spec(request.spec, request.overrides)
    tier = resolve_tier(spec, request.tier)
    at = window_end(spec.source.window, request.at) or datetime.datetime.now(datetime.UTC)
    template = None
    if request.template:
        if request.pipeline:
            raise CloudError("--pipeline and --template both say what to send; give one")
        if request.predicts:
            raise CloudError("--template names a training pipeline; leave it out, or --predict")
        registry = Registry(cloud)
        template = registry.find(request.template, PACKAGE)
        compiled = read_compiled(registry.download(template, folder / "training.yaml"))
    else:
        compiled = compile_for(
            cloud, request.pipeline, folder, request.trust, predicts=request.predicts
        )
    job = make_job(
        compiled,
        spec,
        cloud,
        tier=request.tier,
        runner=request.runner,
        runner_options=request.runner_options,
        template_uri=template.uri if template else "",
        at=request.at,
    )
    check_buckets([cloud.root], cloud.location, cloud.project)
    options = job["runtimeConfig"]["parameterValues"].get("runner_options", {})
    doubts = run.check_run(spec, cloud, tier, options)
    if cloud.budget_usd is not None and not request.predicts:  # the price is that of a training
        _check_budget(spec, cloud, tier)
    warnings = [
        *doubts,
        *tiers.warnings(tier, kinds=tiers.HARDWARE),
        *source_warnings(spec.source.uri, cloud.location, cloud.project),
    ]
    return CheckedJob(cloud, spec, tier, compiled, job, warnings, at)


def with_data_label(checked: CheckedJob) -> CheckedJob:
    """Returns the job with a label that holds the digest of the files that it will read.

    A schedule has no such label, since its runs read different files. Their find-files step records
    the digest.

    Raises:
        SourceError: The source has no files.
    """
    from quatrain.components.preprocess.find_files import find

    spec = checked.spec.as_json()
    try:
        source_files = find(
            spec, project=checked.cloud.project, at=checked.at.isoformat(), clocks=()
        )
    except SourceDenied as error:
        warning = f"{error}; the job may still be able to read it, but gets no label of its data"
        return replace(checked, warnings=[*checked.warnings, warning])
    labels = {**checked.job["labels"], "data": source_files.digest[:DIGEST_CHARS]}
    return replace(checked, job={**checked.job, "labels": labels})


def compile_for(
    cloud: Cloud,
    pipeline: Path | None,
    folder: Path,
    trust: bool = False,
    predicts: bool = False,
) -> Compiled:
    """Reads the compiled file `pipeline`, or compiles one with the image and retries of a cloud.

    Args:
        cloud: Where the file is to run, and in which images.
        pipeline: The file; None to compile one.
        folder: Where a compiled file is put.
        trust: Whether to take a file that `quatrain compile` would not write.
        predicts: Whether it is the prediction pipeline.

    Raises:
        PipelineError: The file is not that pipeline, or not to be trusted.
        CloudError: The file runs another image.
    """
    path = pipeline or compile_pipeline(
        folder / "training.yaml",
        cloud.image.steps,
        cloud.retries,
        cloud.launcher,
        cloud.step_memory or "",
        str(cloud.step_cpu or ""),
        predicts,
    )
    compiled = read_compiled(path)
    if compiled.predicts != predicts:
        raise CloudError(
            f"{compiled.path.name} predicts, but the job trains; `quatrain predict SPEC "
            f"--pipeline` runs it here, `quatrain submit SPEC --predict` on Vertex AI"
            if compiled.predicts
            else f"{compiled.path.name} trains, but the job predicts; leave out --predict"
        )
    _check_image(compiled, cloud)
    if pipeline and not trust:
        check_origin(compiled, cloud.launcher)
    return compiled


def _check_budget(spec: ModelSpec, cloud: Cloud, tier: tiers.Tier) -> None:
    """Refuses a run that may cost more than the budget, as `doctor` does."""
    finding = price(spec, cloud, tier)
    if finding.severity == "error":
        raise CloudError("; ".join(filter(None, [finding.sentence, finding.fix])))


def make_job(
    compiled: Compiled,
    spec: ModelSpec,
    cloud: Cloud,
    *,
    tier: str = "",
    runner: str = "",
    runner_options: Mapping[str, Any] | None = None,
    template_uri: str = "",
    at: str = "",
) -> dict[str, Any]:
    """Returns the PipelineJob of a spec, which holds the compiled file unchanged.

    Args:
        compiled: The pipeline.
        spec: The model; it travels as the pipeline's parameter.
        cloud: Where the job runs, under which account and in which images.
        tier: Replaces the spec's tier, unless empty.
        runner: Where Beam runs; if empty, where the cloud's settings say.
        runner_options: Beam's options for the runner, in addition to the cloud's.
        template_uri: The file's address in the registry, by its digest.
        at: The time of the run, at which a window of the source ends; if empty, the job's own.

    Raises:
        PipelineError: The pipeline takes other parameters.
        RunnerError: The engine is refused, or one of its options is wrong.
        CloudError: The source is on this machine, the file runs another image, or the cloud has no
            image for the tier.
    """
    _check_source(spec)
    _check_image(compiled, cloud)
    runner = cloud.runner_for(runner)
    parameters: dict[str, Any] = {
        "spec": parameter_of(spec, cloud.root),
        "project": cloud.project,
        "location": cloud.location,
        "root": cloud.root.rstrip("/"),
        "tier": tier,
        "runner": runner,
        "service_account": cloud.service_account,
        **_non_empty(network=cloud.network, encryption_key=cloud.encryption_key, at=at),
    }
    if compiled.predicts:
        parameters = {name: v for name, v in parameters.items() if name not in _OF_TRAINING}
        if cloud.notify and compiled.takes("notices"):
            parameters["notices"] = cloud.notify.addresses
            parameters["notify_success"] = cloud.notify.predicted
        return _as_job(compiled, spec, cloud, runner, runner_options, template_uri, parameters)
    if compiled.takes("template"):
        parameters["template"] = compiled.sha256
    if cloud.notify and compiled.takes("notices"):
        parameters["notices"] = cloud.notify.addresses
    if cloud.experiment and compiled.takes("experiment"):
        parameters["experiment"] = cloud.experiment
    train_image = cloud.train_image(resolve_tier(spec, tier))
    if train_image != cloud.image.steps:
        parameters["train_image"] = train_image
    if cloud.reserved_ip_ranges:
        parameters["reserved_ip_ranges"] = list(cloud.reserved_ip_ranges)
    if cloud.psc_interface:
        parameters["psc_interface"] = {"network_attachment": cloud.psc_interface}
    return _as_job(compiled, spec, cloud, runner, runner_options, template_uri, parameters)


def _as_job(
    compiled: Compiled,
    spec: ModelSpec,
    cloud: Cloud,
    runner: str,
    runner_options: Mapping[str, Any] | None,
    template_uri: str,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """Returns the PipelineJob that runs a compiled file with these parameters."""
    if options := _runner_options(runner, runner_options or {}, spec, cloud):
        parameters["runner_options"] = options
    compiled.check_arguments(parameters)
    job: dict[str, Any] = {
        "displayName": spec.name,
        "pipelineSpec": dict(compiled.spec),
        "labels": labels_of(compiled, spec, cloud),
        "runtimeConfig": {
            "gcsOutputDirectory": cloud.root.rstrip("/"),
            "parameterValues": parameters,
            "failurePolicy": f"PIPELINE_FAILURE_POLICY_FAIL_{cloud.failure_policy.upper()}",
        },
        "serviceAccount": cloud.service_account,
        **_non_empty(network=cloud.network, templateUri=template_uri),
    }
    if cloud.reserved_ip_ranges:
        job["reservedIpRanges"] = list(cloud.reserved_ip_ranges)
    if cloud.psc_interface:
        job["pscInterfaceConfig"] = {"networkAttachment": cloud.psc_interface}
    if cloud.encryption_key:
        job["encryptionSpec"] = {"kmsKeyName": cloud.encryption_key}
    return job


def _runner_options(
    runner: str, requested: Mapping[str, Any], spec: ModelSpec, cloud: Cloud
) -> dict[str, Any]:
    """Returns the options of an engine: the cloud's, and over them the request's.

    Dataflow also gets its account, labels and key from the cloud.

    Raises:
        RunnerError: The engine is refused, or one of its options is wrong.
    """
    defaults = cloud.options_for(runner)
    if runner == "dataflow":
        labels = {**cloud.labels, "quatrain": spec.name, "spec": spec.sha256[:DIGEST_CHARS]}
        own = {
            "service_account_email": cloud.service_account,
            "labels": [f"{name}={value}" for name, value in labels.items()],
            **_non_empty(dataflow_kms_key=cloud.encryption_key),
        }
        defaults = engine.merge(own, defaults)
    options = engine.merge(defaults, requested)
    engine.check(runner, options)
    return options


def labels_of(compiled: Compiled, spec: ModelSpec, cloud: Cloud) -> dict[str, str]:
    """Returns the labels that identify a job: its model, and digests of what it runs."""
    image = cloud.image.steps.partition("@sha256:")[2]
    return {
        **cloud.labels,
        "quatrain": spec.name,
        "spec": spec.sha256[:DIGEST_CHARS],
        "template": compiled.sha256[:DIGEST_CHARS],
        **_non_empty(image=image[:DIGEST_CHARS]),
    }


def new_job_id(name: str) -> str:
    """Returns an id for a job of a model, from the time in UTC and four random digits."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def check_job_id(job_id: str) -> None:
    """Checks an id against Vertex's pattern.

    Raises:
        CloudError: Vertex would refuse it.
    """
    if not JOB_ID.fullmatch(job_id):
        raise CloudError(
            f"--job-id {job_id!r}: write a lower-case letter, then lower-case letters, digits and "
            f"hyphens, 128 in all"
        )


def _non_empty(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _check_source(spec: ModelSpec) -> None:
    """Refuses files on this machine, which Vertex cannot read."""
    for sentence in run.local_inputs(spec):
        raise CloudError(sentence)


def _check_image(compiled: Compiled, cloud: Cloud) -> None:
    image = cloud.image.steps
    other = sorted(compiled.images - {image})
    if other:
        raise CloudError(
            f"{compiled.path.name} runs {other[0]}, but the cloud's image is {image}; "
            f"compile it with `quatrain compile --image {image}`"
        )
    launcher = cloud.launcher_image
    if launcher and (other := sorted(compiled.launcher_images - {launcher})):
        raise CloudError(
            f"{compiled.path.name} runs {other[0]} as launcher, but the cloud's launcher_image is "
            f"{launcher}; compile it with `quatrain compile --launcher-image {launcher}`"
        )
