"""Which models are deployed at an endpoint of Vertex AI, by the ids that a request log has."""

from __future__ import annotations

from quatrain.components.errors import ServedError
from quatrain.components.login import LOGIN
from quatrain.components.wording import first_line

ADDRESS = "https://{location}-aiplatform.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TIMEOUT_S = 60.0
"""Seconds after which a call without an answer fails."""


def deployed_ids(project: str, location: str, endpoint: str, model: str) -> list[str]:
    """Returns the ids of the deployed versions of a model, in order.

    Args:
        project: The project of the endpoint.
        location: Its region.
        endpoint: Its id.
        model: The id of the model in the registry, which is its name in the spec.

    Raises:
        ServedError: There is none, these credentials may not see it, or Vertex AI does not answer.
    """
    import google.auth
    import requests
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    path = f"v1/projects/{project}/locations/{location}/endpoints/{endpoint}"
    try:
        session = AuthorizedSession(google.auth.default(scopes=[SCOPE])[0])
        answer = session.get(f"{ADDRESS.format(location=location)}/{path}", timeout=TIMEOUT_S)
    except GoogleAuthError as error:
        raise ServedError(
            f"endpoint {endpoint} cannot be looked up ({first_line(error)}); {LOGIN}"
        ) from error
    except requests.RequestException as error:
        raise ServedError(
            f"endpoint {endpoint} cannot be looked up ({type(error).__name__}); run again"
        ) from error
    if answer.status_code == 404:
        raise ServedError(
            f"endpoint {endpoint} does not exist in {project}, {location}; make it by `quatrain "
            f"deploy`"
        )
    if answer.status_code in (401, 403):
        raise ServedError(
            f"endpoint {endpoint} may not be looked up; whoever runs this needs "
            f"roles/aiplatform.user in project {project}"
        )
    if answer.status_code != 200:
        raise ServedError(
            f"endpoint {endpoint} cannot be looked up (status {answer.status_code}); run again"
        )
    deployed = answer.json().get("deployedModels", [])
    return sorted(str(d["id"]) for d in deployed if _model_of(str(d.get("model", ""))) == model)


def _model_of(resource: str) -> str:
    return resource.rpartition("/")[2].partition("@")[0]
