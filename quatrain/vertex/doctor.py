"""What would make a run on Vertex fail, found before it costs anything, each with how to mend it.

`examine` looks at the files first and then asks Google; offline it says what it did not ask.
"""

from __future__ import annotations

import datetime
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import yaml
from packaging.requirements import Requirement

from quatrain.components.errors import QuatrainError
from quatrain.components.image import PYTHON
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import prices, tiers
from quatrain.components.train.plan import resolve_tier
from quatrain.components.wording import near
from quatrain.validation.load import load_spec
from quatrain.vertex import doctor_questions
from quatrain.vertex.cloud_file import Cloud, load_cloud
from quatrain.vertex.findings import Finding
from quatrain.vertex.price import price

_REGIONS = Path(prices.__file__).with_name("regions.yaml")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Request:
    """What is examined.

    Attributes:
        spec: The spec's file.
        cloud: The cloud's file.
        overrides: `--set` of the spec.
        cloud_overrides: `--set-cloud` of the cloud.
        tier: Takes the place of the spec's tier, unless empty.
        pipeline: A compiled file to take instead of compiling one.
        prices: A table of prices in the place of ours.
        offline: Whether nobody is asked.
        runner: Where Beam is to run.
        today: The day that ends of support and the age of the prices are told by.
    """

    spec: Path
    cloud: Path
    overrides: Sequence[str] = ()
    cloud_overrides: Sequence[str] = ()
    tier: str = ""
    pipeline: Path | None = None
    prices: Path = prices.OWN
    offline: bool = False
    runner: str = "local"
    today: datetime.date = field(default_factory=datetime.date.today)


def examine(request: Request, say: Callable[[str], None] | None = None) -> Iterator[Finding]:
    """Yields every finding, the quick ones first.

    Args:
        request: What is examined.
        say: Is told when Google is asked, which takes seconds.
    """
    read = _tried("spec", lambda: load_spec(request.spec, request.overrides), _spec_told)
    spec = read[0]
    yield read[1]
    cloud, finding = _tried(
        "cloud",
        lambda: load_cloud(request.cloud, request.cloud_overrides),
        lambda _: f"{request.cloud.name} is complete, and its image is named by a digest",
    )
    yield finding
    yield from _versions()
    tier = None
    if spec:
        resolved = _tried(
            "tier", lambda: resolve_tier(spec, request.tier, request.today), _tier_told
        )
        tier = resolved[0]
        yield resolved[1]
    if tier:
        yield from _ends(tier, cloud, request.today)
    if cloud:
        yield from _region(cloud)
        yield from _account(cloud)
    if spec and cloud and tier:
        yield price(spec, cloud, tier, request.prices, request.today)
    if spec and cloud:
        yield from _parameters(request, spec, cloud)
    wrong = [name for name, value in (("spec", spec), ("cloud", cloud)) if not value]
    if wrong:
        told = f"the rest was not looked at: {' and '.join(wrong)} must be right first"
        yield Finding("more", "unasked", told)
    if spec and cloud:
        ask = doctor_questions.unasked if request.offline else doctor_questions.asked
        if say and not request.offline:
            say("asking Google Cloud ...")
        yield from ask(spec, cloud, tier, request.runner)


def _tried(
    check: str, make: Callable[[], _T], told: Callable[[_T], str]
) -> tuple[_T | None, Finding]:
    """Returns what was made, or none, and what to tell of it."""
    try:
        made = make()
    except QuatrainError as error:
        return None, Finding(check, "error", str(error))
    return made, Finding(check, "ok", told(made))


def _spec_told(spec: ModelSpec) -> str:
    return f"it describes {spec.name}, a {spec.task} model of {len(spec.features)} features"


def _tier_told(tier: tiers.Tier) -> str:
    return f"{tier.name}: {' and '.join(map(str, tier.pools))}"


def _versions() -> Iterator[Finding]:
    """Compares what is installed with what the project requires, and Python with the image's."""
    try:
        required = [Requirement(text) for text in metadata.requires("quatrain") or ()]
    except metadata.PackageNotFoundError:
        yield Finding(
            "versions", "unasked", "quatrain is not installed here as a package", "make setup"
        )
        return
    wrong = []
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found = "none"
        if found == "none" or found not in requirement.specifier:
            wrong.append(f"{requirement.name} is {found}, required is {requirement.specifier}")
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
    """Tells what the run uses and Google will end; its images only where the run has one."""
    prebuilt = cloud is not None and "docker.pkg.dev/vertex-ai/" in cloud.image
    kinds = tiers.EVERYTHING if prebuilt else tiers.HARDWARE
    for warning in tiers.warnings(tier, today, kinds):
        yield Finding("ends", "warning", warning, "quatrain tiers")


def _region(cloud: Cloud) -> Iterator[Finding]:
    table = yaml.safe_load(_REGIONS.read_text(encoding="utf-8"))
    if cloud.location in table["regions"]:
        yield Finding("region", "ok", f"{cloud.location} trains")
        return
    yield Finding(
        "region",
        "warning",
        f"{cloud.location} is not among the training regions of {table['checked']}"
        f"{near(cloud.location, table['regions'])}",
        "see https://cloud.google.com/vertex-ai/docs/general/locations",
    )


def _account(cloud: Cloud) -> Iterator[Finding]:
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
        yield Finding("account", "ok", f"the run is {account}")


def _parameters(request: Request, spec: ModelSpec, cloud: Cloud) -> Iterator[Finding]:
    """Makes the job as submit would, without sending it."""
    from quatrain.vertex.submission import compile_for, make_job

    with tempfile.TemporaryDirectory(prefix="quatrain-doctor-") as folder:

        def make() -> str:
            compiled = compile_for(cloud, request.pipeline, Path(folder))
            make_job(compiled, spec, cloud, tier=request.tier)
            return compiled.sha256

        _, finding = _tried(
            "parameters", make, lambda sha256: f"they suit the pipeline of sha256 {sha256}"
        )
    yield finding
