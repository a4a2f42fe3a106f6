"""Makes a pipeline job of a compiled file, submits it, and waits for it with progress."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote

from quatrain.components.buckets import check_buckets, source_warnings
from quatrain.components.errors import QuatrainError, SourceDenied
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.table.windows import window_end
from quatrain.components.tiers import tiers
from quatrain.components.times import parse_time
from quatrain.components.train.plan import resolve_tier
from quatrain.pipelines.compiled import Compiled, read_compiled
from quatrain.terminal.console import Console
from quatrain.trainer import failure
from quatrain.validation.load import load_spec
from quatrain.vertex import beam_checks
from quatrain.vertex.cloud_file import Cloud, CloudError, load_cloud
from quatrain.vertex.price import price
from quatrain.vertex.registry import Registry

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex

POLL_S = 10.0
"""How often a job is looked at while waiting for it."""
JOB_ID = re.compile(r"[a-z][a-z0-9-]{0,127}")
"""As google-cloud-aiplatform checks it (pipeline_constants._VALID_NAME_PATTERN)."""
DIGEST_CHARS = 40
"""A label holds 63 characters, a sha256 has 64: labels carry its first 40, as `git` does."""

PACKAGE = "quatrain-training"
"""The template's name in the registry: the pipeline's."""

_ENDED = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELLED": "was cancelled"}
_EVALUATION = "evaluation"
"""The artifact that holds the report."""


class JobFailed(QuatrainError):
    """The job ended without success; the message says which step, why and where to look."""


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
    at = window_end(spec.source, request.at) or datetime.datetime.now(datetime.UTC)
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

    spec = ready.job["runtimeConfig"]["parameterValues"]["spec"]
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
    parameters = {
        "spec": spec.as_parameter(),
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


def console_link(cloud: Cloud, job_id: str) -> str:
    """Returns the page of a job in Google's console."""
    return (
        f"https://console.cloud.google.com/vertex-ai/locations/{cloud.location}"
        f"/pipelines/runs/{job_id}?project={cloud.project}"
    )


def report_link(uri: str) -> str:
    """Returns where a signed-in browser shows an object of a bucket."""
    return f"https://storage.cloud.google.com/{quote(uri.removeprefix('gs://'))}"


def _failure_told(job: Mapping[str, Any]) -> str:
    """Returns what the trainer's failure.json says, or nothing where there is none."""
    from quatrain.components.storage import open_stream

    artifacts = [a for t in _tasks(job) for a in _outputs(t, "model")]
    for artifact in artifacts:
        path = f"{artifact['uri']}/{failure.NAME}"
        with contextlib.suppress(OSError), open_stream(path) as stream:
            return str(failure.Failure(**json.loads(stream.read())))
    return ""


def _outputs(task: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = task.get("outputs", {}).get(name, {}).get("artifacts", [])
    return found


def report_uri(job: Mapping[str, Any]) -> str:
    """Returns the report of a job, or nothing before there is one."""
    for task in _tasks(job):
        if artifacts := _outputs(task, _EVALUATION):
            return f"{artifacts[0]['uri']}/report.html"
    return ""


class Wait:
    """Follows a job to its end.

    Args:
        vertex: The service.
        submission: What was sent.
        stream: Where progress goes.
        sleep: How to wait between two looks.
    """

    def __init__(
        self,
        vertex: Vertex,
        submission: Submission,
        stream: TextIO,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._vertex, self._submission, self._sleep = vertex, submission, sleep
        self._steps = submission.compiled.steps
        self._console = Console(stream, len(self._steps))
        self._seen: dict[str, str] = {}
        self._begun: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Returns the job once it has succeeded.

        Raises:
            JobFailed: It failed or was cancelled.
            CloudError: It cannot be looked at; it goes on.
        """
        job_id = self._submission.job_id
        while True:
            job = self._look(job_id)
            self._show(job)
            state = _state(job)
            if state == "SUCCEEDED":
                return job
            if state in _ENDED:
                raise JobFailed(self._failure(job, state))
            self._sleep(POLL_S)

    def _look(self, job_id: str) -> dict[str, Any]:
        from quatrain.vertex.client import Unanswered

        try:
            return self._vertex.get_job(job_id)
        except Unanswered as error:
            raise CloudError(
                f"{error}\nthe job goes on: {console_link(self._vertex.cloud, job_id)}"
            ) from error

    def _show(self, job: Mapping[str, Any]) -> None:
        tasks = {task["taskName"]: task for task in _tasks(job)}
        for number, step in enumerate(self._steps, 1):
            task = tasks.get(step, {})
            state = _state(task)
            if state == self._seen.get(step, "PENDING"):
                if state == "RUNNING":
                    elapsed = time.monotonic() - self._begun[step]
                    self._console.step_goes_on(number, step, elapsed, None)
                continue
            if self._seen.get(step) != "RUNNING" and state in ("RUNNING", *_TOLD):
                self._begun[step] = time.monotonic()
                self._console.step_started(number, step)
            if state in _TOLD:
                self._console.step_ended(number, step, _seconds(task), _TOLD[state])
            self._seen[step] = state

    def _failure(self, job: Mapping[str, Any], state: str) -> str:
        job_id = self._submission.job_id
        reasons = list(_reasons(job)) or [job.get("error", {}).get("message", "")]
        reason = "".join(f": {reason}" for reason in reasons[:1] if reason)
        if told := _failure_told(job):
            reason += f"\ntraining: {told}"
        look = f"look: {console_link(self._vertex.cloud, job_id)}"
        report = report_uri(job)
        return "\n".join(
            [
                f"job {job_id} {_ENDED[state]}{reason}",
                look,
                *([f"report: {report_link(report)}"] if report else []),
            ]
        )


_TOLD = {
    "SUCCEEDED": "succeeded",
    "SKIPPED": "taken from the cache",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "NOT_TRIGGERED": "not started",
}
"""What is said of a step that has ended, by its state."""


def _tasks(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(job.get("jobDetail", {}).get("taskDetails", []))


def _state(of: Mapping[str, Any]) -> str:
    return str(of.get("state", "PENDING")).removeprefix("PIPELINE_STATE_")


def _reasons(job: Mapping[str, Any]) -> Iterator[str]:
    """Yields why tasks failed, the innermost first: the outer ones only repeat it."""
    failed = [t for t in _tasks(job) if _state(t) == "FAILED" and t.get("error", {}).get("message")]
    parents = {t.get("parentTaskId") for t in failed}
    for task in sorted(failed, key=lambda t: t.get("taskId") in parents):
        yield f"task {task['taskName']}: {task['error']['message']}"


def _seconds(task: Mapping[str, Any]) -> float:
    try:
        start, end = (parse_time(task[key]) for key in ("startTime", "endTime"))
    except KeyError:  # a step that was not started has neither
        return 0.0
    return (end - start).total_seconds()
