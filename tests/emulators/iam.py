"""A small IAM and Compute Engine: the policies, machines and accelerators of a project.

Paths and shapes are those of the REST references (v1 of Resource Manager and IAM, the JSON API of
Cloud Storage, v1 of Compute Engine): a policy is `{"bindings": [{"role", "members"}]}`; an
aggregated list has an entry for every zone, with a warning where nothing matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Iam:
    """The policies by their resource, and the hardware of each zone.

    Args:
        policies: Roles by `projects/P`, the account's email or `gs://BUCKET`; all are of `member`.
        member: Who has the roles.
        zones: Names of machine types and accelerators by zone.
    """

    def __init__(
        self,
        policies: Mapping[str, Iterable[str]],
        member: str,
        zones: Mapping[str, Iterable[str]],
    ) -> None:
        self.policies = {name: set(roles) for name, roles in policies.items()}
        self.member, self.zones = member, zones
        self.forbidden = False

    def answer(self, verb: str, target: str) -> tuple[int, Any] | None:
        """Returns the HTTP code and JSON; None where the request belongs to another service."""
        split = urlsplit(target)
        for method, pattern, form in (
            ("POST", r"/v1/(projects/[^/]+):getIamPolicy", "{}"),
            ("POST", r"/v1/projects/-/serviceAccounts/([^/]+):getIamPolicy", "{}"),
            ("GET", r"/storage/v1/b/([^/]+)/iam", "gs://{}"),
        ):
            match = re.fullmatch(pattern, split.path)
            if verb == method and match:
                return self._policy(form.format(match[1]))
        match = re.fullmatch(r"/compute/v1/projects/[^/]+/aggregated/(\w+)", split.path)
        if verb == "GET" and match:
            return self._aggregated(match[1], parse_qs(split.query)["filter"][0])
        return None

    def _policy(self, name: str) -> tuple[int, Any]:
        if self.forbidden:
            return 403, {"error": {"code": 403, "status": "PERMISSION_DENIED"}}
        if name not in self.policies:
            return 404, {"error": {"code": 404, "status": "NOT_FOUND"}}
        roles = sorted(self.policies[name])
        return 200, {"bindings": [{"role": r, "members": [self.member]} for r in roles]}

    def _aggregated(self, kind: str, condition: str) -> tuple[int, Any]:
        match = re.fullmatch(r'name="([a-z0-9-]+)"', condition)
        if not match:
            return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}
        empty = {"warning": {"code": "NO_RESULTS_ON_PAGE"}}
        items = {
            f"zones/{zone}": {kind: [{"name": match[1]}]} if match[1] in names else empty
            for zone, names in self.zones.items()
        }
        return 200, {"items": items}
