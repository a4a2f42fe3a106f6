"""Checks that this machine has credentials for Google, before anything waits for them."""

import os
from functools import cache

from quatrain.components.errors import SourceError

LOGIN = "run gcloud auth application-default login"
MAX_REASON = 200
"""How many characters of Google's answer are shown."""
_EMULATORS = {"gs": "CLOUD_STORAGE_EMULATOR_ENDPOINT", "bq": "BIGQUERY_STORAGE_EMULATOR_HOST"}
"""The environment variable with the address of an emulator, by the scheme of a uri."""
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def check_login(uri: str) -> None:
    """Checks the credentials of this machine; without any, Arrow's client would wait a minute.

    Args:
        uri: What the credentials are for; one of a public bucket or an emulator needs none.

    Raises:
        SourceError: There are none, or Google refuses them.
    """
    scheme, _, rest = uri.partition("://")
    emulator = _EMULATORS.get(scheme)
    if not emulator or os.environ.get(emulator) or rest.startswith("anonymous@"):
        return
    from google.auth.exceptions import GoogleAuthError, RefreshError

    try:
        _prove(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"))
    except RefreshError as error:
        why = str(error.args[0])[:MAX_REASON]
        raise SourceError(
            f"{uri} cannot be read: Google refuses the credentials of this machine ({why}); {LOGIN}"
        ) from error
    except (GoogleAuthError, OSError) as error:
        raise SourceError(
            f"{uri} cannot be read: there are no credentials for Google here, or their server does "
            f"not answer; {LOGIN}"
        ) from error


@cache
def _prove(_key: str | None) -> None:
    """Uses the credentials that Google's libraries find: of a key file, a login or a machine."""
    import google.auth
    from google.auth.transport.requests import Request

    credentials, _ = google.auth.default(scopes=[_SCOPE])
    credentials.refresh(Request())
