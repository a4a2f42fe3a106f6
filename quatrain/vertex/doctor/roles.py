"""Asks whether the run's account and Google's service agents have the roles that a run needs.

Each policy is a question of its own: one that may not be asked does not hide the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from quatrain.components import buckets
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.source import DATED, is_table
from quatrain.vertex.checks.findings import Finding
from quatrain.vertex.cloud_file import Cloud
from quatrain.vertex.doctor.resources import TEMPLATES, repository_of
from quatrain.vertex.google_apis import GoogleApis, NoAnswer

PROJECT_ROLES = ("roles/aiplatform.user", "roles/logging.logWriter")
RELEASE_ROLES = ("roles/monitoring.viewer",)
"""What the run's account needs besides if the spec has a release: what Cloud Monitoring counted
(`monitoring.timeSeries.list`). Models and endpoints are in roles/aiplatform.user."""
ACCOUNT_ROLES = ("roles/iam.serviceAccountUser",)
BUCKET_ROLES = ("roles/storage.objectUser", "roles/storage.legacyBucketReader")
"""What the run's service account needs on the project, on itself and on the bucket of the runs."""

RUNNER_ROLES = {"dataflow": ("roles/dataflow.developer", "roles/dataflow.worker")}
"""Further roles on the project, by the runner: the first launches a job, the second is for its
workers."""

SOURCE_ROLE = "roles/storage.objectViewer"
READ_SESSION = "roles/bigquery.readSessionUser"
TABLE_ROLE = "roles/bigquery.dataViewer"
DATASET_ROLE, LOAD_ROLE = "roles/bigquery.dataEditor", "roles/bigquery.jobUser"
"""What loads predictions into a table: the first makes and writes it, the second runs the job."""
REPOSITORY_ROLE = "roles/artifactregistry.reader"
KEY_ROLE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
ATTACHMENT_ROLE = "roles/compute.networkAdmin"
TOPIC_ROLE, SECRET_ROLE = "roles/pubsub.publisher", "roles/secretmanager.secretAccessor"

_BASIC = ("roles/editor", "roles/owner")
STRONGER = {
    "roles/dataflow.developer": ("roles/dataflow.admin", *_BASIC),
    "roles/dataflow.worker": (),
    "roles/aiplatform.user": ("roles/aiplatform.admin", *_BASIC),
    "roles/logging.logWriter": ("roles/logging.admin", *_BASIC),
    "roles/monitoring.viewer": (
        "roles/monitoring.editor",
        "roles/monitoring.admin",
        "roles/viewer",
        *_BASIC,
    ),
    "roles/iam.serviceAccountUser": _BASIC,
    "roles/storage.objectUser": ("roles/storage.objectAdmin", "roles/storage.admin"),
    "roles/storage.legacyBucketReader": (
        "roles/storage.legacyBucketWriter",
        "roles/storage.legacyBucketOwner",
        "roles/storage.admin",
    ),
    SOURCE_ROLE: (
        "roles/storage.objectUser",
        "roles/storage.objectAdmin",
        "roles/storage.admin",
    ),
    READ_SESSION: ("roles/bigquery.user", "roles/bigquery.admin", *_BASIC),
    TABLE_ROLE: (
        "READER",
        "WRITER",
        "OWNER",
        "roles/bigquery.dataEditor",
        "roles/bigquery.dataOwner",
        "roles/bigquery.admin",
        "roles/viewer",
        *_BASIC,
    ),
    DATASET_ROLE: ("WRITER", "OWNER", "roles/bigquery.dataOwner", "roles/bigquery.admin", *_BASIC),
    LOAD_ROLE: ("roles/bigquery.user", "roles/bigquery.admin", *_BASIC),
    REPOSITORY_ROLE: (
        "roles/artifactregistry.writer",
        "roles/artifactregistry.repoAdmin",
        "roles/artifactregistry.admin",
        "roles/viewer",
        *_BASIC,
    ),
    KEY_ROLE: (),
    ATTACHMENT_ROLE: ("roles/compute.admin", *_BASIC),
    TOPIC_ROLE: ("roles/pubsub.editor", "roles/pubsub.admin", *_BASIC),
    SECRET_ROLE: ("roles/secretmanager.admin", "roles/owner"),
}
"""Roles that include a needed one (https://cloud.google.com/iam/docs/roles-permissions). READER,
WRITER and OWNER are those of a dataset
(https://cloud.google.com/bigquery/docs/access-control-basic-roles#dataset-basic-roles)."""

AGENTS = ("gcp-sa-aiplatform", "gcp-sa-aiplatform-cc")
"""The agents of Vertex AI, and of its custom code, which pull the images."""

_IMAGE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/@:]+)/.*")


@dataclass(frozen=True)
class Policy:
    """A policy, or a dataset's list of who may what.

    Attributes:
        where: Whose policy it is, as a message says it.
        service: The first word of the service's host.
        path: The path of its question.
        is_post: Whether the question is a POST.
    """

    where: str
    service: str
    path: str
    is_post: bool = True


@dataclass(frozen=True)
class Grant:
    """Roles that somebody needs.

    Attributes:
        member: Who needs them, in IAM's form; empty if the project's number is not known.
        roles: The roles.
        policies: Where one of them may stand; the message names the first.
        command: The command that gives one, without the member and the role; or with {member} and
            {role} in it.
        look: The command that shows who has what; by default it follows from `command`.
    """

    member: str
    roles: tuple[str, ...]
    policies: tuple[Policy, ...]
    command: str
    look: str = ""

    def command_for(self, role: str) -> str:
        """Returns the command that gives a role."""
        if "{role}" in self.command:
            return self.command.format(member=self.member, role=role)
        return f"{self.command} --member={self.member} --role={role}"


def findings(apis: GoogleApis, spec: ModelSpec, runner: str) -> Iterator[Finding]:
    """Yields what the run's account and the agents lack, and the policies that did not answer."""
    cloud = apis.cloud
    answers: dict[Policy, dict[str, Any] | None] = {}
    silent: dict[Policy, str] = {}
    number = _number(apis)
    needed = list(grants(spec, cloud, runner, number))
    for policy in dict.fromkeys(p for grant in needed for p in grant.policies):
        try:
            body: dict[str, Any] | None = {} if policy.is_post else None
            answers[policy] = apis.query(policy.service, policy.path, body)
        except NoAnswer as error:
            silent[policy] = str(error)
    itself = _itself(cloud.service_account)
    if itself in answers and answers[itself] is None:
        name = cloud.service_account.split("@")[0]
        yield Finding(
            "roles",
            "error",
            f"there is no account {cloud.service_account}",
            f"gcloud iam service-accounts create {name} --project={cloud.project}",
        )
        return
    missing: dict[str, list[str]] = {}
    commands, unanswered = [], []
    for grant in needed:
        held = {r for p in grant.policies for r in _held(answers.get(p), grant.member)}
        absent = [role for role in grant.roles if not held & {role, *STRONGER[role]}]
        gaps = [silent[p] for p in grant.policies if p in silent]
        if absent and (gaps or not grant.member):
            why = gaps[0] if gaps else f"the number of project {cloud.project} is not known"
            unanswered.append((grant, why))
        elif absent:
            where = grant.policies[0].where
            missing.setdefault(grant.member, []).extend(f"{role} on {where}" for role in absent)
            commands += [grant.command_for(r) for r in absent]
    for grant, why in unanswered:
        yield _unanswered(grant, cloud, why)
    if missing:
        lacks = [f"{m.partition(':')[2]} lacks {', '.join(what)}" for m, what in missing.items()]
        sentence = f"{'; '.join(lacks)}, unless a group or a folder gives it"
        yield Finding("roles", "error", sentence, "\n".join(commands))
    elif not unanswered:
        yield Finding("roles", "ok", f"{cloud.service_account} has every role that its steps need")


def grants(spec: ModelSpec, cloud: Cloud, runner: str, number: str) -> Iterator[Grant]:
    """Yields the roles that a run needs.

    Args:
        spec: The spec, for its source.
        cloud: The settings.
        runner: Where Beam runs.
        number: The number of the project, by which its agents are named; may be empty.
    """
    account = f"serviceAccount:{cloud.service_account}"
    project = _project(cloud.project)
    [bucket] = buckets.buckets_of([cloud.root])
    yield Grant(account, _project_roles(spec, runner), (project,), _project_command(cloud.project))
    yield Grant(
        account,
        ACCOUNT_ROLES,
        (_itself(cloud.service_account),),
        f"gcloud iam service-accounts add-iam-policy-binding {cloud.service_account} "
        f"--project={cloud.project}",
    )
    yield Grant(account, BUCKET_ROLES, (_bucket(bucket), project), _bucket_command(bucket))
    yield from _source_grants(spec, cloud, account, bucket)
    yield from _prediction_grants(spec, cloud, account)
    yield from _log_grants(spec, cloud, account, number)
    yield from _repository_grants(cloud, account, runner, number)
    yield from _notice_grants(cloud, account)
    if cloud.encryption_key:
        key = Policy("the key", "cloudkms", f"v1/{cloud.encryption_key}:getIamPolicy", False)
        command = f"gcloud kms keys add-iam-policy-binding {cloud.encryption_key}"
        for agent in ("gcp-sa-aiplatform", "gs-project-accounts"):
            yield Grant(_agent(agent, number), (KEY_ROLE,), (key,), command)
    if cloud.psc_interface:
        host = cloud.psc_interface.split("/")[1]
        member = _agent("gcp-sa-aiplatform", number)
        yield Grant(member, (ATTACHMENT_ROLE,), (_project(host),), _project_command(host))


def _project_roles(spec: ModelSpec, runner: str) -> tuple[str, ...]:
    """Returns what the run's account needs on the project."""
    of_release = RELEASE_ROLES if spec.release and spec.release.endpoint else ()
    return (*PROJECT_ROLES, *RUNNER_ROLES.get(runner, ()), *of_release)


def _source_grants(spec: ModelSpec, cloud: Cloud, account: str, root: str) -> Iterator[Grant]:
    """Yields what the run's account needs to read the source."""
    for uri in spec.source.uri:
        if is_table(uri):
            project, dataset, table = DATED.sub("x", uri).removeprefix("bq://").split(".", 2)
            path = f"bigquery/v2/projects/{project}/datasets/{dataset}"
            places = [Policy(uri, "bigquery", f"{path}/tables/{table}:getIamPolicy")]
            places += [Policy(f"dataset {dataset}", "bigquery", path, False), _project(project)]
            if DATED.search(uri):  # the tables of the days have other names
                places = [*places[1:2], places[2]]
            yield Grant(
                account,
                (READ_SESSION,),
                (_project(cloud.project),),
                _project_command(cloud.project),
            )
            command = f"bq add-iam-policy-binding {project}:{dataset}.{table}"
            yield Grant(account, (TABLE_ROLE,), tuple(places), command)
    for bucket in buckets.buckets_of(spec.source.uri):
        if bucket != root:
            either = (_bucket(bucket), _project(cloud.project))
            yield Grant(account, (SOURCE_ROLE,), either, _bucket_command(bucket))


def _prediction_grants(spec: ModelSpec, cloud: Cloud, account: str) -> Iterator[Grant]:
    """Yields what the run's account needs to load predictions into a table."""
    if not (spec.predict and spec.predict.table):
        return
    jobs = _project(cloud.project)
    yield Grant(account, (LOAD_ROLE,), (jobs,), _project_command(cloud.project))
    yield _dataset_grant(account, DATASET_ROLE, spec.predict.table, cloud)


def _log_grants(spec: ModelSpec, cloud: Cloud, account: str, number: str) -> Iterator[Grant]:
    """Yields what the run's account needs to read a request log, and Vertex AI to write it.

    In its own project, Vertex AI makes even the dataset of a log that names none
    (PredictRequestResponseLoggingConfig.bigquery_destination in google.cloud.aiplatform_v1).
    """
    if not (spec.release and spec.release.log and spec.release.log.is_table):
        return
    uri, reads = spec.release.log.uri, _project(cloud.project)
    yield Grant(account, (READ_SESSION,), (reads,), _project_command(cloud.project))
    yield _dataset_grant(account, TABLE_ROLE, uri, cloud)
    if uri.removeprefix("bq://").split(".")[0] != cloud.project:
        yield _dataset_grant(_agent(AGENTS[0], number), DATASET_ROLE, uri, cloud)


def _dataset_grant(member: str, role: str, table: str, cloud: Cloud) -> Grant:
    """Returns a role on the dataset of a table that may not be there yet."""
    project, dataset, _ = table.removeprefix("bq://").split(".", 2)
    path = f"bigquery/v2/projects/{project}/datasets/{dataset}"
    places = (Policy(f"dataset {project}.{dataset}", "bigquery", path, False), _project(project))
    grant = (
        f"bq query --project_id={cloud.project} --use_legacy_sql=false "
        f"'GRANT `{{role}}` ON SCHEMA `{project}.{dataset}` TO \"{{member}}\"'"
    )
    return Grant(member, (role,), places, grant, f"bq show --format=prettyjson {project}:{dataset}")


def _notice_grants(cloud: Cloud, account: str) -> Iterator[Grant]:
    """Yields what the run's account needs to send a notice of how the run ended."""
    if cloud.notify and (topic := cloud.notify.pubsub):
        _, project, _, name = topic.split("/")
        policy = Policy(f"topic {name}", "pubsub", f"v1/{topic}:getIamPolicy", False)
        command = f"gcloud pubsub topics add-iam-policy-binding {name} --project={project}"
        yield Grant(account, (TOPIC_ROLE,), (policy, _project(project)), command)
    if cloud.notify and (version := cloud.notify.secret):
        secret = version.partition("/versions/")[0]
        _, project, _, name = secret.split("/")
        policy = Policy(f"secret {name}", "secretmanager", f"v1/{secret}:getIamPolicy", False)
        command = f"gcloud secrets add-iam-policy-binding {name} --project={project}"
        yield Grant(account, (SECRET_ROLE,), (policy, _project(project)), command)


def _repository_grants(cloud: Cloud, account: str, runner: str, number: str) -> Iterator[Grant]:
    """Yields who must be able to read the repositories of the images and of the templates."""
    repositories: dict[tuple[str, str, str], list[str]] = {}
    for image in cloud.image.all.values():
        if match := _IMAGE.fullmatch(image):
            location, project, name = match.groups()
            who = repositories.setdefault((location, project, name), [])
            if project != cloud.project:  # in their own project, the agents may read all
                who += [_agent(agent, number) for agent in AGENTS]
            if runner == "dataflow":  # whose workers pull the image as the run's account
                who.append(account)
    if cloud.registry and (match := TEMPLATES.fullmatch(cloud.registry)):
        location, project, name = match.groups()
        repositories.setdefault((location, project, name), []).append(account)
    for (location, project, name), members in repositories.items():
        path = f"{repository_of(location, project, name)}:getIamPolicy"
        policy = Policy(f"repository {project}/{name}", "artifactregistry", path, False)
        command = (
            f"gcloud artifacts repositories add-iam-policy-binding {name} --location={location} "
            f"--project={project}"
        )
        for member in dict.fromkeys(members):
            yield Grant(member, (REPOSITORY_ROLE,), (policy, _project(project)), command)


def unchecked(spec: ModelSpec, cloud: Cloud, runner: str) -> Finding:
    """Returns an unchecked finding on all roles, for where nothing is asked."""
    roles = ", ".join(_project_roles(spec, runner))
    places = dict.fromkeys(
        grant.policies[0].where for grant in list(grants(spec, cloud, runner, ""))[1:]
    )
    return Finding(
        "roles",
        "unchecked",
        f"whether {cloud.service_account} has {roles} on {cloud.project}, and its and the agents' "
        f"roles on {', '.join(places)} (docs/security.md)",
        _look(cloud),
    )


def _unanswered(grant: Grant, cloud: Cloud, why: str) -> Finding:
    who = grant.member.partition(":")[2] or "the service agents"
    return Finding(
        "roles",
        "unchecked",
        f"whether {who} has {', '.join(grant.roles)} on {grant.policies[0].where}: {why}",
        _look(cloud)
        if grant.policies[0] == _project(cloud.project)
        else grant.look or _show(grant.command),
    )


def _look(cloud: Cloud) -> str:
    return (
        f"gcloud projects get-iam-policy {cloud.project} --flatten=bindings "
        f"--filter=bindings.members:{cloud.service_account} --format='value(bindings.role)'"
    )


def _show(command: str) -> str:
    """Returns the command that shows a policy, from the one that adds to it."""
    shown = command.replace("add-iam-policy-binding", "get-iam-policy")
    return shown.replace(" --condition=None", "")


def _held(policy: dict[str, Any] | None, member: str) -> Iterator[str]:
    """Yields the roles of a member in a policy, or in a dataset's list of who may what."""
    for binding in (policy or {}).get("bindings", []):
        if member in binding.get("members", []):
            yield binding["role"]
    for entry in (policy or {}).get("access", []):
        if entry.get("userByEmail") == member.partition(":")[2] or entry.get("iamMember") == member:
            yield entry.get("role", "")


def _number(apis: GoogleApis) -> str:
    try:
        answer = apis.query("cloudresourcemanager", f"v1/projects/{apis.cloud.project}")
    except NoAnswer:
        return ""
    return str((answer or {}).get("projectNumber", ""))


def _agent(name: str, number: str) -> str:
    return f"serviceAccount:service-{number}@{name}.iam.gserviceaccount.com" if number else ""


def _project(project: str) -> Policy:
    path = f"v1/projects/{project}:getIamPolicy"
    return Policy(f"project {project}", "cloudresourcemanager", path)


def _itself(account: str) -> Policy:
    return Policy("itself", "iam", f"v1/projects/-/serviceAccounts/{account}:getIamPolicy")


def _bucket(bucket: str) -> Policy:
    return Policy(f"gs://{bucket}", "storage", f"storage/v1/b/{bucket}/iam", False)


def _project_command(project: str) -> str:
    return f"gcloud projects add-iam-policy-binding {project} --condition=None"


def _bucket_command(bucket: str) -> str:
    return f"gcloud storage buckets add-iam-policy-binding gs://{bucket}"
