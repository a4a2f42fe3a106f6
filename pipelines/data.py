"""The digest of the objects that a source names: equal while none of them is written again."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterator
from typing import Any

from components.preprocess.sources import glob_regex
from components.preprocess.windows import days_before, fill
from components.spec.schema import DATED, Source
from pipelines.cloud import CloudError

TIMEOUT_S = 30.0
_OPEN = re.compile(r"[*?\[{]")


class DataUnknown(CloudError):
    """The objects of a source cannot be listed from here; the job may still read them."""


def data_digest(source: Source, at: datetime.datetime, project: str, client: Any = None) -> str:
    """Returns the sha256 of the names and generations of a source's objects.

    Cloud Storage gives an object a new generation whenever it is written, so nothing is read.

    Args:
        source: What a run reads.
        at: The time of the run, where a window ends.
        project: Who asks.
        client: A `google.cloud.storage.Client`.

    Raises:
        CloudError: No object is of the source.
        DataUnknown: These credentials may not list it, or it is no bucket.
    """
    elsewhere = [uri for uri in source.uri if not uri.startswith("gs://")]
    if elsewhere:
        raise DataUnknown(f"{elsewhere[0]} is no object of a bucket: no label of the job's data")
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import exceptions, storage

    try:
        client = client or storage.Client(project=project)
        found = sorted({o for uri in source.uri for o in _objects(client, source, uri, at)})
    except (exceptions.GoogleCloudError, GoogleAuthError, OSError) as error:
        raise DataUnknown(
            f"the source cannot be listed by these credentials, so the job gets no label of its "
            f"data ({str(error).splitlines()[0]})"
        ) from error
    if not found:
        raise CloudError(f"source.uri: no object is of {', '.join(source.uri)}")
    text = "".join(f"{name} {generation}\n" for name, generation in found)
    return hashlib.sha256(text.encode()).hexdigest()


def _objects(
    client: Any, source: Source, uri: str, at: datetime.datetime
) -> Iterator[tuple[str, int]]:
    """Yields the uri and generation of the objects that one uri of the source names."""
    bucket, _, pattern = uri.removeprefix("gs://").partition("/")
    patterns = [pattern]
    if source.window and DATED.search(pattern):
        patterns = [fill(pattern, day) for day in days_before(at, source.window)]
    matches = re.compile("|".join(map(glob_regex, patterns))).fullmatch
    fields = "items(name,generation),nextPageToken"
    prefix = _OPEN.split(pattern, maxsplit=1)[0]
    listed = client.list_blobs(bucket, prefix=prefix, fields=fields, timeout=TIMEOUT_S)
    for blob in listed:
        if matches(blob.name):
            yield f"gs://{bucket}/{blob.name}", int(blob.generation)
