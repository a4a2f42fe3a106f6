"""What would make a run on Vertex fail, found before it costs anything, each with how to mend it.

`examine` looks at the files first and then asks Google; offline it says what it did not ask.
"""

from __future__ import annotations

import datetime
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from packaging.requirements import Requirement

from components import buckets
from components.errors import BucketError, QuatrainError
from components.spec.reading import load_spec
from components.spec.schema import ModelSpec
from components.train import prices, tiers
from components.train.plan import resolve_tier
from components.wording import near
from pipelines.cloud import Cloud, load_cloud

Severity = Literal["ok", "warning", "error", "unasked"]

IMAGE_PYTHON = "3.11"
"""The Python of the image; the test of the versions reads it from the Dockerfile."""

ROLES = ("roles/aiplatform.user", "roles/logging.logWriter")
"""What the job's service account needs on the project: docs/security.md."""

OLD = datetime.timedelta(days=365)
"""How old a table of prices may be before doctor warns."""

_REGIONS = Path(prices.__file__).with_name("regions.yaml")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        check: What was looked at, in a word.
        severity: `error` makes the run fail, `unasked` may.
        sentence: What is so.
        mend: The command or the setting that mends it; empty where nothing is to mend.
    """

    check: str
    severity: Severity
    sentence: str
    mend: str = ""


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
    """

    spec: Path
    cloud: Path
    overrides: Sequence[str] = ()
    cloud_overrides: Sequence[str] = ()
    tier: str = ""
    pipeline: Path | None = None
    prices: Path = prices.OWN
    offline: bool = False


def examine(request: Request) -> Iterator[Finding]:
    """Yields every finding, the quick ones first."""
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
        resolved = _tried("tier", lambda: resolve_tier(spec, request.tier), _tier_told)
        tier = resolved[0]
        yield resolved[1]
    if tier:
        yield from _ends(tier, cloud)
    if cloud:
        yield from _region(cloud)
        yield from _account(cloud)
    if spec and cloud and tier:
        yield price(spec, cloud, tier, request.prices)
    if spec and cloud:
        yield from _parameters(request, spec, cloud)
    wrong = [name for name, value in (("spec", spec), ("cloud", cloud)) if not value]
    if wrong:
        told = f"the rest was not looked at: {' and '.join(wrong)} must be right first"
        yield Finding("more", "unasked", told)
    if spec and cloud:
        yield from _unasked(cloud) if request.offline else _asked(spec, cloud)
        yield from _never_asked(cloud, tier)


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
    if here != IMAGE_PYTHON:
        yield Finding(
            "versions",
            "warning",
            f"Python is {here} here and {IMAGE_PYTHON} in the image; the requirements are locked "
            f"for {IMAGE_PYTHON}",
            f"make setup PYTHON=python{IMAGE_PYTHON}",
        )
    if not wrong:
        yield Finding("versions", "ok", f"{len(required)} requirements are met")


def _ends(tier: tiers.Tier, cloud: Cloud | None) -> Iterator[Finding]:
    """Tells what the run uses and Google will end; its images only where the run has one."""
    prebuilt = cloud is not None and "docker.pkg.dev/vertex-ai/" in cloud.image
    kinds = tiers.EVERYTHING if prebuilt else tiers.HARDWARE
    for warning in tiers.warnings(tier, kinds=kinds):
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
    from pipelines.submission import compile_for, make_job

    with tempfile.TemporaryDirectory(prefix="quatrain-doctor-") as folder:

        def make() -> str:
            compiled = compile_for(cloud, request.pipeline, Path(folder))
            make_job(compiled, spec, cloud, tier=request.tier)
            return compiled.sha256

        _, finding = _tried(
            "parameters", make, lambda sha256: f"they suit the pipeline of sha256 {sha256}"
        )
    yield finding


def price(spec: ModelSpec, cloud: Cloud, tier: tiers.Tier, table: Path = prices.OWN) -> Finding:
    """Compares what a run may cost with the budget; without one, tells it."""
    budget = cloud.budget_usd
    try:
        listed = prices.load_prices(table)
        seconds = spec.train.settings.max_seconds
        cost = prices.estimate(listed, tier, cloud.location, seconds, cloud.retries)
    except prices.PriceError as error:
        return Finding("price", "error" if budget else "unasked", str(error))
    says = (
        f"about {cost.total.low:.2f} to {cost.total.high:.2f} USD a run by the list prices of "
        f"{listed.checked}; an hour of training {_usd(cost.hour)}; "
    )
    says += f"with train.max_seconds {seconds:g}" if cost.bounded else "no train.max_seconds"
    old = datetime.date.today() - listed.checked > OLD
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


def _asked(spec: ModelSpec, cloud: Cloud) -> Iterator[Finding]:
    """Asks Google, with the credentials of this machine."""
    credentials = None
    if not cloud.api_endpoint:
        credentials, finding = _credentials(cloud)
        yield finding
        if credentials is None:
            yield from _unasked(cloud)
            return
    yield from _project(spec, cloud)
    yield from _buckets(spec, cloud)
    yield _image(cloud, credentials)


def _credentials(cloud: Cloud) -> tuple[Any, Finding]:
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request as Refresh

    login = "gcloud auth application-default login"
    try:
        credentials, project = google.auth.default(
            scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )
        credentials.refresh(Refresh())
    except (GoogleAuthError, OSError) as error:
        first = str(error).splitlines()[0]
        return None, Finding("credentials", "error", f"there are none that work: {first}", login)
    who = getattr(credentials, "service_account_email", "") or "your account"
    if project and project != cloud.project:
        return credentials, Finding(
            "credentials",
            "warning",
            f"they are of {who} in project {project}, the job is in {cloud.project}",
            f"gcloud auth application-default set-quota-project {cloud.project}",
        )
    return credentials, Finding("credentials", "ok", f"they are of {who}")


def _project(spec: ModelSpec, cloud: Cloud) -> Iterator[Finding]:
    """Asks Vertex for something harmless: project, region, API and the caller's role are right."""
    from pipelines.vertex import Vertex

    _, finding = _tried(
        "project",
        lambda: Vertex(cloud, patience_s=15.0).list_schedules(spec.name),
        lambda _: f"Vertex AI answers for {cloud.parent}",
    )
    yield finding


def _buckets(spec: ModelSpec, cloud: Cloud) -> Iterator[Finding]:
    roots = [cloud.root]
    try:
        problems = buckets.bucket_problems(roots, cloud.location, cloud.project)
        warnings = buckets.source_warnings(spec.source.uri, cloud.location, cloud.project)
    except BucketError as error:
        yield Finding("buckets", "error", str(error))
        return
    for problem in problems:
        severity: Severity = "unasked" if problem.unanswered else "error"
        yield Finding("buckets", severity, problem.sentence, problem.command)
    yield from (Finding("source", "warning", warning) for warning in warnings)
    if not problems:
        yield Finding("buckets", "ok", f"{cloud.root} is regional, in {cloud.location}")


def _image(cloud: Cloud, credentials: Any) -> Finding:
    """Asks the registry for the image's manifest, as Vertex will."""
    import requests

    host, _, rest = cloud.image.partition("/")
    name, _, digest = rest.partition("@")
    scheme = "http" if host.split(":")[0] in ("localhost", "127.0.0.1") else "https"
    kinds = "application/vnd.oci.image.manifest.v1+json"
    kinds += ", application/vnd.oci.image.index.v1+json"
    kinds += ", application/vnd.docker.distribution.manifest.v2+json"
    headers = {"Accept": kinds}
    if credentials is not None and host.endswith(".pkg.dev"):
        headers["Authorization"] = f"Bearer {credentials.token}"
    try:
        answer = requests.head(
            f"{scheme}://{host}/v2/{name}/manifests/{digest}",
            headers=headers,
            timeout=15.0,
            allow_redirects=True,
        )
    except requests.RequestException as error:
        return Finding(
            "image", "unasked", f"{host} did not answer: {type(error).__name__}", _describe(cloud)
        )
    if answer.status_code == 200:
        return Finding("image", "ok", f"{cloud.image} is there")
    if answer.status_code == 404:
        return Finding(
            "image",
            "error",
            f"{cloud.image} is not in the registry; push it and name the digest that this prints:",
            f"docker push {host}/{name} && gcloud artifacts docker images describe {host}/{name}",
        )
    return Finding(
        "image",
        "unasked",
        f"{host} answered {answer.status_code}; these credentials may lack "
        f"roles/artifactregistry.reader, or the registry is not Google's",
        _describe(cloud),
    )


def _describe(cloud: Cloud) -> str:
    return f"gcloud artifacts docker images describe {cloud.image}"


def _unasked(cloud: Cloud) -> Iterator[Finding]:
    """What only Google knows, with the command that asks it."""
    bucket = cloud.root.removeprefix("gs://").split("/")[0]
    for check, sentence, command in (
        (
            "credentials",
            "whether there are credentials that work",
            "gcloud auth application-default print-access-token >/dev/null",
        ),
        (
            "project",
            f"whether Vertex AI is on in {cloud.project}",
            f"gcloud services list --project={cloud.project} "
            f"--filter=name:aiplatform.googleapis.com",
        ),
        (
            "buckets",
            f"whether gs://{bucket} is regional, in {cloud.location}",
            f"gcloud storage buckets describe gs://{bucket} "
            f"--format='value(location,location_type)'",
        ),
        ("image", "whether the image is there", _describe(cloud)),
    ):
        yield Finding(check, "unasked", sentence, command)


def _never_asked(cloud: Cloud, tier: tiers.Tier | None) -> Iterator[Finding]:
    """What doctor does not ask: it needs more rights than submitting does."""
    yield Finding(
        "roles",
        "unasked",
        f"whether {cloud.service_account} has {', '.join(ROLES)} on {cloud.project}, and its roles "
        f"on the buckets (docs/security.md)",
        f"gcloud projects get-iam-policy {cloud.project} --flatten=bindings "
        f"--filter=bindings.members:{cloud.service_account} --format='value(bindings.role)'",
    )
    used = sorted({p.accelerator_type for p in tier.pools if p.accelerator_type}) if tier else []
    kinds = f"accelerators ({', '.join(used)}) and machines" if used else "machines"
    yield Finding(
        "quota",
        "unasked",
        f"whether {cloud.location} has the {kinds}, and your quota is enough",
        f"open 'https://console.cloud.google.com/iam-admin/quotas?project={cloud.project}' "
        f"and filter by 'Custom model training' and {cloud.location}",
    )


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yields findings as text: the worst last, where they are read, and a sum."""
    order: tuple[Severity, ...] = ("ok", "unasked", "warning", "error")
    for finding in sorted(findings, key=lambda f: order.index(f.severity)):
        head, *more = finding.sentence.splitlines()
        mark = "not asked" if finding.severity == "unasked" else finding.severity
        yield f"{mark:<9}  {finding.check:<11}  {head}"
        yield from (f"{'':<24}{line}" for line in more)
        if finding.mend:
            yield f"{'':<24}-> {finding.mend}"
    count = {s: sum(f.severity == s for f in findings) for s in order}
    yield (
        f"{count['error']} errors, {count['warning']} warnings, {count['unasked']} not asked, "
        f"{count['ok']} ok; {datetime.date.today()}"
    )
