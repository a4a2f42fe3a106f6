"""The versions of a source's files, which show whether a file has changed without reading it.

A cached step is looked up by the digest of these versions: a rewritten file is never a cache hit,
an unchanged one always is. A file that changes while the run reads it stops the run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quatrain.components.artifacts import canonical_json
from quatrain.components.buckets import buckets_of, open_client
from quatrain.components.errors import SourceDenied, SourceError
from quatrain.components.specification.source import is_table
from quatrain.components.storage import is_remote
from quatrain.components.table.bigquery import find_table
from quatrain.components.uris import SCHEME
from quatrain.components.wording import first_line

TIMEOUT_S = 30.0
"""The longest wait for one page of a listing."""


def find_versions(uris: Iterable[str], project: str = "", client: Any = None) -> dict[str, str]:
    """Returns the version of each file by its uri, in the order of `uris`.

    A version changes whenever the file is rewritten. The version of an object is its generation,
    which is new for each write (https://cloud.google.com/storage/docs/generations-preconditions).
    The version of a BigQuery table is the time of its last change in milliseconds. The version of a
    local file is its size and the times of its last change in nanoseconds: of its content, which
    anyone can set, and of its inode, which no one can.

    Args:
        uris: Local paths, gs:// and bq:// uris, as `find_files` returns them.
        project: The project that the requests are made in; if empty, that of the credentials.
        client: A `google.cloud.storage.Client`; by default one is created if there are objects.

    Raises:
        SourceDenied: The objects may not be listed, or their bucket does not answer.
        SourceError: A file has disappeared since it was listed.
    """
    uris = list(uris)
    versions = {uri: _table_version(uri) for uri in uris if is_table(uri)}
    versions |= {u: _local_version(u) for u in uris if not is_remote(u) and not is_table(u)}
    paths = {uri: _object_path(uri) for uri in uris if is_remote(uri)}
    generations = _generations(set(paths.values()), project, client) if paths else {}
    for uri, path in paths.items():
        if path not in generations:
            raise SourceError(f"{uri} {_GONE}")
        versions[uri] = generations[path]
    return {uri: versions[uri] for uri in uris}


_GONE = "was there a moment ago and is not any more; run again when it is at rest"


def digest_versions(versions: Mapping[str, str]) -> str:
    """Returns the sha256 of files and their versions; their order does not matter."""
    return hashlib.sha256(canonical_json(sorted(versions.items())).encode()).hexdigest()


def check_unchanged(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Checks that no file was rewritten while the run read it.

    Raises:
        SourceError: A file was rewritten; the message names the first one.
    """
    changed = [uri for uri in before if after.get(uri) != before[uri]]
    if changed:
        more = f" and {len(changed) - 1:,} more" if len(changed) > 1 else ""
        raise SourceError(
            f"{changed[0]}{more} changed while the run read it, so the rows would be of no one "
            f"state of the table; run again when it is at rest"
        )


def _table_version(uri: str) -> str:
    table = find_table(uri)
    if table is None:
        raise SourceError(f"{uri} {_GONE}")
    return table.version


def _local_version(path: str) -> str:
    """Returns the size of a local file and the times of its last change."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise SourceError(f"{path} {_GONE}") from error
    return f"{status.st_size} bytes of {status.st_mtime_ns} and {status.st_ctime_ns}"


def _object_path(uri: str) -> str:
    """Returns BUCKET/OBJECT; pyarrow writes gs://anonymous@BUCKET for a public bucket."""
    [bucket] = buckets_of([uri])
    return f"{bucket}/{uri.removeprefix(SCHEME).partition('/')[2]}"


def _generations(paths: set[str], project: str, client: Any) -> dict[str, str]:
    """Returns the generation of each object, by one listing for each bucket."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError

    generations: dict[str, str] = {}
    try:
        client = client or open_client(project)
        for bucket in sorted({path.partition("/")[0] for path in paths}):
            names = [p.partition("/")[2] for p in paths if p.startswith(f"{bucket}/")]
            blobs = client.list_blobs(
                bucket,
                prefix=os.path.commonprefix(names),  # noqa: RUF071 - objects have no folders
                fields="items(name,generation),nextPageToken",
                timeout=TIMEOUT_S,
            )
            generations |= {f"{bucket}/{b.name}": str(b.generation) for b in blobs}
    except (GoogleAPICallError, RetryError, GoogleAuthError, OSError) as error:
        raise SourceDenied(
            f"the objects of the source cannot be listed: {first_line(error)}; whoever "
            f"reads them needs roles/storage.objectViewer on their bucket"
        ) from error
    return {path: generations[path] for path in paths if path in generations}
