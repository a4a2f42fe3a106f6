"""Queries Google's services and image registries over REST, for doctor and submit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quatrain.vertex.cloud_file import Cloud

TIMEOUT_S = 15.0
"""Seconds after which a question without an answer is left unchecked."""

LOGIN = "gcloud auth application-default login"


def user_project(cloud: Cloud) -> dict[str, str]:
    """Returns the header that names the project whose quota of calls is used.

    Some services refuse a person's login without it
    (https://cloud.google.com/docs/quotas/set-quota-project).
    """
    return {"x-goog-user-project": cloud.project}


class NoAnswer(Exception):
    """A service did not answer, or refused these credentials."""


@dataclass(frozen=True)
class GoogleApis:
    """Queries Google's services over REST.

    Attributes:
        cloud: The project and, in tests, the address that replaces Google's.
        credentials: The credentials of this machine; None where that address needs none.
    """

    cloud: Cloud
    credentials: Any = None

    def query(
        self, service: str, path: str, body: Any = None, **parameters: str
    ) -> dict[str, Any] | None:
        """Returns a service's answer, or None for a thing that does not exist.

        Args:
            service: The first word of the service's host, such as `compute`.
            path: The path, with the version.
            body: The body of a POST; without one, the request is a GET.
            **parameters: The parameters of the query.

        Raises:
            NoAnswer: The service did not answer, or refused these credentials.
        """
        base = self.cloud.api_endpoint or f"https://{service}.googleapis.com"
        answer = self.fetch(f"{base}/{path}", body=body, params=parameters, authorized=True)
        return answer.json() if answer is not None else None

    def fetch(self, url: str, *, authorized: bool, body: Any = None, **options: Any) -> Any:
        """Returns the response to a request, or None for status 404.

        Raises:
            NoAnswer: The service did not answer, or refused these credentials.
        """
        import requests

        headers = dict(options.pop("headers", {}))
        if authorized:
            headers |= user_project(self.cloud)
            if self.credentials is not None:
                headers["Authorization"] = f"Bearer {self.credentials.token}"
        method = "GET" if body is None else "POST"
        try:
            answer = requests.request(
                method, url, json=body, headers=headers, timeout=TIMEOUT_S, **options
            )
        except requests.RequestException as error:
            raise NoAnswer(f"{_host(url)} did not answer: {type(error).__name__}") from error
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise NoAnswer(f"{_host(url)} answered {answer.status_code} to these credentials")
        return answer


def find_credentials() -> tuple[Any, str | None]:
    """Returns the credentials of this machine, which work, and their project.

    Raises:
        NoAnswer: There are none, or they are refused.
    """
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials, project = google.auth.default(
            scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )
        credentials.refresh(Request())
    except (GoogleAuthError, OSError) as error:
        raise NoAnswer(f"no credentials work: {str(error).splitlines()[0]}") from error
    return credentials, project


def _host(url: str) -> str:
    return url.split("/")[2]
