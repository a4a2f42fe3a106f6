"""A small IAM, Compute Engine, KMS, Artifact Registry, BigQuery and Cloud Quotas of a project.

Paths and shapes are those of the REST references (v1 of Resource Manager, IAM, KMS, Artifact
Registry, Pub/Sub, Secret Manager and Cloud Quotas, v2 of BigQuery, the JSON API of Cloud Storage,
v1 of Compute Engine): a policy is `{"bindings": [{"role", "members"}]}`, read by POST or, of KMS,
Artifact Registry, Pub/Sub and Secret Manager, by GET; an aggregated list has an entry for every
zone, with a warning where nothing matches; a QuotaInfo has the values of its regions as text,
without those that are 0
(https://docs.cloud.google.com/docs/quotas/reference/rest/v1/folders.locations.services.quotaInfos).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

NUMBER = "12345"
QUOTAS = r"/v1/projects/[^/]+/locations/global/services/aiplatform\.googleapis\.com/quotaInfos"
_DOCUMENTS = r"/(compute/v1|bigquery/v2|v1/projects/.+/(keyRings|repositories|topics|secrets))/"
_POLICIES = (
    ("POST", r"/v1/(projects/[^/]+):getIamPolicy", "{}"),
    ("POST", r"/v1/projects/-/serviceAccounts/([^/]+):getIamPolicy", "{}"),
    ("POST", r"/bigquery/v2/(projects/.+/tables/[^/]+):getIamPolicy", "{}"),
    (
        "GET",
        r"/v1/(projects/.+/(?:cryptoKeys|repositories|topics|secrets)/[^/]+):getIamPolicy",
        "{}",
    ),
    ("GET", r"/storage/v1/b/([^/]+)/iam", "gs://{}"),
)


class Iam:
    """The policies by their resource, the hardware of each zone, and what else a project has.

    Args:
        policies: Roles by `projects/P`, the account's email, `gs://BUCKET` or a resource's name;
            all are of `member`.
        member: Who has the roles.
        zones: Names of machine types and accelerators by zone.

    Attributes:
        others: Who else has roles: resources, then members, then their roles.
        resources: Documents by the path of their GET, such as networks, keys and datasets.
        quotas: Limits by region, by `ID METRIC` of the quota.
        silent: Policies and documents that these credentials may not read.
    """

    def __init__(
        self,
        policies: Mapping[str, Iterable[str]],
        member: str,
        zones: Mapping[str, Iterable[str]],
    ) -> None:
        self.policies = {name: set(roles) for name, roles in policies.items()}
        self.member, self.zones = member, zones
        self.others: dict[str, dict[str, set[str]]] = {}
        self.resources: dict[str, dict[str, Any]] = {}
        self.quotas: dict[str, dict[str, int]] = {}
        self.silent: set[str] = set()
        self.forbidden = False

    def answer(self, verb: str, target: str) -> tuple[int, Any] | None:
        """Returns the HTTP code and JSON; None where the request belongs to another service."""
        split = urlsplit(target)
        for method, pattern, form in _POLICIES:
            match = re.fullmatch(pattern, split.path)
            if verb == method and match:
                return self._policy(form.format(match[1]))
        if verb != "GET":
            return None
        if match := re.fullmatch(rf"{QUOTAS}(?:/(\w+))?", split.path):
            return self._quota(match[1])
        if match := re.fullmatch(r"/compute/v1/projects/[^/]+/aggregated/(\w+)", split.path):
            return self._aggregated(match[1], parse_qs(split.query)["filter"][0])
        if re.fullmatch(r"/v1/projects/[^/]+", split.path):
            return self._document(split.path, {"projectNumber": NUMBER})
        if re.match(_DOCUMENTS, split.path):
            return self._document(split.path, self.resources.get(split.path))
        return None

    def _document(self, path: str, document: Any) -> tuple[int, Any]:
        if self.forbidden or path in self.silent:
            return _error(403, "PERMISSION_DENIED")
        return (200, document) if document is not None else _error(404, "NOT_FOUND")

    def _quota(self, quota_id: str | None) -> tuple[int, Any]:
        infos = {}
        for name, limits in self.quotas.items():
            known_id, metric = name.split()
            infos[known_id] = {
                "quotaId": known_id,
                "metric": f"aiplatform.googleapis.com/{metric}",
                "dimensions": ["region"],
                "dimensionsInfos": [
                    {
                        "dimensions": {"region": region},
                        "details": {"value": str(limit)} if limit else {},
                        "applicableLocations": [region],
                    }
                    for region, limit in limits.items()
                ],
            }
        if quota_id is None:
            return self._document("quotas", {"quotaInfos": list(infos.values())})
        return self._document("quotas", infos.get(quota_id))

    def _policy(self, name: str) -> tuple[int, Any]:
        if self.forbidden or name in self.silent:
            return _error(403, "PERMISSION_DENIED")
        members = dict(self.others.get(name, {}))
        if name in self.policies:
            members[self.member] = self.policies[name]
        if not members:
            return _error(404, "NOT_FOUND")
        return 200, {
            "bindings": [
                {"role": role, "members": [member]}
                for member, roles in members.items()
                for role in sorted(roles)
            ]
        }

    def _aggregated(self, kind: str, condition: str) -> tuple[int, Any]:
        match = re.fullmatch(r'name="([a-z0-9-]+)"', condition)
        if not match:
            return _error(400, "INVALID_ARGUMENT")
        empty = {"warning": {"code": "NO_RESULTS_ON_PAGE"}}
        items = {
            f"zones/{zone}": {kind: [{"name": match[1]}]} if match[1] in names else empty
            for zone, names in self.zones.items()
        }
        return 200, {"items": items}


def _error(code: int, status: str) -> tuple[int, Any]:
    return code, {"error": {"code": code, "status": status}}
