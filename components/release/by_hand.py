"""What a person does with an endpoint: look at its traffic, and empty it."""

from __future__ import annotations

from collections.abc import Iterator

from quatrain.components.errors import ReleaseError
from quatrain.components.release.changes import OPERATION_S, undeploy, update
from quatrain.components.release.plan import kept_labels
from quatrain.components.release.service import Service
from quatrain.components.release.state import (
    HELD,
    PREVIOUS,
    VERSION,
    Endpoint,
    find_endpoint,
    running_operations,
)


def open_endpoint(service: Service, endpoint: str | None) -> Endpoint:
    """Returns the endpoint that a spec names.

    Raises:
        ReleaseError: The spec names none, or it does not exist.
    """
    if not endpoint:
        raise ReleaseError(
            "the spec names no release.endpoint; add it, or --set release.endpoint=X"
        )
    found = find_endpoint(service, endpoint)
    if found is None:
        raise ReleaseError(
            f"endpoint {endpoint} does not exist in {service.parent}; make it by `quatrain deploy`"
        )
    return found


def describe(endpoint: Endpoint) -> Iterator[str]:
    """Yields a line for each deployed model, and one for a release that is under way."""
    for id_, deployed in endpoint.deployed.items():
        version = deployed.get("modelVersionId", "?")
        share = endpoint.split.get(id_, 0)
        yield f"{share:3d} %  {id_}  version {version}  {deployed.get('displayName', '')}"
    if not endpoint.deployed:
        yield f"endpoint {endpoint.id} has no deployed model"
    if version := endpoint.labels.get(VERSION):
        how = "is held for more requests" if HELD in endpoint.labels else "is under way"
        yield f"the release of version {version} {how}"


def undeployable(endpoint: Endpoint, everything: bool) -> list[str]:
    """Returns the deployed models that an undeploy removes.

    Args:
        endpoint: The endpoint.
        everything: Whether those with traffic go, too.

    Raises:
        ReleaseError: A release is under way.
    """
    if everything:
        return list(endpoint.deployed)
    if VERSION in endpoint.labels:
        raise ReleaseError(
            f"endpoint {endpoint.id} has a release of version {endpoint.labels[VERSION]} under "
            f"way; end it by `quatrain traffic SPEC --back`, or repeat `quatrain deploy`"
        )
    return [id_ for id_ in endpoint.deployed if id_ not in endpoint.split]


def empty(service: Service, endpoint: Endpoint, everything: bool) -> Iterator[str]:
    """Undeploys models, and yields what was done.

    A call that was cut off may have left an operation, beside which no other can begin.
    """
    if running := running_operations(service, endpoint.id):
        for operation in running:
            name = str(operation["name"]).rpartition("/")[2]
            service.wait(operation, f"wait for operation {name}", OPERATION_S)
        endpoint = open_endpoint(service, endpoint.id)
    gone = undeployable(endpoint, everything)
    if everything and endpoint.deployed:
        labels = {k: v for k, v in kept_labels(endpoint).items() if k != PREVIOUS}
        update(service, endpoint, "take all traffic away", {}, labels)
    for id_ in gone:
        undeploy(service, endpoint.id, id_, f"undeploy {id_}")
        yield f"undeployed {endpoint.deployed[id_].get('displayName', id_)} ({id_})"
