"""Writes to Vertex ML Metadata by REST: few calls, each of which may be repeated.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.metadataStores
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quatrain.components.errors import QuatrainError
from quatrain.components.notify.sending import TRANSIENT, authorization

STORE = "default"
"""The store that a project's first pipeline job makes
(https://cloud.google.com/vertex-ai/docs/ml-metadata/configure)."""
SCHEMA_VERSION = "0.0.1"
"""The version of the system schemata that google-cloud-aiplatform writes and reads."""
MAX_ID = 128
"""The longest id of a resource (CreateContextRequest.context_id)."""
MAX_CALLS = 16
"""The most requests for a run, repeated ones included."""
TIMEOUT_S, PAUSE_S = 10.0, 2.0
"""The longest wait for an answer, and the wait before a request is repeated."""
_PARTS = {"contexts": "context", "artifacts": "artifact", "executions": "execution"}


class MirrorError(QuatrainError):
    """A run cannot be mirrored."""


@dataclass
class MetadataStore:
    """The metadata store of a project and location.

    Attributes:
        project: The project.
        location: The region.
        address: Replaces Google's address, without credentials; for tests.
        calls: The requests that were sent.
    """

    project: str
    location: str
    address: str = ""
    calls: int = 0
    _headers: dict[str, str] = field(default_factory=dict)

    def name_of(self, kind: str, id_: str) -> str:
        """Returns the resource name of a context, an artifact or an execution."""
        return f"{self._parent}/metadataStores/{STORE}/{kind}/{id_}"

    @property
    def _parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"

    def create(self, kind: str, id_: str, schema: str, resource: Mapping[str, Any]) -> str:
        """Creates a resource, unless there is one of its id, and returns its name.

        The ids of contexts are shared with pipelines and with people, so one that exists must have
        the schema; those of the others begin with our own name.

        Args:
            kind: contexts, artifacts or executions.
            id_: The last part of its name.
            schema: The title of its schema.
            resource: Its other fields.

        Raises:
            MirrorError: It was refused, or the one of its id has another schema.
        """
        name = self.name_of(kind, id_)
        parent = name.removesuffix(f"/{id_}")
        body = {"schemaTitle": schema, "schemaVersion": SCHEMA_VERSION, **resource}
        created = self._send("POST", f"{parent}?{_PARTS[kind]}Id={id_}", body)
        if created is None and kind == "contexts":
            present = self._send("GET", name) or {}
            if present.get("schemaTitle") != schema:
                raise MirrorError(
                    f"{name} is of schema {present.get('schemaTitle')}, not {schema}; name another "
                    f"experiment in the cloud's settings"
                )
        return name

    def add(self, name: str, method: str, body: Mapping[str, Any]) -> None:
        """Adds to a resource what it does not have yet.

        Raises:
            MirrorError: It was refused.
        """
        self._send("POST", f"{name}:{method}", body)

    def context_of_job(self, job: str) -> str:
        """Returns the name of the context that Vertex AI made of a pipeline job; empty for none.

        Raises:
            MirrorError: The job cannot be read.
        """
        found = self._send("GET", f"{self._parent}/pipelineJobs/{job}") or {}
        return str(found.get("jobDetail", {}).get("pipelineRunContext", {}).get("name", ""))

    def _send(
        self, verb: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Returns the JSON of an answer, None if it exists already; repeats what may help.

        Raises:
            MirrorError: There was no other answer, or too many requests were needed.
        """
        import requests

        base = self.address or f"https://{self.location}-aiplatform.googleapis.com"
        if not self.address and not self._headers:
            self._headers = authorization()
        why = ""
        while self.calls < MAX_CALLS:
            self.calls += 1
            try:
                answer = requests.request(
                    verb,
                    f"{base}/v1/{path}",
                    json=body,
                    headers=self._headers,
                    timeout=TIMEOUT_S,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                why = f"no answer ({type(error).__name__})"
            else:
                if answer.status_code == 200:
                    return dict(answer.json())
                status, message = _error_of(answer)
                if status == "ALREADY_EXISTS":
                    return None
                why = f"{answer.status_code} {message}"
                if answer.status_code not in (*TRANSIENT, 409):  # ABORTED: others write it, too
                    break
            time.sleep(PAUSE_S)
        raise MirrorError(
            f"{path.partition('?')[0]} was not taken: {why}; check that it is there, and "
            f"that the run's account has roles/aiplatform.user"
        )


def _error_of(answer: Any) -> tuple[str, str]:
    """Returns the canonical status and the service's own message of a refusal, if it sent them."""
    try:
        error = answer.json()["error"]
        return str(error["status"]), str(error["message"]).partition("\n")[0].rstrip(".")
    except (ValueError, KeyError, TypeError):
        return "", "without a message"
