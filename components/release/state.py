"""What exists at Vertex AI of a model and its endpoint, and what an endpoint's labels say of it.

Nothing is remembered elsewhere. The endpoint's labels hold a release that is under way, and each is
written in one call with the traffic that it goes with, so that a process that was killed between
any two calls leaves a state from which the next one goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quatrain.components.release.candidate import Candidate
from quatrain.components.release.service import Service

OWNER = "quatrain"
VERSION = "release"
"""The version whose release is under way."""
CLAIMED, SINCE = "release-claimed", "release-since"
"""When the release began and when its traffic moved last, in seconds since 1970."""
SHARE = "release-share"
"""The share of the traffic that the release has given to the new version, in percent."""
PROVED, HELD = "release-proved", "release-held"
"""Whether the golden rows were answered, and whether the release waits for more requests."""
BEFORE = "release-before"
"""The deployed model that had all the traffic when the release began."""
PREVIOUS = "release-previous"
"""The deployed model that stays without traffic, to be gone back to."""
RETIRED = "release-retired"
"""The deployed model that has lost its traffic and is to be undeployed."""
BACK = "release-back"
"""The deployed model that a person has gone back to, so that doing it again changes nothing."""
LEFT = "release-left"
"""The version that a person has gone back from, which only a person releases anew."""
NONE = "none"
LOG = "predictRequestResponseLoggingConfig"
"""The field of an endpoint that says where its requests are logged."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as `endpoints.get` returns it."""

    resource: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The last part of its name."""
        return str(self.resource["name"]).rpartition("/")[2]

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return dict(self.resource.get("labels", {}))

    @property
    def split(self) -> dict[str, int]:
        """The share of each deployed model that gets requests, in percent."""
        split = self.resource.get("trafficSplit", {}).items()
        return {id_: int(share) for id_, share in split if int(share)}

    @property
    def log(self) -> Mapping[str, Any]:
        """How its requests are logged."""
        return dict(self.resource.get(LOG, {}))

    def with_log(self, log: Mapping[str, Any]) -> Endpoint:
        """Returns it as it is once its requests are logged in another way."""
        return Endpoint({**self.resource, LOG: log})

    @property
    def deployed(self) -> dict[str, Mapping[str, Any]]:
        """The deployed models by their ids."""
        return {str(d["id"]): d for d in self.resource.get("deployedModels", [])}

    @property
    def before(self) -> str:
        """The deployed model that had all the traffic before the release; empty for none."""
        id_ = self.labels.get(BEFORE, NONE)
        return "" if id_ == NONE else id_

    @property
    def leading(self) -> str:
        """The deployed model with the largest share of the traffic; empty if none has any."""
        return max(self.split, key=lambda id_: (self.split[id_], id_), default="")

    def version_of(self, id_: str, model: str) -> str:
        """Returns the version of a model that a deployed model is of; empty for another's."""
        of = self.deployed.get(id_, {})
        if str(of.get("model", "")).rpartition("/")[2].partition("@")[0] != model:
            return ""
        return str(of.get("modelVersionId", ""))

    def new_id(self, version: str) -> str:
        """Returns the id that the version gets when it is deployed by the release under way.

        It follows from the labels, so that a call that is repeated cannot deploy it twice.
        """
        text = f"{self.id}:{version}:{self.labels[CLAIMED]}"
        return str(10**9 + int(hashlib.sha256(text.encode()).hexdigest(), 16) % (9 * 10**9))


@dataclass(frozen=True)
class Actual:
    """What exists of a candidate.

    Attributes:
        versions: The ids of the versions with its digest and image, the oldest first.
        others: The ids of the model's other versions.
        is_alias: Whether the first of them has the alias of the champion.
        is_foreign: Whether the model was not made by Quatrain.
        exists: Whether the model has any version.
        is_evaluated: Whether the metrics of its run were imported.
        endpoint: The endpoint, if it exists.
        running: The long operations of the endpoint that have not ended.
    """

    versions: tuple[str, ...]
    others: tuple[str, ...]
    is_alias: bool
    is_foreign: bool
    exists: bool
    is_evaluated: bool
    endpoint: Endpoint | None
    running: tuple[Mapping[str, Any], ...]

    @property
    def version(self) -> str:
        """The version that is released; empty before it is registered."""
        return self.versions[0] if self.versions else ""


def observe(service: Service, candidate: Candidate, endpoint: str, alias: str) -> Actual:
    """Reads what exists of a candidate.

    Args:
        service: The service.
        candidate: The model.
        endpoint: The id of the endpoint; empty for none.
        alias: The alias of the champion.
    """
    name = candidate.name
    versions = list_versions(service, name)
    wanted = {key: candidate.labels.get(key) for key in ("metadata", "image")}
    ours = [v for v in versions if wanted == {key: v.get("labels", {}).get(key) for key in wanted}]
    ids = tuple(str(v["versionId"]) for v in ours)
    is_evaluated = False
    if ids:
        path = f"models/{name}@{ids[0]}/evaluations"
        title = candidate.evaluation["modelEvaluation"]["displayName"]
        of = service.pages(path, "modelEvaluations", f"list evaluations of {name}@{ids[0]}")
        is_evaluated = any(e.get("displayName") == title for e in of)
    return Actual(
        ids,
        tuple(str(v["versionId"]) for v in versions if v not in ours),
        bool(ours) and alias in ours[0].get("versionAliases", []),
        bool(versions) and all(v.get("labels", {}).get(OWNER) != name for v in versions),
        bool(versions),
        is_evaluated,
        find_endpoint(service, endpoint) if endpoint else None,
        running_operations(service, endpoint) if endpoint else (),
    )


def list_versions(service: Service, name: str) -> list[Mapping[str, Any]]:
    """Returns the versions of a model, the oldest first; none if the model does not exist."""
    if service.find(f"models/{name}", f"read model {name}") is None:
        return []
    pages = service.pages(f"models/{name}:listVersions", "models", f"list versions of {name}")
    return sorted(pages, key=lambda v: int(v["versionId"]))


def endpoints_of(service: Service, name: str) -> list[Endpoint]:
    """Returns the endpoints that a release has given to a model, by their ids."""
    pages = service.pages("endpoints", "endpoints", "list endpoints")
    found = (Endpoint(resource) for resource in pages)
    return sorted((e for e in found if e.labels.get(OWNER) == name), key=lambda e: e.id)


def find_endpoint(service: Service, endpoint: str) -> Endpoint | None:
    """Returns an endpoint, or None if there is none."""
    resource = service.find(f"endpoints/{endpoint}", f"read endpoint {endpoint}")
    return Endpoint(resource) if resource is not None else None


def running_operations(service: Service, endpoint: str) -> tuple[Mapping[str, Any], ...]:
    """Returns the long operations of an endpoint that have not ended."""
    path, what = f"endpoints/{endpoint}/operations", f"list operations of endpoint {endpoint}"
    found = service.find(path, what) or {}
    return tuple(o for o in found.get("operations", []) if not o.get("done"))
