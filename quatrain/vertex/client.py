"""The clients of Vertex AI, whose refusals become sentences. Imported inside verbs only.

Everything goes over REST: a local endpoint can take Google's place in tests, and what is tested is
what runs. Requests and answers are plain mappings in the JSON form of the API, checked by its own
messages; nothing else of the project imports google.cloud.aiplatform.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import requests
from google.api_core import exceptions, retry
from google.auth import exceptions as auth_exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from quatrain.vertex.cloud_file import Cloud, CloudError

TIMEOUT_S = 60.0
"""The longest wait for one answer."""
USER = "roles/aiplatform.user, and roles/iam.serviceAccountUser on the job's service account,"
"""What it takes to submit and schedule."""
PATIENCE_S = 120.0
"""How long a call that may be repeated is tried again."""

_PASSING = (
    exceptions.TooManyRequests,
    exceptions.ServiceUnavailable,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.GatewayTimeout,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    auth_exceptions.TransportError,
)
"""What may be over in a moment."""


class Absent(CloudError):
    """What was asked for is not there: 404."""


class Taken(CloudError):
    """A job of this id is there already: 409."""


class Unanswered(CloudError):
    """Nothing is known of the request: no answer came in time, or the service is down."""


class Limited(Unanswered):
    """The request was not taken, as a quota is used up: 429."""


class Vertex:
    """The pipeline jobs and schedules of one project and location.

    Args:
        cloud: The project, the location and, in tests, the address.
        patience_s: How long a call that may be repeated is tried again; PATIENCE_S by default.
    """

    def __init__(self, cloud: Cloud, patience_s: float | None = None) -> None:
        self.cloud = cloud
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        host = cloud.api_endpoint or f"{cloud.location}-aiplatform.googleapis.com"
        options: dict[str, Any] = {"transport": "rest", "client_options": {"api_endpoint": host}}
        if cloud.api_endpoint:
            options["credentials"] = AnonymousCredentials()
        with sentences("make a client of Vertex AI", cloud):
            self._jobs = aiplatform_v1.PipelineServiceClient(**options)
            self._schedules = aiplatform_v1.ScheduleServiceClient(**options)

    def create_job(self, job: Mapping[str, Any], job_id: str) -> dict[str, Any]:
        """Creates a pipeline job; tried again where the answer was lost, as the id is ours.

        Raises:
            Taken: There was another job of this id before.
        """
        request = aiplatform_v1.CreatePipelineJobRequest(
            parent=self.cloud.parent,
            pipeline_job=_message("PipelineJob", job),
            pipeline_job_id=job_id,
        )
        attempts = _Attempts(self._jobs.create_pipeline_job)
        try:
            return self._call(attempts, request, f"create job {job_id}")
        except Taken:
            # Only where an earlier attempt's answer was lost may the job be our own.
            found = self.get_job(job_id) if attempts.count > 1 else {}
            if not dict(job["labels"]).items() <= found.get("labels", {}).items():
                raise
            return found
        except Limited:
            raise
        except Unanswered as error:
            raise Unanswered(
                f"{error}: whether the job was made is not known; --job-id {job_id} makes no second"
            ) from error

    def get_job(self, job_id: str) -> dict[str, Any]:
        """Returns a pipeline job with the details of its tasks."""
        name = f"{self.cloud.parent}/pipelineJobs/{job_id}"
        request = aiplatform_v1.GetPipelineJobRequest(name=name)
        return self._call(self._jobs.get_pipeline_job, request, f"read job {job_id}")

    def cancel_job(self, job_id: str) -> None:
        """Asks that a pipeline job ends; it does so in a while."""
        name = f"{self.cloud.parent}/pipelineJobs/{job_id}"
        request = aiplatform_v1.CancelPipelineJobRequest(name=name)
        self._call(self._jobs.cancel_pipeline_job, request, f"cancel job {job_id}")

    def list_schedules(self, display_name: str = "") -> list[dict[str, Any]]:
        """Returns all schedules, or those of a display name, oldest first."""
        request = aiplatform_v1.ListSchedulesRequest(parent=self.cloud.parent)
        if display_name:
            request.filter = f'display_name="{display_name}"'
        listed: list[dict[str, Any]] = []
        while True:
            page = self._call(self._list_page, request, "list the schedules")
            listed += page.get("schedules", [])
            if not page.get("nextPageToken"):
                return sorted(listed, key=lambda s: (s["createTime"], s["name"]))
            request.page_token = page["nextPageToken"]

    def _list_page(self, request: Any, **options: Any) -> Any:
        pager = self._schedules.list_schedules(request, **options)
        return next(iter(pager.pages))

    def get_schedule(self, name: str) -> dict[str, Any]:
        """Returns a schedule by its resource name."""
        request = aiplatform_v1.GetScheduleRequest(name=name)
        return self._call(self._schedules.get_schedule, request, f"read schedule {name}")

    def create_schedule(self, schedule: Mapping[str, Any]) -> dict[str, Any]:
        """Creates a schedule. Not tried again: it has no id of ours, and two might come of it."""
        request = aiplatform_v1.CreateScheduleRequest(
            parent=self.cloud.parent, schedule=_message("Schedule", schedule)
        )
        what = f"create schedule {schedule['displayName']}"
        return self._call(self._schedules.create_schedule, request, what, again=False)

    def update_schedule(self, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Changes fields of a schedule, and no other; None cannot unset one."""
        request = aiplatform_v1.UpdateScheduleRequest(
            schedule=_message("Schedule", {"name": name, **changes}),
            update_mask={"paths": sorted(_snake(field) for field in changes)},
        )
        return self._call(self._schedules.update_schedule, request, f"update schedule {name}")

    def pause_schedule(self, name: str) -> None:
        """Pauses a schedule."""
        request = aiplatform_v1.PauseScheduleRequest(name=name)
        self._call(self._schedules.pause_schedule, request, f"pause schedule {name}")

    def resume_schedule(self, name: str, catch_up: bool) -> None:
        """Resumes a schedule; runs that were missed are made up for with `catch_up`."""
        request = aiplatform_v1.ResumeScheduleRequest(name=name, catch_up=catch_up)
        self._call(self._schedules.resume_schedule, request, f"resume schedule {name}")

    def delete_schedule(self, name: str) -> None:
        """Deletes a schedule; one that is gone already is as good."""
        request = aiplatform_v1.DeleteScheduleRequest(name=name)
        with contextlib.suppress(Absent):
            self._call(self._schedules.delete_schedule, request, f"delete schedule {name}")

    def _call(
        self, method: Callable[..., Any], request: Any, what: str, *, again: bool = True
    ) -> dict[str, Any]:
        """Calls the API, patiently where that is safe, and returns the answer's JSON form."""
        patient = retry.Retry(
            retry.if_exception_type(*_PASSING), initial=0.2, maximum=10.0, timeout=self._patience_s
        )
        with sentences(what, self.cloud):
            answer = method(request=request, retry=patient if again else None, timeout=TIMEOUT_S)
        message = getattr(type(answer), "pb", None)
        return _json(message(answer)) if message else {}


class _Attempts:
    """Counts how often a method was called."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.count, self._method = 0, method

    def __call__(self, request: Any, retry: Callable[..., Any] | None, timeout: float) -> Any:
        def attempt() -> Any:
            self.count += 1
            return self._method(request=request, retry=None, timeout=timeout)

        return retry(attempt)() if retry else attempt()


def check_job(job: Mapping[str, Any]) -> None:
    """Checks a pipeline job against the API's message.

    Raises:
        CloudError: A field is unknown, or of another type.
    """
    _message("PipelineJob", job)


def _message(kind: str, value: Mapping[str, Any]) -> Any:
    cls = getattr(aiplatform_v1, kind)
    try:
        return cls(json_format.ParseDict(dict(value), cls.pb()()))
    except json_format.ParseError as error:
        raise CloudError(f"this is no {kind} of Vertex AI: {error}") from error


def _json(message: Any) -> dict[str, Any]:
    return dict(json_format.MessageToDict(message))


def _snake(field: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in field)


@contextlib.contextmanager
def sentences(what: str, cloud: Cloud, needs: str = USER) -> Iterator[None]:
    """Turns what the libraries raise into a sentence that says what to do.

    Args:
        what: What is tried.
        cloud: Where.
        needs: The roles that whoever calls needs.
    """
    try:
        yield
    except exceptions.RetryError as error:
        raise _told(what, error.cause or error, cloud, needs) from error
    except (
        exceptions.GoogleAPIError,
        auth_exceptions.GoogleAuthError,
        requests.exceptions.RequestException,
    ) as error:
        raise _told(what, error, cloud, needs) from error


def _told(what: str, error: BaseException, cloud: Cloud, needs: str) -> CloudError:
    kind, advice = next(
        ((k, a) for types, k, a in _ADVICE if isinstance(error, types)), (CloudError, "")
    )
    said = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
    said = said.split("enum-encoding%3Dint: ", 1)[-1].strip().rstrip(".")
    advice = advice.format(project=cloud.project, location=cloud.location, needs=needs)
    return kind(f"cannot {what}: {said}" + (f"; {advice}" if advice else ""))


_ADVICE: Sequence[tuple[tuple[type[BaseException], ...], type[CloudError], str]] = (
    (
        (auth_exceptions.DefaultCredentialsError, auth_exceptions.RefreshError),
        CloudError,
        "log in with `gcloud auth application-default login`",
    ),
    (
        (exceptions.Unauthorized,),
        CloudError,
        "log in again with `gcloud auth application-default login`",
    ),
    (
        (exceptions.Forbidden,),
        CloudError,
        "whoever calls needs {needs} in project {project}, and the API must be on: "
        "`gcloud services enable aiplatform.googleapis.com --project {project}`",
    ),
    (
        (exceptions.NotFound,),
        Absent,
        "is it in project {project}, location {location}? Someone may have deleted it",
    ),
    ((exceptions.Conflict,), Taken, "choose another --job-id"),
    (
        (exceptions.TooManyRequests,),
        Limited,
        "a quota of project {project} is used up: wait, or ask for more at "
        "https://console.cloud.google.com/iam-admin/quotas?project={project}",
    ),
    ((exceptions.BadRequest,), CloudError, ""),
    (
        _PASSING,
        Unanswered,
        "the service did not answer; try again in a while",
    ),
)
"""By the first type that fits: what is raised, and what to do."""
