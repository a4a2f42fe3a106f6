"""Makes a pipeline job of a compiled file and a spec, after every check that needs no job."""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quatrain.components.buckets import check_buckets, source_warnings
from quatrain.components.errors import SourceDenied
from quatrain.components.specification.parameter import parameter_of, write_spec
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import tiers
from quatrain.components.times import window_end
from quatrain.components.train.plan import resolve_tier
from quatrain.pipelines.compiled import Compiled, read_compiled
from quatrain.validation.load import load_spec
from quatrain.vertex import beam_checks
from quatrain.vertex.cloud_file import Cloud, CloudError, load_cloud
from quatrain.vertex.price import price
from quatrain.vertex.registry import Registry

if TYPE_CHECKING:
    pass

JOB_ID = re.compile(r"[a-z][a-z0-9-]{0,127}")
"""As google-cloud-aiplatform checks it (pipeline_constants._VALID_NAME_PATTERN)."""
DIGEST_CHARS = 40
"""A label holds 63 characters, a sha256 has 64: labels carry its first 40, as `git` does."""

PACKAGE = "quatrain-training"
"""The template's name in the registry: the pipeline's."""


@dataclass(frozen=True)
class Submission:
    """A job as it is sent.

    Attributes:
        job_id: The last part of its name.
        job: The PipelineJob in the API's JSON form; `pipelineSpec` is the compiled file's content.
        compiled: The file.
    """

    job_id: str
    job: Mapping[str, Any]
    compiled: Compiled


@dataclass(frozen=True)
class Request:
    """What is to be run, as the command line says it.

    Attributes:
        spec: The spec's file.
        cloud: The cloud's file.
        set_cloud: Overrides of the cloud.
        overrides: Overrides of the spec.
        tier: Takes the place of the spec's tier, unless empty.
        runner: Where Beam runs.
        runner_options: Beam's options of the runner, beside those of the cloud.
        pipeline: A compiled file to send as it is.
        template: The digest of a template to send, unless empty.
        allow_tag: Accepts an image that is named by a tag.
        at: The time of the run, where a window of the source ends; if empty, the job's own.
    """

    spec: Path
    cloud: Path
    set_cloud: Sequence[str] = ()
    overrides: Sequence[str] = ()
    tier: str = ""
    runner: str = "local"
    runner_options: Mapping[str, Any] = field(default_factory=dict)
    pipeline: Path | None = None
    template: str = ""
    allow_tag: bool = False
    at: str = ""


@dataclass(frozen=True)
class Ready:
    """What passed every check and can be sent."""

    cloud: Cloud
    spec: ModelSpec
    compiled: Compiled
    job: Mapping[str, Any]
    warnings: Sequence[str]
    at: datetime.datetime

    def write_spec(self) -> None:
        """Writes the file of a spec that is too long for a parameter, before it is sent.

        Raises:
            SpecError: It cannot be written.
        """
        write_spec(self.spec, self.cloud.root)

    def named(self, job_id: str, *, anew: bool = False) -> Submission:
        """Returns the job under an id; `anew` takes no step of it from the cache."""
        config = self.job["runtimeConfig"]
        parameters = config["parameterValues"] | ({"cache_key": job_id} if anew else {})
        job = {**self.job, "runtimeConfig": {**config, "parameterValues": parameters}}
        return Submission(job_id, job, self.compiled)


def prepare(request: Request, folder: Path) -> Ready:
    """Checks all that can be checked before anything is sent, and makes the job.

    Args:
        request: What is to be run.
        folder: Where a compiled or fetched file may be put.

    Raises:
        QuatrainError: The spec, the cloud, the tier, the file, a bucket or the price is wrong.
    """
    cloud = load_cloud(request.cloud, request.set_cloud, request.allow_tag)
    spec = load_spec(request.spec, request.overrides)
    tier = resolve_tier(spec, request.tier)
    at = window_end(spec.source.window, request.at) or datetime.datetime.now(datetime.UTC)
    template = None
    if request.template:
        if request.pipeline:
            raise CloudError("--pipeline and --template both say what to send; give one")
        registry = Registry(cloud)
        template = registry.find(request.template, PACKAGE)
        compiled = read_compiled(registry.download(template, folder / "training.yaml"))
    else:
        compiled = compile_for(cloud, request.pipeline, folder)
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
    if cloud.budget_usd is not None:
        _check_budget(spec, cloud, tier)
    warnings = [
        *tiers.warnings(tier, kinds=tiers.HARDWARE),
        *source_warnings(spec.source.uri, cloud.location, cloud.project),
    ]
    return Ready(cloud, spec, compiled, job, warnings, at)


def labelled(ready: Ready) -> Ready:
    """Returns the job with the digest of the files that it is going to read in its labels.

    Not for a schedule: its runs read others each time. Of each run, it is what find-files gave.

    Raises:
        SourceError: The source has no files.
    """
    from quatrain.components.preprocess.find_files import find

    spec = ready.spec.as_json()
    try:
        found = find(spec, project=ready.cloud.project, at=ready.at.isoformat(), clocks=())
    except SourceDenied as error:
        told = f"{error}; the job may read it all the same, but gets no label of its data"
        return replace(ready, warnings=[*ready.warnings, told])
    labels = {**ready.job["labels"], "data": found.digest[:DIGEST_CHARS]}
    return replace(ready, job={**ready.job, "labels": labels})


def compile_for(cloud: Cloud, pipeline: Path | None, folder: Path) -> Compiled:
    """Returns the compiled file for a cloud: the one given, or one of its image and retries.

    Raises:
        PipelineError: The file given is no pipeline.
        CloudError: It runs another image.
    """
    if pipeline is None:
        from quatrain.pipelines.compiled import compile_pipeline

        pipeline = compile_pipeline(folder / "training.yaml", cloud.image, cloud.retries)
    compiled = read_compiled(pipeline)
    _check_image(compiled, cloud)
    return compiled


def _check_budget(spec: ModelSpec, cloud: Cloud, tier: tiers.Tier) -> None:
    """Refuses a run that may cost more than the budget, as `doctor` does."""
    finding = price(spec, cloud, tier)
    if finding.severity == "error":
        raise CloudError("; ".join(filter(None, [finding.sentence, finding.mend])))


def make_job(
    compiled: Compiled,
    spec: ModelSpec,
    cloud: Cloud,
    *,
    tier: str = "",
    runner: str = "local",
    runner_options: Mapping[str, Any] | None = None,
    template_uri: str = "",
    at: str = "",
) -> dict[str, Any]:
    """Returns the PipelineJob of a spec; the compiled file is in it unchanged.

    Args:
        compiled: The pipeline.
        spec: The model; it travels as the pipeline's parameter.
        cloud: Where, as whom and in which image.
        tier: Takes the place of the spec's tier, unless empty.
        runner: Where Beam runs.
        runner_options: Beam's options of the runner, beside those of the cloud.
        template_uri: Where the registry has the file, by its digest.
        at: The time of the run, where a window of the source ends; if empty, the job's own.

    Raises:
        PipelineError: The pipeline takes other parameters.
        RunnerError: The engine is refused, or an option of it is wrong.
        CloudError: The source is on this machine, or the file runs another image.
    """
    _check_source(spec)
    _check_image(compiled, cloud)
    if spec.train.tune and cloud.psc_interface:
        raise CloudError(
            "train.tune and psc_interface do not go together: Google's component for tuning jobs "
            "has no field for it; leave one of them out"
        )
    parameters: dict[str, Any] = {
        "spec": parameter_of(spec, cloud.root),
        "project": cloud.project,
        "location": cloud.location,
        "root": cloud.root.rstrip("/"),
        "tier": tier,
        "runner": runner,
        "service_account": cloud.service_account,
        **_given(network=cloud.network, encryption_key=cloud.encryption_key, at=at),
    }
    if cloud.psc_interface:
        parameters["psc_interface"] = {"network_attachment": cloud.psc_interface}
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
        **_given(network=cloud.network, templateUri=template_uri),
    }
    if cloud.psc_interface:
        job["pscInterfaceConfig"] = {"networkAttachment": cloud.psc_interface}
    if cloud.encryption_key:
        job["encryptionSpec"] = {"kmsKeyName": cloud.encryption_key}
    return job


def _runner_options(
    runner: str, given: Mapping[str, Any], spec: ModelSpec, cloud: Cloud
) -> dict[str, Any]:
    """Returns the options of an engine: the cloud's, then the request's; Dataflow's from both.

    Raises:
        RunnerError: The engine is refused, or an option of it is wrong.
    """
    ours: dict[str, Any] = {} if runner == beam_checks.LOCAL else dict(cloud.runner_options)
    if runner == "dataflow":
        labels = {**cloud.labels, "quatrain": spec.name, "spec": spec.sha256[:DIGEST_CHARS]}
        ours = {
            "service_account_email": cloud.service_account,
            "labels": [f"{name}={value}" for name, value in labels.items()],
            **_given(dataflow_kms_key=cloud.encryption_key),
            **ours,
        }
    options = {**ours, **given}
    beam_checks.check(runner, options)
    return options


def labels_of(compiled: Compiled, spec: ModelSpec, cloud: Cloud) -> dict[str, str]:
    """Returns the labels by which a job is found: its model, and digests of what it runs."""
    image = cloud.image.partition("@sha256:")[2]
    return {
        **cloud.labels,
        "quatrain": spec.name,
        "spec": spec.sha256[:DIGEST_CHARS],
        "template": compiled.sha256[:DIGEST_CHARS],
        **_given(image=image[:DIGEST_CHARS]),
    }


def new_job_id(name: str) -> str:
    """Returns an id for a job of a model: by the time in UTC, and four random digits."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def check_job_id(job_id: str) -> None:
    """Raises CloudError for an id that Vertex refuses."""
    if not JOB_ID.fullmatch(job_id):
        raise CloudError(
            f"--job-id {job_id!r}: write a lower-case letter, then lower-case letters, digits and "
            f"hyphens, 128 in all"
        )


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _check_source(spec: ModelSpec) -> None:
    here = [u for u in spec.source.uri if "://" not in u or u.startswith("file://")]
    if here:
        raise CloudError(
            f"source.uri: {here[0]} is on this machine, which Vertex cannot read; copy it to a "
            f"bucket (`gcloud storage cp {here[0]} gs://BUCKET/`) and name it in the spec, or by "
            f"--set source.uri=gs://BUCKET/..."
        )
    own = spec.train.trainer
    if own and "://" not in own:
        raise CloudError(
            f"train.trainer: {own} is on this machine; copy it to a bucket (`gcloud storage cp -r "
            f"{own} gs://BUCKET/`), and set train.trainer=gs://BUCKET/..."
        )


def _check_image(compiled: Compiled, cloud: Cloud) -> None:
    other = sorted(compiled.images - {cloud.image})
    if other:
        raise CloudError(
            f"{compiled.path.name} runs {other[0]}, but the cloud's image is {cloud.image}; "
            f"compile it with `quatrain compile --image {cloud.image}`"
        )
