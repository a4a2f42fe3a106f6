"""Which names of files are allowed: a path, or gs:// with a bucket and an object."""

from __future__ import annotations

import re

from quatrain.components.errors import SourceError

SCHEME = "gs://"
DEFAULT_ROOT = "runs"
"""The folder of all runs, where none is named."""
_BUCKET_URI = re.compile(
    r"gs://(?P<account>anonymous@)?(?P<path>[a-z0-9][a-z0-9._-]*(?:/.*?)?)"
    r"(?P<options>\?(?:scheme|endpoint_override|retry_limit_seconds|project_id|access_token"
    r"|default_bucket_location|target_service_account)=[^/]*)?",
    re.DOTALL,
)
"""The uri of an object. Arrow's options may stand at its end; any other ? is a name's.

The account `anonymous` reads a public bucket without credentials.
"""
PATIENCE = re.compile(r"\?retry_limit_seconds=([0-9]{1,4})")
"""The one option that is allowed: how long requests are repeated, in seconds."""


def check_uri(uri: str) -> None:
    """Checks that a uri is a path or names an object in a bucket; nothing is opened.

    Raises:
        SourceError: It names a host, another kind of storage, or an option that is not allowed, or
            holds a NUL.
    """
    parse(uri)


def parse(uri: str) -> re.Match[str] | None:
    """Returns the account, path and options of a gs:// uri, or None for a file on this machine.

    Arrow has options that would send the credentials of this machine to any host, without
    encryption if they say so. It therefore never parses the uri of a bucket here.

    Raises:
        SourceError: See `check_uri`.
    """
    if "\0" in uri:
        raise SourceError(f"{uri!r} holds a NUL character, as no name of a file does; correct it")
    if "://" not in uri or uri.startswith("file:///"):
        return None
    scheme, _, rest = uri.partition("://")
    shown = f"{scheme}://...{rest[rest.rindex('@') :]}" if "@" in rest else uri  # no password
    match = _BUCKET_URI.fullmatch(uri)
    if match is None:
        raise SourceError(f"{shown} cannot be read; write a local path or gs://BUCKET/OBJECT")
    if match["options"] and not PATIENCE.fullmatch(match["options"]):
        raise SourceError(
            f"{shown}: {match['options']!r} is no option of a gs:// uri; remove it, or write "
            f"?retry_limit_seconds=N, in whole seconds up to 9999"
        )
    return match
