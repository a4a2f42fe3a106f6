"""Asks whether the network, key, registry and tables that the settings name exist and are fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.source import DATED, is_table
from quatrain.vertex.checks.findings import Finding
from quatrain.vertex.cloud_file import Cloud, Notify
from quatrain.vertex.google_apis import GoogleApis, NoAnswer

TEMPLATES = re.compile(r"https://([a-z0-9-]+)-kfp\.pkg\.dev/([^/]+)/([^/]+)")
"""A repository of templates at Google: its location, project and name."""

Problem = tuple[str, str]
"""What is wrong with a resource, and the command that mends it."""


@dataclass(frozen=True)
class Resource:
    """A resource that a run needs, and how to ask for it.

    Attributes:
        check: What it is, in a word.
        name: Its name.
        service: The first word of the service's host.
        path: The path of its GET.
        creation: The command that makes it.
        look: The command that shows it.
        problem: Returns what is wrong with it.
    """

    check: str
    name: str
    service: str
    path: str
    creation: str
    look: str
    problem: Callable[[Mapping[str, Any]], Problem | None] = lambda _: None


def findings(
    apis: GoogleApis, spec: ModelSpec, runner: str, options: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yields a finding on each resource that the settings, spec or runner's options name."""
    for resource in resources(apis.cloud, spec, runner, options):
        try:
            answer = apis.query(resource.service, resource.path)
        except NoAnswer as error:
            finding = unchecked(resource)
            yield Finding(resource.check, "unchecked", f"{finding.sentence}: {error}", finding.fix)
            continue
        if answer is None:
            sentence = f"there is no {resource.check} {resource.name}"
            yield Finding(resource.check, "error", sentence, resource.creation)
        elif problem := resource.problem(answer):
            yield Finding(resource.check, "error", *problem)
        else:
            yield Finding(resource.check, "ok", f"{resource.name} is there")


def unchecked(resource: Resource) -> Finding:
    """Returns an unchecked finding on a resource."""
    sentence = f"whether {resource.name} exists and is fit"
    return Finding(resource.check, "unchecked", sentence, resource.look)


def resources(
    cloud: Cloud, spec: ModelSpec, runner: str, options: Mapping[str, Any]
) -> Iterator[Resource]:
    """Yields what the settings, the spec and the runner's options name."""
    if cloud.network:
        yield _network(cloud.network)
    if cloud.psc_interface:
        yield _attachment(cloud.psc_interface)
    if cloud.encryption_key:
        yield _key(cloud.encryption_key)
    if cloud.registry and (match := TEMPLATES.fullmatch(cloud.registry)):
        yield _templates(*match.groups())
    if cloud.notify:
        yield from _of_notices(cloud.notify)
    yield from _of_tables(spec, cloud.location)
    if runner == "dataflow" and str(options.get("use_public_ips")).lower() != "true":
        yield _subnetwork(cloud, options)


def _of_tables(spec: ModelSpec, region: str) -> Iterator[Resource]:
    """Yields the datasets of the source, of the request log, and of the table of predictions."""
    for uri in spec.source.uri:
        if is_table(uri):
            yield _dataset(uri)
    if spec.release and spec.release.log and spec.release.log.is_table:
        log = _dataset(spec.release.log.uri)
        name = log.name.replace(".", ":")
        yield replace(log, creation=f"bq mk --location={region} {name}")
    if spec.predict and spec.predict.table:
        yield _prediction_dataset(spec.predict.table, region)


def repository_of(location: str, project: str, name: str) -> str:
    """Returns the path of a repository of Artifact Registry."""
    return f"v1/projects/{project}/locations/{location}/repositories/{name}"


def _network(name: str) -> Resource:
    _, project, _, _, short = name.split("/")
    named = f"{short} --project={project}"

    def problem(network: Mapping[str, Any]) -> Problem | None:
        peerings = {peering.get("name"): peering for peering in network.get("peerings", [])}
        if peerings.get("servicenetworking-googleapis-com", {}).get("state") == "ACTIVE":
            return None
        return (
            f"network {name} has no active peering with Google's services, through which Vertex AI "
            f"would reach it",
            f"gcloud services vpc-peerings connect --service=servicenetworking.googleapis.com "
            f"--network={short} --ranges=RANGE --project={project}",
        )

    return Resource(
        "network",
        name,
        "compute",
        f"compute/v1/{name}",
        f"gcloud compute networks create {named}",
        f"gcloud compute networks describe {named}",
        problem,
    )


def _attachment(name: str) -> Resource:
    _, project, _, region, _, short = name.split("/")
    named = f"{short} --region={region} --project={project}"
    return Resource(
        "attachment",
        name,
        "compute",
        f"compute/v1/{name}",
        f"gcloud compute network-attachments create {named} "
        f"--connection-preference=ACCEPT_AUTOMATIC --subnets=SUBNET",
        f"gcloud compute network-attachments describe {named}",
    )


def _key(name: str) -> Resource:
    _, project, _, location, _, ring, _, short = name.split("/")
    named = f"{short} --keyring={ring} --location={location} --project={project}"

    def problem(key: Mapping[str, Any]) -> Problem | None:
        state = key.get("primary", {}).get("state", "absent")
        if state == "ENABLED":
            return None
        return (
            f"the primary version of key {name} is {state.lower()}, so nothing can be encrypted",
            f"gcloud kms keys versions list --key={short} --keyring={ring} --location={location} "
            f"--project={project}",
        )

    return Resource(
        "key",
        name,
        "cloudkms",
        f"v1/{name}",
        f"gcloud kms keys create {named} --purpose=encryption",
        f"gcloud kms keys describe {named}",
        problem,
    )


def _templates(location: str, project: str, name: str) -> Resource:
    named = f"{name} --location={location} --project={project}"

    def problem(repository: Mapping[str, Any]) -> Problem | None:
        kind = repository.get("format")
        if kind == "KFP":
            return None
        return (
            f"registry {name} is a repository of format {kind}, which takes no templates",
            f"gcloud artifacts repositories create {name}-templates --repository-format=kfp "
            f"--location={location} --project={project}",
        )

    return Resource(
        "registry",
        f"{location}/{project}/{name}",
        "artifactregistry",
        repository_of(location, project, name),
        f"gcloud artifacts repositories create {named} --repository-format=kfp",
        f"gcloud artifacts repositories describe {named}",
        problem,
    )


def _of_notices(notify: Notify) -> Iterator[Resource]:
    if notify.pubsub:
        yield _topic(notify.pubsub)
    if notify.secret:
        yield _secret_version(notify.secret)


def _topic(name: str) -> Resource:
    _, project, _, short = name.split("/")
    named = f"{short} --project={project}"
    return Resource(
        "topic",
        name,
        "pubsub",
        f"v1/{name}",
        f"gcloud pubsub topics create {named}",
        f"gcloud pubsub topics describe {named}",
    )


def _secret_version(name: str) -> Resource:
    """Returns the version of a secret, of which only the state is read, never what it holds."""
    _, project, _, secret, _, version = name.split("/")
    named = f"--secret={secret} --project={project}"
    creation = f"gcloud secrets versions add {secret} --project={project} --data-file=FILE"

    def problem(document: Mapping[str, Any]) -> Problem | None:
        state = str(document.get("state", "absent"))
        if state == "ENABLED":
            return None
        return f"{name} is {state.lower()}, so no notice can be sent to its address", creation

    return Resource(
        "secret",
        name,
        "secretmanager",
        f"v1/{name}",
        f"gcloud secrets create {secret} --project={project}\n{creation}",
        f"gcloud secrets versions describe {version} {named}",
        problem,
    )


def _dataset(uri: str) -> Resource:
    project, dataset, _ = DATED.sub("x", uri).removeprefix("bq://").split(".", 2)
    return Resource(
        "dataset",
        f"{project}.{dataset}",
        "bigquery",
        f"bigquery/v2/projects/{project}/datasets/{dataset}",
        f"bq ls --project_id={project}",
        f"bq show {project}:{dataset}",
    )


def _prediction_dataset(uri: str, region: str) -> Resource:
    """Returns the dataset of the table that predictions are loaded into, from a bucket."""
    project, dataset, _ = uri.removeprefix("bq://").split(".", 2)
    create = f"bq mk --location={region} {project}:{dataset}"

    def problem(answer: Mapping[str, Any]) -> Problem | None:
        location = str(answer.get("location", "")).lower()
        if location in (region, "us") or (location == "eu" and region.startswith("europe-")):
            return None  # https://cloud.google.com/bigquery/docs/batch-loading-data#data-locations
        return (
            f"dataset {project}.{dataset} is in {location or 'no known place'}, and predictions "
            f"are loaded into it from a bucket in {region}, which BigQuery refuses",
            create,
        )

    return replace(_dataset(uri), creation=create, problem=problem)


def _subnetwork(cloud: Cloud, options: Mapping[str, Any]) -> Resource:
    """Returns the subnetwork of Dataflow's workers; by default, that of the network's name."""
    named = str(options.get("subnetwork") or options.get("network") or "default")
    match = re.search(r"(?:projects/([^/]+)/)?regions/([^/]+)/subnetworks/([^/]+)$", named)
    project, region, short = match.groups() if match else (None, None, named.rpartition("/")[2])
    project, region = project or cloud.project, region or cloud.location
    where = f"{short} --region={region} --project={project}"

    def problem(subnetwork: Mapping[str, Any]) -> Problem | None:
        if subnetwork.get("privateIpGoogleAccess"):
            return None
        return (
            f"subnetwork {short} of {region} has no Private Google Access, without which the "
            f"workers of Dataflow, which have no public addresses, reach nothing and hang",
            f"gcloud compute networks subnets update {where} --enable-private-ip-google-access",
        )

    return Resource(
        "subnetwork",
        f"projects/{project}/regions/{region}/subnetworks/{short}",
        "compute",
        f"compute/v1/projects/{project}/regions/{region}/subnetworks/{short}",
        f"gcloud compute networks subnets create {where} --network=default --range=10.8.0.0/20 "
        f"--enable-private-ip-google-access\nname it as runner_options.subnetwork: "
        f"regions/{region}/subnetworks/{short}",
        f"gcloud compute networks subnets describe {where} --format='value(privateIpGoogleAccess)'",
        problem,
    )
