"""Checks where a bucket is and whether it suits a run, for doctor, submit and the first step.

Vertex trains only with regional buckets in the job's region, and refuses others late, after steps
that cost money. Nothing here creates a bucket: the error shows the command that does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from quatrain.components.errors import BucketError
from quatrain.components.wording import first_line

HERE = "local"
"""The location of a run on this machine, which uses folders and no buckets."""

TIMEOUT_S = 30.0
"""The longest wait for one bucket, with the repetitions after 429 and 503."""

MAX_NAME = 63
"""The longest name of a bucket: https://cloud.google.com/storage/docs/buckets#naming."""

_TYPES = {
    "dual-region": "a dual-region",
    "multi-region": "a multi-region",
    "zone": "a zonal bucket, in one zone of a region",
}
_WHY = (
    "training takes regional buckets in the job's region only, and from elsewhere every byte that "
    "is read pays for transfer"
)


_CLIENT_SETTINGS = ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS")
"""Environment variables that Google's client reads once, when it is created."""


@dataclass(frozen=True)
class Place:
    """The location of a bucket, in Cloud Storage's own words but lower case.

    Attributes:
        location: The region, or what covers several.
        location_type: region, dual-region, multi-region or zone.
        lock: Why its objects may not be replaced; empty if they may.
    """

    location: str
    location_type: str
    lock: str = ""

    def __str__(self) -> str:
        kind = _TYPES.get(self.location_type)
        return f"{self.location} ({kind})" if kind else self.location


@dataclass(frozen=True)
class Problem:
    """Why a bucket does not suit, and the command that mends it.

    Attributes:
        bucket: The name of the bucket.
        sentence: What is wrong.
        command: The command.
        unanswered: Whether the bucket may suit after all, since its location is unknown.
    """

    bucket: str
    sentence: str
    command: str
    unanswered: bool = False

    def __str__(self) -> str:
        return f"{self.sentence}\n  {self.command}"


def buckets_of(uris: Iterable[str]) -> tuple[str, ...]:
    """Returns the distinct buckets of gs:// uris and /gcs/ paths; other paths have none.

    Raises:
        BucketError: A gs:// uri names no bucket.
    """
    names: dict[str, None] = {}  # in order, and each bucket once
    for uri in uris:
        scheme = next((s for s in ("gs://", "/gcs/") if uri.startswith(s)), None)
        if scheme is None:
            continue
        # pyarrow takes gs://anonymous@BUCKET for a public bucket.
        bucket = re.split(r"[/?]", uri.removeprefix(scheme))[0].rpartition("@")[2]
        if not bucket:
            raise BucketError(f"{uri!r} names no bucket; write gs://BUCKET/FOLDER")
        names[bucket] = None
    return tuple(names)


def bucket_problems(
    uris: Iterable[str],
    location: str,
    project: str = "",
    client: Any = None,
    timeout_s: float = TIMEOUT_S,
) -> list[Problem]:
    """Returns a problem for each bucket that is not regional and in the job's region.

    Args:
        uris: Where a run reads and writes, except for its source.
        location: The job's region; for `local` nothing is looked up.
        project: The job's project, for the commands and the requests.
        client: A `google.cloud.storage.Client`; by default one is created if there are buckets.
        timeout_s: The longest wait for one bucket.
    """
    problems = []
    for name, place in _places(uris, location, project, client, timeout_s):
        if isinstance(place, Problem):
            problems.append(place)
        elif (place.location, place.location_type) != (location, "region"):
            sentence = (
                f"bucket gs://{name} is in {place}, the job in {location}: {_WHY}; a bucket cannot "
                f"be moved, so make another one in {location} and name it as the root:"
            )
            creation = _creation(_regional_name(name, location), location, project)
            problems.append(Problem(name, sentence, creation))
        elif place.lock:
            sentence = (
                f"bucket gs://{name} has {place.lock}, so its objects cannot be replaced or "
                f"deleted, as a run does with the champion's record and its own files; lift it, or "
                f"name another bucket as the root:"
            )
            problems.append(Problem(name, sentence, _UNLOCK.format(name=name)))
    return problems


_UNLOCK = (
    "gcloud storage buckets update gs://{name} --clear-retention-period "
    "--no-default-event-based-hold"
)


def source_problems(
    uris: Iterable[str], location: str, project: str = "", client: Any = None
) -> list[Problem]:
    """Returns a problem for each bucket of a source that does not exist, or does not answer."""
    problems = []
    for name, place in _places(uris, location, project, client, TIMEOUT_S):
        if not isinstance(place, Problem):
            continue
        sentence, command = place.sentence, place.command
        if not place.unanswered:
            sentence = f"the source's bucket gs://{name} does not exist, or its name is wrong"
            command = f"gcloud storage buckets list --project={project or 'PROJECT'}"
        problems.append(Problem(name, sentence, command, place.unanswered))
    return problems


def check_buckets(
    uris: Iterable[str], location: str, project: str = "", client: Any = None
) -> None:
    """Checks that every bucket of a run is regional and in the job's region.

    Args:
        uris: Where a run reads and writes, except for its source.
        location: The job's region; for `local` nothing is looked up.
        project: The job's project.
        client: A `google.cloud.storage.Client`; by default one is created if there are buckets.

    Raises:
        BucketError: A bucket is elsewhere. For each one, the message says where it is, why that
            matters, and which command creates the right one.
    """
    if problems := bucket_problems(uris, location, project, client):
        raise BucketError("\n".join(map(str, problems)))


def check_same_region(uri: str, location: str, project: str = "", client: Any = None) -> None:
    """Checks that a model's bucket is in the region that the model is copied to.

    A folder of this machine is in none.

    Raises:
        BucketError: It is elsewhere, or where it is cannot be found out.
    """
    problems = []
    for name, place in _places([uri], location, project, client, TIMEOUT_S):
        if isinstance(place, Problem):
            problems.append(place)
        elif place.location != location:
            sentence = (
                f"bucket gs://{name} is in {place}, and the copy would be in {location}: a model "
                f"holds values of your rows, which are taken to no other region; name settings of "
                f"{place.location}, or look where the bucket is:"
            )
            problems.append(Problem(name, sentence, _DESCRIBE.format(name=name)))
    if problems:
        raise BucketError("\n".join(map(str, problems)))


_DESCRIBE = "gcloud storage buckets describe gs://{name} --format='value(location,location_type)'"


def source_warnings(
    uris: Iterable[str], location: str, project: str = "", client: Any = None
) -> list[str]:
    """Returns a sentence for each bucket of a source that is not in the job's region.

    A source may be anywhere, but reading it from another region costs money. A bucket whose
    location is unknown has a sentence, too; whether it can be read shows when a step reads it.
    """
    warnings = []
    for name, place in _places(uris, location, project, client, TIMEOUT_S):
        if isinstance(place, Problem):
            warnings.append(f"the region of the source could not be looked up: {place.sentence}")
        elif (place.location, place.location_type) != (location, "region"):
            warnings.append(
                f"the source gs://{name} is in {place}, the job in {location}: every run pays for "
                f"the transfer of what it reads"
            )
    return warnings


def _places(
    uris: Iterable[str], location: str, project: str, client: Any, timeout_s: float
) -> Iterator[tuple[str, Place | Problem]]:
    """Yields each bucket of a run with its place, or its problem.

    Without credentials, the first bucket's problem stands for all of them.
    """
    names = () if location == HERE else buckets_of(uris)
    try:
        client = client or (_client(project) if names else None)
    except BucketError as error:
        yield names[0], Problem(names[0], str(error), _LOGIN, unanswered=True)
        return
    for name in names:
        yield name, _look_up(name, location, project, client, timeout_s)


def open_client(project: str) -> Any:
    """Returns a project's client of Cloud Storage, with the credentials of this machine.

    It is one for all look-ups, as each new client fetches a token, and asks where each bucket is.
    """
    return _open_client(project, tuple(os.environ.get(name) for name in _CLIENT_SETTINGS))


@cache
def _open_client(project: str, settings: tuple[str | None, ...]) -> Any:
    from google.cloud import storage

    return storage.Client(project=project or None)


def _look_up(
    name: str, location: str, project: str, client: Any, timeout_s: float
) -> Place | Problem:
    """Looks up where a bucket is; returns a problem if that cannot be found out."""
    from google.api_core import exceptions, retry
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.retry import DEFAULT_RETRY

    retrying: retry.Retry = DEFAULT_RETRY.with_timeout(timeout_s)
    try:
        bucket = client.get_bucket(name, timeout=timeout_s, retry=retrying)
    except exceptions.NotFound:
        return Problem(
            name,
            f"bucket gs://{name} does not exist, and nothing here creates one; make it in "
            f"{location}, the job's region:",
            _creation(name, location, project),
        )
    except (exceptions.Forbidden, exceptions.Unauthorized):
        return Problem(
            name,
            f"these credentials may not look up the region of bucket gs://{name} (they lack "
            f"storage.buckets.get), so whether it is in {location} is not known; allow it:",
            f"gcloud storage buckets add-iam-policy-binding gs://{name} "
            f"--member={_member(client)} --role=roles/storage.legacyBucketReader",
            unanswered=True,
        )
    except exceptions.BadRequest as error:
        return Problem(
            name,
            f"gs://{name} cannot be a bucket: {error.message}; its name has 3 to 63 lower-case "
            f"letters, digits, hyphens, dots and underscores. A right one:",
            _creation(f"{project or 'PROJECT'}-{location}", location, project),
        )
    except (
        exceptions.GoogleAPICallError,
        exceptions.RetryError,
        OSError,
        GoogleAuthError,
    ) as error:
        return Problem(
            name,
            f"the region of bucket gs://{name} could not be looked up within {timeout_s:g} s: "
            f"{first_line(error)}; try again later:",
            _DESCRIBE.format(name=name),
            unanswered=True,
        )
    return Place(str(bucket.location).lower(), str(bucket.location_type), _lock(bucket))


def _lock(bucket: Any) -> str:
    """Returns why a bucket's objects may not be replaced, or an empty text."""
    if bucket.retention_period:
        return f"a retention policy of {bucket.retention_period:,} s"
    return "a default event-based hold" if bucket.default_event_based_hold else ""


_LOGIN = "gcloud auth application-default login"


def _client(project: str) -> Any:
    """Returns a client of Cloud Storage with the credentials of this machine.

    Raises:
        BucketError: There are no credentials.
    """
    from google.auth.exceptions import DefaultCredentialsError

    try:
        return open_client(project)
    except (DefaultCredentialsError, OSError) as error:
        raise BucketError(
            f"there are no Google Cloud credentials here, so no bucket's region can be looked up "
            f"({first_line(error)}); log in:"
        ) from error


def _creation(name: str, location: str, project: str) -> str:
    """Returns the command that creates a bucket for a run."""
    project_option = f" --project={project}" if project else ""
    return (
        f"gcloud storage buckets create gs://{name}{project_option} --location={location} "
        f"--uniform-bucket-level-access --public-access-prevention"
    )


def _regional_name(name: str, location: str) -> str:
    """Returns a name for the bucket to create instead: the old name and the region."""
    max_length = MAX_NAME - len(location) - 1
    return f"{name[:max_length].rstrip('-._')}-{location}"


def _member(client: Any) -> str:
    """Returns the caller as IAM names it; if that is a person, the shell fills in the address."""
    email = getattr(getattr(client, "_credentials", None), "service_account_email", "")
    if "@" in str(email):
        return f"serviceAccount:{email}"
    return '"user:$(gcloud config get-value account)"'
