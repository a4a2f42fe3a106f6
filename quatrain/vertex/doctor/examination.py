"""Finds what would make a run on Vertex fail, before the run costs anything.

`examine` checks the files first and then queries Google. Offline, it lists what it did not check,
with the command that checks it.
"""

from __future__ import annotations

import datetime
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Generic, TypeVar

from packaging.requirements import Requirement

from quatrain.components.errors import QuatrainError
from quatrain.components.image import PYTHON
from quatrain.components.notify.sending import shown
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import prices, tiers
from quatrain.components.train.plan import resolve_tier
from quatrain.components.wording import a_or_an, counted
from quatrain.pipelines.compiled import Compiled, PipelineError
from quatrain.validation.load import load_spec
from quatrain.vertex.checks import run
from quatrain.vertex.checks.findings import Finding
from quatrain.vertex.checks.price import price
from quatrain.vertex.cloud_file import Cloud, load_cloud
from quatrain.vertex.doctor import questions

_T = TypeVar("_T")


@dataclass(frozen=True)
class Examination:
    """What `examine` checks.

    Attributes:
        spec: The spec's file.
        cloud: The cloud's file.
        overrides: `--set` of the spec.
        cloud_overrides: `--set-cloud` of the cloud.
        tier: Replaces the spec's tier, unless empty.
        pipeline: A compiled file to use instead of compiling one.
        prices: A table of prices to use instead of ours.
        offline: Whether to skip the queries to Google.
        runner: Where Beam will run; if empty, where the cloud's settings say.
        today: The date against which ends of support and the age of the prices are checked.
    """

    spec: Path
    cloud: Path
    overrides: Sequence[str] = ()
    cloud_overrides: Sequence[str] = ()
    tier: str = ""
    pipeline: Path | None = None
    prices: Path = prices.OWN
    offline: bool = False
    runner: str = ""
    today: datetime.date = field(default_factory=datetime.date.today)


def examine(
    examination: Examination, report: Callable[[str], None] | None = None
) -> Iterator[Finding]:
    """Yields every finding, the quick ones first.

    Args:
        examination: What to check.
        report: Receives a line before the queries to Google, which take seconds.
    """
    load = _attempt(
        "spec", lambda: load_spec(examination.spec, examination.overrides), _spec_sentence
    )
    yield load.finding
    load_settings = _attempt(
        "cloud",
        lambda: load_cloud(examination.cloud, examination.cloud_overrides),
        lambda _: f"{examination.cloud.name} is complete, and every image is named by a digest",
    )
    yield load_settings.finding
    spec, cloud = load.value, load_settings.value
    yield from _versions()
    tier = None
    if spec:
        resolve = _attempt(
            "tier",
            lambda: resolve_tier(spec, examination.tier, examination.today),
            _tier_sentence,
        )
        yield resolve.finding
        tier = resolve.value
    if tier:
        yield from _ends(tier, cloud, examination.today)
    if cloud:
        yield run.region(cloud, tier)
        yield from _account(cloud)
        yield from _notices(cloud)
    if spec and cloud and tier:
        yield from run.findings(spec, cloud, tier)
        yield price(spec, cloud, tier, examination.prices, examination.today)
        yield from _parameters(examination, spec, cloud)
    wrong = [name for name, value in (("spec", spec), ("cloud", cloud)) if not value]
    if wrong:
        sentence = f"the rest was not checked: {' and '.join(wrong)} must be right first"
        yield Finding("more", "unchecked", sentence)
    if spec and cloud:
        runner = cloud.runner_for(examination.runner)
        if examination.offline:
            yield from questions.unchecked_findings(spec, cloud, tier, runner)
            return
        if report:
            report("querying Google Cloud ...")
        yield from questions.ask(spec, cloud, tier, runner)


@dataclass(frozen=True)
class _Attempt(Generic[_T]):
    """The value of an attempt, or None if it failed, and the finding about it."""

    value: _T | None
    finding: Finding


def _attempt(check: str, make: Callable[[], _T], describe: Callable[[_T], str]) -> _Attempt[_T]:
    """Calls `make`, and turns its value or its error into a finding."""
    try:
        value = make()
    except QuatrainError as error:
        return _Attempt(None, Finding(check, "error", str(error)))
    return _Attempt(value, Finding(check, "ok", describe(value)))


def _spec_sentence(spec: ModelSpec) -> str:
    features = counted(len(spec.features), "feature")
    return f"it describes {spec.name}, {a_or_an(spec.task)} model of {features}"


def _tier_sentence(tier: tiers.Tier) -> str:
    return f"{tier.name}: {' and '.join(map(str, tier.pools))}"


def _versions() -> Iterator[Finding]:
    """Compares what is installed with what the project requires, and Python with the image's."""
    try:
        required = [Requirement(text) for text in metadata.requires("quatrain") or ()]
    except metadata.PackageNotFoundError:
        yield Finding(
            "versions", "unchecked", "quatrain is not installed here as a package", "make setup"
        )
        return
    wrong = []
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = "none"
        if version == "none" or version not in requirement.specifier:
            wrong.append(f"{requirement.name} is {version}, required is {requirement.specifier}")
    if wrong:
        yield Finding("versions", "error", "; ".join(wrong), "make setup")
    here = ".".join(map(str, sys.version_info[:2]))
    if here != PYTHON:
        yield Finding(
            "versions",
            "warning",
            f"Python is {here} here and {PYTHON} in the image; the requirements are locked "
            f"for {PYTHON}",
            f"make setup PYTHON=python{PYTHON}",
        )
    if not wrong:
        yield Finding("versions", "ok", f"{len(required)} requirements are met")


def _ends(tier: tiers.Tier, cloud: Cloud | None, today: datetime.date) -> Iterator[Finding]:
    """Yields a warning for each thing that the run uses and Google will end.

    The ends of Google's prebuilt images are among them only if the run uses such an image.
    """
    images = cloud.image.all.values() if cloud else ()
    prebuilt = any("docker.pkg.dev/vertex-ai/" in image for image in images)
    kinds = tiers.EVERYTHING if prebuilt else tiers.HARDWARE
    for warning in tiers.warnings(tier, today, kinds):
        yield Finding("ends", "warning", warning, "quatrain tiers")


def _account(cloud: Cloud) -> Iterator[Finding]:
    """Checks that the service account is one of the project's, made for the purpose."""
    account = cloud.service_account
    if account.endswith("-compute@developer.gserviceaccount.com"):
        yield Finding(
            "account",
            "warning",
            f"{account} is the default Compute account, which may usually edit the whole project; "
            f"give the run one of its own",
            f"gcloud iam service-accounts create quatrain-trainer --project={cloud.project}",
        )
    elif not account.endswith(f"@{cloud.project}.iam.gserviceaccount.com"):
        yield Finding(
            "account",
            "warning",
            f"{account} belongs to another project than {cloud.project}; the organization policy "
            f"iam.disableCrossProjectServiceAccountUsage must then be off there",
        )
    else:
        yield Finding("account", "ok", f"the run acts as {account}")


def _notices(cloud: Cloud) -> Iterator[Finding]:
    """Checks to whom a notice goes; none is sent."""
    if not cloud.notify:
        return
    if cloud.notify.webhook and not cloud.notify.secret:
        yield Finding(
            "notify",
            "warning",
            f"the address of {shown(cloud.notify.webhook)} stands in the parameters of each job, "
            f"which the console shows; put it into a secret, and name its version as "
            f"notify.webhook: projects/{cloud.project}/secrets/NAME/versions/latest",
            f"gcloud secrets create NAME --project={cloud.project} --data-file=FILE",
        )
        return
    addresses = " and ".join(cloud.notify.addresses.values())
    yield Finding("notify", "ok", f"notices go to {addresses}; none was sent")


def _parameters(examination: Examination, spec: ModelSpec, cloud: Cloud) -> Iterator[Finding]:
    """Checks the parameters of the job: builds it as submit would, and does not send it."""
    from quatrain.pipelines.origin import check_origin
    from quatrain.vertex.submission import compile_for, make_job

    with tempfile.TemporaryDirectory(prefix="quatrain-doctor-") as folder:

        def make() -> Compiled:
            compiled = compile_for(cloud, examination.pipeline, Path(folder), trust=True)
            make_job(compiled, spec, cloud, tier=examination.tier)
            return compiled

        attempt = _attempt(
            "parameters", make, lambda made: f"they suit the pipeline of sha256 {made.sha256}"
        )
    yield attempt.finding
    if attempt.value and examination.pipeline:
        try:
            check_origin(attempt.value, cloud.launcher)
        except PipelineError as error:  # submit would refuse the file without --trust
            yield Finding("pipeline", "warning", str(error))
