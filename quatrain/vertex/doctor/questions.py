"""The questions that doctor puts to Google, with the credentials of this machine.

Each question needs a permission that the caller may lack. Then its finding is `unchecked`, with the
command that answers the question.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quatrain.components import buckets
from quatrain.components.errors import BucketError, QuatrainError
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import tiers
from quatrain.vertex.checks import images
from quatrain.vertex.checks.findings import Finding, Severity
from quatrain.vertex.cloud_file import Cloud
from quatrain.vertex.doctor import quota, resources, roles
from quatrain.vertex.google_apis import LOGIN, TIMEOUT_S, GoogleApis, NoAnswer, find_credentials


def ask(spec: ModelSpec, cloud: Cloud, tier: tiers.Tier | None, runner: str) -> Iterator[Finding]:
    """Asks Google about everything that a run needs; yields a finding for each answer."""
    credentials = None
    if not cloud.api_endpoint:
        credentials, finding = _credentials(cloud)
        yield finding
        if credentials is None:
            rest = unchecked_findings(spec, cloud, tier, runner)
            yield from (f for f in rest if f.check != "credentials")
            return
    apis = GoogleApis(cloud, credentials)
    yield _project(spec, cloud)
    yield from _buckets(spec, cloud)
    yield from images.image_findings(apis, cloud, tier)
    yield images.launcher_finding(apis, cloud)
    yield from roles.findings(apis, spec, runner)
    yield from resources.findings(apis, spec, runner, cloud.options_for(runner))
    yield from _hardware(apis, tier)
    if tier:
        yield from quota.findings(apis, spec, tier)


def unchecked_findings(
    spec: ModelSpec, cloud: Cloud, tier: tiers.Tier | None, runner: str
) -> Iterator[Finding]:
    """Yields an unchecked finding for each question, with the command that answers it."""
    [bucket] = buckets.buckets_of([cloud.root])
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
        *(
            (
                "image",
                f"whether the registry has {image}, built for this run",
                images.describe(image),
            )
            for image in images.machines_of(cloud, tier)
        ),
        (
            "launcher",
            f"whether the registry has the launchers' image {cloud.launcher}",
            images.describe(cloud.launcher),
        ),
    ):
        yield Finding(check, "unchecked", sentence, command)
    yield roles.unchecked(spec, cloud, runner)
    options = cloud.options_for(runner)
    for resource in resources.resources(cloud, spec, runner, options):
        yield resources.unchecked(resource)
    yield from (_unchecked_hardware(name, kind, cloud) for name, kind in _hardware_of(tier))
    if tier:
        yield from (quota.unchecked(n, cloud) for n in quota.needs(spec, tier))


def _credentials(cloud: Cloud) -> tuple[Any, Finding]:
    """Returns the credentials of this machine, or None, with the finding about them."""
    try:
        credentials, project = find_credentials()
    except NoAnswer as error:
        return None, Finding("credentials", "error", str(error), LOGIN)
    who = getattr(credentials, "service_account_email", "") or "your account"
    if project and project != cloud.project:
        return credentials, Finding(
            "credentials",
            "warning",
            f"they belong to {who} in project {project}, but the job is in {cloud.project}",
            f"gcloud auth application-default set-quota-project {cloud.project}",
        )
    return credentials, Finding("credentials", "ok", f"they belong to {who}")


def _project(spec: ModelSpec, cloud: Cloud) -> Finding:
    """Checks project, region, API and the caller's role at once, by listing schedules."""
    from quatrain.vertex.client import Vertex

    try:
        Vertex(cloud, patience_s=TIMEOUT_S).list_schedules(spec.name)
    except QuatrainError as error:
        return Finding("project", "error", str(error))
    return Finding("project", "ok", f"Vertex AI answers for {cloud.parent}")


def _buckets(spec: ModelSpec, cloud: Cloud) -> Iterator[Finding]:
    """Checks that the bucket of the runs is regional and near, and warns of far sources."""
    where = cloud.location, cloud.project
    try:
        problems = buckets.bucket_problems([cloud.root], *where)
        source_problems = buckets.source_problems(spec.source.uri, *where)
    except BucketError as error:
        yield Finding("buckets", "error", str(error))
        return
    for check, found in (("buckets", problems), ("source", source_problems)):
        for problem in found:
            severity: Severity = "unchecked" if problem.unanswered else "error"
            yield Finding(check, severity, problem.sentence, problem.command)
    if not source_problems:
        warnings = buckets.source_warnings(spec.source.uri, *where)
        yield from (Finding("source", "warning", warning) for warning in warnings)
    if not problems:
        yield Finding("buckets", "ok", f"{cloud.root} is regional, in {cloud.location}")


def _hardware(apis: GoogleApis, tier: tiers.Tier | None) -> Iterator[Finding]:
    """Checks that a zone of the region has the machines of the tier, which Compute Engine lists."""
    cloud = apis.cloud
    for name, kind in _hardware_of(tier):
        try:
            answer = apis.query(
                "compute",
                f"compute/v1/projects/{cloud.project}/aggregated/{kind}",
                filter=f'name="{name}"',
                returnPartialSuccess="true",
            )
        except NoAnswer as error:
            finding = _unchecked_hardware(name, kind, cloud)
            yield Finding("hardware", "unchecked", f"{finding.sentence}: {error}", finding.fix)
            continue
        zones = sorted(
            zone.removeprefix("zones/")
            for zone, hardware in ((answer or {}).get("items") or {}).items()
            if hardware.get(kind)
        )
        here = [zone for zone in zones if zone.rpartition("-")[0] == cloud.location]
        if here:
            yield Finding("hardware", "ok", f"{name} is in {', '.join(here)}")
            continue
        regions = sorted({zone.rpartition("-")[0] for zone in zones})
        elsewhere = f"it is in {', '.join(regions)}" if regions else "nor has any other region"
        sentence = f"no zone of {cloud.location} has {name}; {elsewhere}"
        yield Finding("hardware", "error", sentence, "quatrain tiers")


def _hardware_of(tier: tiers.Tier | None) -> list[tuple[str, str]]:
    """Returns the machines and accelerators of a tier, as Compute Engine names them, with the kind.

    Vertex's NVIDIA_TESLA_T4 is Compute Engine's nvidia-tesla-t4.
    """
    if tier is None:
        return []
    machines = {pool.machine_type for pool in tier.pools}
    accelerators = {p.accelerator_type for p in tier.pools if p.accelerator_type}
    return [
        *((name, "machineTypes") for name in sorted(machines)),
        *((a.lower().replace("_", "-"), "acceleratorTypes") for a in sorted(accelerators)),
    ]


def _unchecked_hardware(name: str, kind: str, cloud: Cloud) -> Finding:
    """Returns an unchecked finding on a machine or accelerator."""
    list_of = {"machineTypes": "machine-types", "acceleratorTypes": "accelerator-types"}[kind]
    return Finding(
        "hardware",
        "unchecked",
        f"whether {cloud.location} has {name}",
        f"gcloud compute {list_of} list --project={cloud.project} "
        f"--filter='name={name} AND zone:{cloud.location}'",
    )
