"""The calls that change an endpoint or an alias, each of them once."""

from __future__ import annotations

from quatrain.components.release.candidate import ALIAS
from quatrain.components.release.service import Service
from quatrain.components.release.state import LOG, Endpoint

OPERATION_S = 1_800.0
"""How long an operation other than a deployment may take."""


def update(
    service: Service,
    endpoint: Endpoint,
    what: str,
    split: object = None,
    labels: object = None,
    log: object = None,
) -> None:
    """Changes an endpoint in one call, unless it was changed meanwhile.

    Args:
        service: The service.
        endpoint: The endpoint as it was read.
        what: The change in words.
        split: Its traffic afterwards; None to leave it.
        labels: Its labels afterwards; None to leave them.
        log: How its requests are logged afterwards; None to leave that.
    """
    body = {"etag": endpoint.resource.get("etag", "")}
    changes = {"trafficSplit": split, "labels": labels, LOG: log}
    body |= {key: value for key, value in changes.items() if value is not None}
    mask = ",".join(key for key, value in changes.items() if value is not None)
    service.send("PATCH", f"endpoints/{endpoint.id}", what, body, updateMask=mask)


def undeploy(service: Service, endpoint: str, id_: str, what: str) -> None:
    """Undeploys a deployed model that has no traffic."""
    path = f"endpoints/{endpoint}:undeployModel"
    operation = service.send("POST", path, what, {"deployedModelId": id_})
    service.wait(operation, what, OPERATION_S)


def give_alias(service: Service, name: str, version: str, what: str) -> None:
    """Moves the aliases of the champion and of the default version to a version."""
    path = f"models/{name}@{version}:mergeVersionAliases"
    service.send("POST", path, what, {"versionAliases": [ALIAS, "default"]})
