"""Calls Vertex AI and Cloud Monitoring by REST, with refusals as sentences."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from quatrain.components.errors import ReleaseError
from quatrain.components.wording import first_line

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TIMEOUT_S = 60.0
"""Seconds after which a call without an answer fails."""
PATIENCE_S = 120.0
"""Seconds for which a call that only reads is repeated, unless something else is said."""
POLL_S = 10.0
"""Seconds between two looks at a long operation."""
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_NEEDS = "roles/aiplatform.user, and roles/monitoring.viewer for what is watched"


class NotFound(ReleaseError):
    """The resource does not exist: 404."""


class Conflict(ReleaseError):
    """Someone else has made or changed the resource meanwhile: 409."""


class NoAnswer(ReleaseError):
    """Whether the call was carried out is unknown."""


@dataclass(frozen=True)
class Service:
    """The models, endpoints and metrics of a project and location.

    Attributes:
        project: The project.
        location: The region.
        address: Replaces Google's addresses, without credentials; for tests.
        session: Sends the requests; by default with this machine's credentials.
        sleep: Waits for some seconds.
        now: The seconds since 1970.
        patience_s: Seconds for which a call that only reads is repeated.
    """

    project: str
    location: str
    address: str = ""
    session: Any = None
    # The clock is looked up at each call, so that a test can set another one for the command line.
    sleep: Callable[[float], None] = lambda seconds: time.sleep(seconds)
    now: Callable[[], float] = lambda: time.time()
    patience_s: float = PATIENCE_S
    _sessions: dict[str, Any] = field(default_factory=dict)

    @property
    def parent(self) -> str:
        """The resource name of the project's location."""
        return f"projects/{self.project}/locations/{self.location}"

    def get(self, path: str, what: str, **parameters: str) -> dict[str, Any]:
        """Returns a resource below the project's location."""
        return self._patient("GET", f"v1/{self.parent}/{path}", what, params=parameters)

    def find(self, path: str, what: str) -> dict[str, Any] | None:
        """Returns a resource, or None if it does not exist."""
        try:
            return self.get(path, what)
        except NotFound:
            return None

    def pages(self, path: str, key: str, what: str) -> Iterator[dict[str, Any]]:
        """Yields the resources of a list."""
        token = ""
        while True:
            page = self.get(path, what, **({"pageToken": token} if token else {}))
            yield from page.get(key, [])
            if not (token := page.get("nextPageToken", "")):
                return

    def predict(self, endpoint: str, instances: list[Any], what: str) -> dict[str, Any]:
        """Returns the answer of an endpoint to instances.

        The call is made once: a second one may be answered by another deployed model.

        Raises:
            NoAnswer: The deployed model, or the service, failed.
        """
        path = f"v1/{self.parent}/endpoints/{endpoint}:predict"
        return self._once("POST", path, what, json={"instances": instances})

    def series(self, what: str, **parameters: str) -> list[dict[str, Any]]:
        """Returns the time series of Cloud Monitoring, of one page."""
        path = f"v3/projects/{self.project}/timeSeries"
        query = {key.replace("__", "."): value for key, value in parameters.items()}
        return list(self._patient("GET", path, what, params=query).get("timeSeries", []))

    def send(
        self,
        method: str,
        path: str,
        what: str,
        body: Mapping[str, Any] | None = None,
        **parameters: str,
    ) -> dict[str, Any]:
        """Sends a change once, and returns the answer.

        Raises:
            NoAnswer: Whether it was carried out is unknown; look, before it is sent again.
            Conflict: Someone else was faster.
        """
        url = f"v1/{self.parent}/{path}"
        return self._once(method, url, what, json=dict(body or {}), params=parameters)

    def wait(self, operation: Mapping[str, Any], what: str, timeout_s: float) -> dict[str, Any]:
        """Waits for the end of a long operation, and returns its response.

        Raises:
            ReleaseError: It failed, or has not ended in time.
        """
        end = self.now() + timeout_s
        path = str(operation["name"]).split("/", 4)[4]
        shown = dict(operation)
        while not shown.get("done"):
            if self.now() >= end:
                raise ReleaseError(
                    f"cannot {what}: operation {path} has not ended after {timeout_s:,.0f} s; the "
                    f"traffic is as it was; call again once it has, which goes on from there"
                )
            shown = self.get(path, f"look at operation {path}")
            if not shown.get("done"):
                self.sleep(POLL_S)
        if error := shown.get("error"):
            message = str(error.get("message", "no reason")).rstrip(".")
            raise ReleaseError(f"cannot {what}: {message}; see the logs of the operation {path}")
        return dict(shown.get("response", {}))

    def _patient(self, method: str, path: str, what: str, **of_call: Any) -> dict[str, Any]:
        """Makes a call that changes nothing, and repeats it while the service is busy."""
        end, pause_s = self.now() + self.patience_s, 0.5
        while True:
            try:
                return self._once(method, path, what, **of_call)
            except NoAnswer:
                if self.now() >= end:
                    raise
            self.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_S)

    def _once(self, method: str, path: str, what: str, **of_call: Any) -> dict[str, Any]:
        import requests
        from google.auth.exceptions import GoogleAuthError

        host = f"{self.location}-aiplatform" if path.startswith("v1/") else "monitoring"
        base = self.address or f"https://{host}.googleapis.com"
        try:
            answer = self._session().request(method, f"{base}/{path}", timeout=TIMEOUT_S, **of_call)
        except requests.RequestException as error:
            raise NoAnswer(
                f"cannot {what}: no answer ({type(error).__name__}); try again"
            ) from error
        except GoogleAuthError as error:
            raise ReleaseError(
                f"cannot {what}: {first_line(error)}; log in with `gcloud auth application-default "
                f"login`"
            ) from error
        if answer.status_code == 200:
            return dict(answer.json())
        raise self._refusal(answer, what, idempotent=method == "GET" or path.endswith(":predict"))

    def _refusal(self, answer: Any, what: str, idempotent: bool) -> ReleaseError:
        """Returns the error of an answer, with the service's own message and the way out."""
        try:
            message = str(answer.json()["error"]["message"]).strip().rstrip(".")
        except (ValueError, KeyError, TypeError):
            message = f"status {answer.status_code}"
        text = f"cannot {what}: {message}"
        code = answer.status_code
        if code == 404:
            return NotFound(
                f"{text}; look whether it is in project {self.project}, {self.location}"
            )
        if code == 409:
            return Conflict(f"{text}; look again: someone else has changed it")
        if code in (401, 403):
            return ReleaseError(f"{text}; whoever calls needs {_NEEDS} in project {self.project}")
        if code == 429 and not idempotent:
            return ReleaseError(
                f"{text}; ask for more of that quota at https://console.cloud.google.com/iam-admin/"
                f"quotas?project={self.project}, or name a smaller release.machine_type"
            )
        if code in _TRANSIENT:
            return NoAnswer(f"{text}; the service is busy: try again in a while")
        return ReleaseError(f"{text}; mend that, then release again")

    def _session(self) -> Any:
        if self.session is not None:
            return self.session
        if "session" not in self._sessions:
            self._sessions["session"] = _open_session(self.address)
        return self._sessions["session"]


def _open_session(address: str) -> Any:
    """Returns a session with Google's credentials, or without any in tests."""
    import requests

    if address:
        return requests.Session()
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    try:
        return AuthorizedSession(google.auth.default(scopes=[SCOPE])[0])
    except GoogleAuthError as error:
        raise ReleaseError(
            f"there are no credentials for Google here ({first_line(error)}); log in with `gcloud "
            f"auth application-default login`"
        ) from error
