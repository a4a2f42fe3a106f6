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

OLD = datetime.timedelta(days=365)
"""How old a table of prices may be before doctor warns."""

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


def price(
    spec: ModelSpec,
    cloud: Cloud,
    tier: tiers.Tier,
    table: Path = prices.OWN,
    today: datetime.date | None = None,
) -> Finding:
    """Compares what a run may cost with the budget; without one, tells it.

    Args:
        spec: The spec of the run.
        cloud: Where it runs, and its budget.
        tier: Its machines.
        table: The table of prices.
        today: The day that the age of the table is told by; by default this one.
    """
    budget = cloud.budget_usd
    try:
        listed = prices.load_prices(table)
        seconds = spec.train.settings.max_seconds
        trials = spec.train.tune.trials if spec.train.tune else 0
        cost = prices.estimate(listed, tier, cloud.location, seconds, cloud.retries, trials)
    except prices.PriceError as error:
        return Finding("price", "error" if budget else "unasked", str(error))
    says = (
        f"about {cost.total.low:.2f} to {cost.total.high:.2f} USD a run by the list prices of "
        f"{listed.checked}; an hour of training {_usd(cost.hour)}; "
    )
    says += f"with {trials} trials and " if trials else "with " if cost.bounded else ""
    says += f"train.max_seconds {seconds:g}" if cost.bounded else "no train.max_seconds"
    old = (today or datetime.date.today()) - listed.checked > OLD
    hint = f"write a newer table by {prices.OWN.name} and give --prices FILE" if old else ""
    if budget is None:
        return Finding("price", "warning" if old or not cost.bounded else "ok", says, hint)
    if cost.bounded and cost.total.high <= budget:
        within = f"{says}, within the budget of {budget:g} USD"
        return Finding("price", "warning" if old else "ok", within, hint)
    fits = cost.seconds_within(budget, listed.run.start_h.high)
    mend = f"--set train.max_seconds={fits}"
    if not fits:
        mend = "no time of training keeps to it: take a smaller tier, or raise budget_usd"
    why = "may cost more" if cost.bounded else "has no bound of its time, so may cost more"
    told = f"the run {why} than the budget of {budget:g} USD: {says}"
    return Finding("price", "error", told, mend)


def _usd(span: prices.Range) -> str:
    low, high = f"{span.low:.2f}", f"{span.high:.2f}"
    return f"{low} USD" if low == high else f"{low} to {high} USD"
