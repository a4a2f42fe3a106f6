"""The questions that doctor puts to Google, with the credentials of this machine.

Each question needs a permission that the caller may lack. Then its finding is `unchecked`, with the
command that answers the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from quatrain.components import buckets
from quatrain.components.errors import BucketError, QuatrainError
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import tiers
from quatrain.vertex import image_checks
from quatrain.vertex.cloud_file import Cloud
from quatrain.vertex.findings import Finding, Severity
from quatrain.vertex.google_apis import LOGIN, TIMEOUT_S, GoogleApis, NoAnswer, find_credentials

PROJECT_ROLES = ("roles/aiplatform.user", "roles/logging.logWriter")
ACCOUNT_ROLES = ("roles/iam.serviceAccountUser",)
BUCKET_ROLES = ("roles/storage.objectUser", "roles/storage.legacyBucketReader")
"""What the run's service account needs on the project, on itself and on the bucket of the runs."""

RUNNER_ROLES = {"dataflow": ("roles/dataflow.developer", "roles/dataflow.worker")}
"""Further roles on the project, by the runner: the first launches a job, the second is for its
workers."""

STRONGER = {
    "roles/dataflow.developer": ("roles/dataflow.admin", "roles/editor", "roles/owner"),
    "roles/dataflow.worker": (),
    "roles/aiplatform.user": ("roles/aiplatform.admin", "roles/editor", "roles/owner"),
    "roles/logging.logWriter": ("roles/logging.admin", "roles/editor", "roles/owner"),
    "roles/iam.serviceAccountUser": ("roles/editor", "roles/owner"),
    "roles/storage.objectUser": ("roles/storage.objectAdmin", "roles/storage.admin"),
    "roles/storage.legacyBucketReader": (
        "roles/storage.legacyBucketWriter",
        "roles/storage.legacyBucketOwner",
        "roles/storage.admin",
    ),
}
"""Roles that include a needed one (https://cloud.google.com/iam/docs/roles-permissions)."""


def ask(spec: ModelSpec, cloud: Cloud, tier: tiers.Tier | None, runner: str) -> Iterator[Finding]:
    """Asks Google about everything that a run needs; yields a finding for each answer."""
    credentials = None
    if not cloud.api_endpoint:
        credentials, finding = _credentials(cloud)
        yield finding
        if credentials is None:
            yield from unchecked_findings(cloud, tier, runner)
            return
    apis = GoogleApis(cloud, credentials)
    yield _project(spec, cloud)
    yield from _buckets(spec, cloud)
    yield from image_checks.image_findings(apis, cloud, tier)
    yield image_checks.launcher_finding(apis, cloud)
    yield _roles(apis, runner)
    yield from _hardware(apis, tier)
    yield _quota(cloud)


def unchecked_findings(cloud: Cloud, tier: tiers.Tier | None, runner: str) -> Iterator[Finding]:
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
                image_checks.describe(image),
            )
            for image in image_checks.machines_of(cloud, tier)
        ),
        (
            "launcher",
            f"whether the registry has the launchers' image {cloud.launcher}",
            image_checks.describe(cloud.launcher),
        ),
        ("roles", _roles_sentence(cloud, runner), _policy_command(cloud)),
    ):
        yield Finding(check, "unchecked", sentence, command)
    yield from (_unchecked_hardware(name, kind, cloud) for name, kind in _hardware_of(tier))
    yield _quota(cloud)


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
    roots = [cloud.root]
    try:
        problems = buckets.bucket_problems(roots, cloud.location, cloud.project)
        warnings = buckets.source_warnings(spec.source.uri, cloud.location, cloud.project)
    except BucketError as error:
        yield Finding("buckets", "error", str(error))
        return
    for problem in problems:
        severity: Severity = "unchecked" if problem.unanswered else "error"
        yield Finding("buckets", severity, problem.sentence, problem.command)
    yield from (Finding("source", "warning", warning) for warning in warnings)
    if not problems:
        yield Finding("buckets", "ok", f"{cloud.root} is regional, in {cloud.location}")


def _roles(apis: GoogleApis, runner: str) -> Finding:
    """Checks the service account's roles by the policies of project, account and bucket."""
    cloud = apis.cloud
    [bucket] = buckets.buckets_of([cloud.root])
    account = cloud.service_account
    itself = f"v1/projects/-/serviceAccounts/{account}"
    try:
        policies = (
            (
                f"project {cloud.project}",
                _on_project(runner),
                apis.query("cloudresourcemanager", f"v1/projects/{cloud.project}:getIamPolicy", {}),
                f"gcloud projects add-iam-policy-binding {cloud.project} --condition=None",
            ),
            (
                "itself",
                ACCOUNT_ROLES,
                apis.query("iam", f"{itself}:getIamPolicy", {}),
                f"gcloud iam service-accounts add-iam-policy-binding {account} "
                f"--project={cloud.project}",
            ),
            (
                f"gs://{bucket}",
                BUCKET_ROLES,
                apis.query("storage", f"storage/v1/b/{bucket}/iam"),
                f"gcloud storage buckets add-iam-policy-binding gs://{bucket}",
            ),
        )
    except NoAnswer as error:
        return Finding(
            "roles",
            "unchecked",
            f"{_roles_sentence(cloud, runner)}: {error}",
            _policy_command(cloud),
        )
    if policies[1][2] is None:
        return Finding(
            "roles",
            "error",
            f"there is no account {account}",
            f"gcloud iam service-accounts create {account.split('@')[0]} --project={cloud.project}",
        )
    missing, commands = [], []
    for where, roles, policy, command in policies:
        absent = [role for role in roles if not _has(policy or {}, role, account)]
        missing += [f"{role} on {where}" for role in absent]
        commands += [f"{command} --member=serviceAccount:{account} --role={r}" for r in absent]
    if not missing:
        return Finding("roles", "ok", f"{account} has every role that its steps need")
    return Finding(
        "roles",
        "error",
        f"{account} lacks {', '.join(missing)}, unless a group or a folder gives it",
        "\n".join(commands),
    )


def _has(policy: dict[str, Any], role: str, account: str) -> bool:
    enough = {role, *STRONGER[role]}
    return any(
        binding["role"] in enough and f"serviceAccount:{account}" in binding.get("members", [])
        for binding in policy.get("bindings", [])
    )


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


def _quota(cloud: Cloud) -> Finding:
    """Returns an unchecked finding: no method of Vertex reports a quota before it is used."""
    return Finding(
        "quota",
        "unchecked",
        f"whether your quota of training in {cloud.location} is enough",
        f"open 'https://console.cloud.google.com/iam-admin/quotas?project={cloud.project}' "
        f"and filter by 'Custom model training' and {cloud.location}",
    )


def _on_project(runner: str) -> Sequence[str]:
    return (*PROJECT_ROLES, *RUNNER_ROLES.get(runner, ()))


def _roles_sentence(cloud: Cloud, runner: str) -> str:
    roles = ", ".join(_on_project(runner))
    return (
        f"whether {cloud.service_account} has {roles} on {cloud.project}, and its roles on itself "
        f"and on the bucket (docs/security.md)"
    )


def _policy_command(cloud: Cloud) -> str:
    return (
        f"gcloud projects get-iam-policy {cloud.project} --flatten=bindings "
        f"--filter=bindings.members:{cloud.service_account} --format='value(bindings.role)'"
    )
