"""The clients of Vertex AI, with refusals as sentences. Verbs import this module late.

All calls use REST, so that a local endpoint can replace Google's in tests, and the tested code is
the code that runs. Requests and answers are plain mappings in the JSON form of the API, checked
against its own messages. No other module of the project imports google.cloud.aiplatform.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import google.auth
import requests
from google.api_core import exceptions, retry
from google.auth import exceptions as auth_exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from quatrain.vertex.cloud_file import Cloud, CloudError
from quatrain.vertex.google_apis import user_project

TIMEOUT_S = 60.0
"""Seconds after which a call without an answer fails."""
USER = "roles/aiplatform.user, and roles/iam.serviceAccountUser on the job's service account,"
"""The roles that submit and schedule need."""
LOGS = "roles/logging.viewer"
"""The role that reading logs needs."""
VIEWER = "roles/aiplatform.viewer, and for Dataflow roles/dataflow.viewer,"
"""The roles that reading a launched job needs."""
PATIENCE_S = 120.0
"""Seconds for which a call that is safe to repeat is retried."""

PAGE = 50
"""Jobs that are listed by a call, with up to 100 kB of parameters each."""
_OF_JOBS = (
    *("name", "labels", "state", "error", "create_time", "start_time", "end_time"),
    *("runtime_config", "job_detail.task_details"),
)
"""What is read of the jobs that are listed: all but the compiled pipeline, 100 kB each."""

_AGENTS = "Service agents are being provisioned"
"""The refusal of the first calls in a new project; the agents take one or two minutes."""
_TRANSIENT = (
    exceptions.TooManyRequests,
    exceptions.ServiceUnavailable,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.GatewayTimeout,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    auth_exceptions.TransportError,
)
"""Errors that may not occur again when the call is repeated."""


class NotFound(CloudError):
    """The resource does not exist: 404."""


class AlreadyExists(CloudError):
    """A job with this id exists already: 409."""


class NoResponse(CloudError):
    """The result of a request is unknown: no answer came in time, or the service is down."""


class QuotaExceeded(NoResponse):
    """The request was refused because a quota is used up: 429."""


class Vertex:
    """The pipeline jobs and schedules of one project and location.

    Args:
        cloud: The project, the location and, in tests, the address.
        patience_s: Seconds for which a call that is safe to repeat is retried. A project without
            its service agents gets two and a half times as long.
    """

    def __init__(self, cloud: Cloud, patience_s: float = PATIENCE_S) -> None:
        self.cloud = cloud
        self._patience_s = patience_s
        self._waits_for_agents = False
        host = cloud.api_endpoint or f"{cloud.location}-aiplatform.googleapis.com"
        self.service = host if "://" in host else f"https://{host}"
        options: dict[str, Any] = {"transport": "rest", "client_options": {"api_endpoint": host}}
        if cloud.api_endpoint:
            options["credentials"] = AnonymousCredentials()
        with sentences("create a client of Vertex AI", cloud):
            self._jobs = aiplatform_v1.PipelineServiceClient(**options)
            self._schedules = aiplatform_v1.ScheduleServiceClient(**options)

    def create_job(self, job: Mapping[str, Any], job_id: str) -> dict[str, Any]:
        """Creates a pipeline job and returns it.

        The caller chooses the id, so the call is safe to repeat: it cannot create a second job.

        Raises:
            AlreadyExists: Another job has this id.
            NoResponse: Whether the job was created is unknown.
        """
        request = aiplatform_v1.CreatePipelineJobRequest(
            parent=self.cloud.parent,
            pipeline_job=_message("PipelineJob", job),
            pipeline_job_id=job_id,
        )
        attempts = _Attempts(self._jobs.create_pipeline_job)
        try:
            return self._call(attempts, request, f"create job {job_id}")
        except AlreadyExists:
            # The job can be our own only if the answer to an earlier attempt was lost.
            existing = self.get_job(job_id) if attempts.count > 1 else {}
            if not dict(job["labels"]).items() <= existing.get("labels", {}).items():
                raise
            return existing
        except QuotaExceeded:
            raise
        except NoResponse as error:
            raise NoResponse(
                f"{error}: whether the job was made is not known; submit again with --job-id "
                f"{job_id}, which makes no second one"
            ) from error

    def get_job(self, job_id: str) -> dict[str, Any]:
        """Returns a pipeline job with the details of its tasks."""
        name = f"{self.cloud.parent}/pipelineJobs/{job_id}"
        request = aiplatform_v1.GetPipelineJobRequest(name=name)
        return self._call(self._jobs.get_pipeline_job, request, f"read job {job_id}")

    def jobs(self, label: str) -> Iterator[dict[str, Any]]:
        """Yields pipeline jobs with a label, the newest first, with the details of their tasks.

        Args:
            label: The condition on a label in the API's grammar, as `labels.quatrain="flights"`.
        """
        request = aiplatform_v1.ListPipelineJobsRequest(
            parent=self.cloud.parent,
            filter=label,
            order_by="create_time desc",
            page_size=PAGE,
            read_mask={"paths": _OF_JOBS},
        )
        while True:
            page = self._call(self._list_jobs, request, "list the jobs")
            yield from page.get("pipelineJobs", [])
            request.page_token = page.get("nextPageToken", "")
            if not request.page_token:
                return

    def last_run(self, schedule: str) -> dict[str, Any]:
        """Returns the last job that a schedule started: its name, state and times; {} if none.

        Args:
            schedule: The resource name of the schedule.
        """
        request = aiplatform_v1.ListPipelineJobsRequest(
            parent=self.cloud.parent,
            filter=f"schedule_name={schedule}",  # as aiplatform's PipelineJobSchedule.list_jobs
            order_by="create_time desc",
            page_size=1,
            read_mask={"paths": ["name", "state", "create_time", "end_time"]},
        )
        page = self._call(self._list_jobs, request, f"list the runs of schedule {schedule}")
        return dict(next(iter(page.get("pipelineJobs", [])), {}))

    def _list_jobs(self, request: Any, **options: Any) -> Any:
        pager = self._jobs.list_pipeline_jobs(request, **options)
        return next(iter(pager.pages))

    def cancel_job(self, job_id: str) -> None:
        """Requests the end of a pipeline job, which takes a while."""
        name = f"{self.cloud.parent}/pipelineJobs/{job_id}"
        request = aiplatform_v1.CancelPipelineJobRequest(name=name)
        self._call(self._jobs.cancel_pipeline_job, request, f"cancel job {job_id}")

    def read(self, uri: str, what: str, **parameters: str) -> dict[str, Any]:
        """Returns a resource of any of Google's services.

        Args:
            uri: The resource, as a `gcp_resources` names it.
            what: The attempt in words, as in `cannot WHAT`.
            **parameters: The parameters of the query.
        """
        return self._request("GET", uri, what, VIEWER, params=parameters)

    def send(
        self, uri: str, what: str, body: Mapping[str, Any], *, needs: str, method: str = "POST"
    ) -> dict[str, Any]:
        """Sends a body to any of Google's services and returns its answer.

        Args:
            uri: The address, of a call that is safe to repeat.
            what: The attempt in words, as in `cannot WHAT`.
            body: The body, as JSON.
            needs: The roles that the caller needs.
            method: POST or PUT.
        """
        return self._request(method, uri, what, needs, json=dict(body))

    def _request(self, method: str, uri: str, what: str, needs: str, **of_call: Any) -> Any:
        """Calls one of Google's services over REST, with retries, and returns its answer."""
        api = uri.split("/")[2].split(".")[0].rpartition("-")[2]
        if self.cloud.api_endpoint:
            uri = f"{self.service}/{uri.split('/', 3)[3]}"

        def attempt() -> dict[str, Any]:
            answer = self._session().request(
                method, uri, headers=user_project(self.cloud), timeout=TIMEOUT_S, **of_call
            )
            if answer.status_code != 200:
                raise exceptions.from_http_response(answer)
            return dict(answer.json())

        with sentences(what, self.cloud, needs, api):
            return self._patient()(attempt)()

    def _session(self) -> requests.Session:
        """Returns a session with Google's credentials, or without any in tests."""
        if self.cloud.api_endpoint:
            return requests.Session()
        scope = "https://www.googleapis.com/auth/cloud-platform"
        return AuthorizedSession(google.auth.default(scopes=[scope])[0])

    def list_schedules(self, display_name: str = "") -> list[dict[str, Any]]:
        """Returns all schedules, or those with a display name, oldest first."""
        request = aiplatform_v1.ListSchedulesRequest(parent=self.cloud.parent)
        if display_name:
            request.filter = f'display_name="{display_name}"'
        schedules: list[dict[str, Any]] = []
        while True:
            page = self._call(self._list_page, request, "list the schedules")
            schedules += page.get("schedules", [])
            if not page.get("nextPageToken"):
                return sorted(schedules, key=lambda s: (s["createTime"], s["name"]))
            request.page_token = page["nextPageToken"]

    def _list_page(self, request: Any, **options: Any) -> Any:
        pager = self._schedules.list_schedules(request, **options)
        return next(iter(pager.pages))

    def get_schedule(self, name: str) -> dict[str, Any]:
        """Returns a schedule by its resource name."""
        request = aiplatform_v1.GetScheduleRequest(name=name)
        return self._call(self._schedules.get_schedule, request, f"read schedule {name}")

    def create_schedule(self, schedule: Mapping[str, Any]) -> dict[str, Any]:
        """Creates a schedule and returns it.

        The call is never repeated. Vertex chooses the id, so a second call might create a second
        schedule.
        """
        request = aiplatform_v1.CreateScheduleRequest(
            parent=self.cloud.parent, schedule=_message("Schedule", schedule)
        )
        what = f"create schedule {schedule['displayName']}"
        return self._call(self._schedules.create_schedule, request, what, repeats=False)

    def update_schedule(self, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Changes some fields of a schedule. No field can be unset."""
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
        """Resumes a schedule; `catch_up` also starts the runs that were missed."""
        request = aiplatform_v1.ResumeScheduleRequest(name=name, catch_up=catch_up)
        self._call(self._schedules.resume_schedule, request, f"resume schedule {name}")

    def delete_schedule(self, name: str) -> None:
        """Deletes a schedule, if it exists."""
        request = aiplatform_v1.DeleteScheduleRequest(name=name)
        with contextlib.suppress(NotFound):
            self._call(self._schedules.delete_schedule, request, f"delete schedule {name}")

    def _call(
        self, method: Callable[..., Any], request: Any, what: str, *, repeats: bool = True
    ) -> dict[str, Any]:
        """Calls the API, with retries if `repeats`, and returns the response in its JSON form."""
        patient = self._patient()
        # This refusal comes before anything is done, so even a create may be repeated.
        until_agents_exist = retry.Retry(
            lambda error: _AGENTS in str(error),
            initial=self._patience_s / 12,
            maximum=self._patience_s / 6,
            timeout=self._patience_s * 2.5,
            on_error=self._report_agents,
        )
        with sentences(what, self.cloud):
            call = until_agents_exist(method)
            answer = call(request=request, retry=patient if repeats else None, timeout=TIMEOUT_S)
        message = getattr(type(answer), "pb", None)
        return _json(message(answer)) if message else {}

    def _patient(self) -> retry.Retry:
        """Returns the retries of a call that is safe to repeat."""
        return retry.Retry(
            retry.if_exception_type(*_TRANSIENT),
            initial=0.2,
            maximum=10.0,
            timeout=self._patience_s,
        )

    def _report_agents(self, _: Exception) -> None:
        """Reports once that Google still creates the agents of a new project."""
        if not self._waits_for_agents:
            self._waits_for_agents = True
            wait_s = self._patience_s * 2.5
            print(
                f"Google is creating the service agents of project {self.cloud.project}, as in any "
                f"new project; trying again for up to {wait_s:.0f} s",
                file=sys.stderr,
            )


class _Attempts:
    """Calls a method with its retries, and counts the calls."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.count, self._method = 0, method

    def __call__(self, request: Any, retry: Callable[..., Any] | None, timeout: float) -> Any:
        def attempt() -> Any:
            self.count += 1
            return self._method(request=request, retry=None, timeout=timeout)

        return retry(attempt)() if retry else attempt()


def _message(kind: str, value: Mapping[str, Any]) -> Any:
    cls = getattr(aiplatform_v1, kind)
    try:
        return cls(json_format.ParseDict(dict(value), cls.pb()()))
    except json_format.ParseError as error:
        raise CloudError(
            f"this is no {kind} of Vertex AI ({error}); report that as a bug"
        ) from error


def _json(message: Any) -> dict[str, Any]:
    return dict(json_format.MessageToDict(message))


def _snake(field: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in field)


@contextlib.contextmanager
def sentences(
    what: str, cloud: Cloud, needs: str = USER, api: str = "aiplatform"
) -> Iterator[None]:
    """Turns the libraries' errors into sentences that say what to do.

    Args:
        what: The attempt in words, as in `cannot WHAT`.
        cloud: The project and the location.
        needs: The roles that the caller needs.
        api: The first word of the service's host.
    """
    try:
        yield
    except exceptions.RetryError as error:
        raise _cloud_error(what, error.cause or error, cloud, needs, api) from error
    except (
        exceptions.GoogleAPIError,
        auth_exceptions.GoogleAuthError,
        requests.exceptions.RequestException,
    ) as error:
        raise _cloud_error(what, error, cloud, needs, api) from error


def _cloud_error(what: str, error: BaseException, cloud: Cloud, needs: str, api: str) -> CloudError:
    kind, advice = next(
        ((k, a) for types, k, a in _ADVICE if isinstance(error, types)), (CloudError, "")
    )
    if _AGENTS in str(error):
        advice = _CREATE_AGENTS
    advice = advice.format(project=cloud.project, location=cloud.location, needs=needs, api=api)
    return kind(f"cannot {what}: {_message_of(error)}" + (f"; {advice}" if advice else ""))


def _message_of(error: BaseException) -> str:
    """Returns the service's own message, without the request's address before it."""
    response: Any = getattr(error, "response", None)
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        return str(response.json()["error"]["message"]).strip().rstrip(".")
    message = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
    return str(message).strip().rstrip(".")


_CREATE_AGENTS = (
    "create them with `gcloud beta services identity create --service=aiplatform.googleapis.com "
    "--project {project}`, and repeat the command in a few minutes"
)

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
        "`gcloud services enable {api}.googleapis.com --project {project}`",
    ),
    (
        (exceptions.NotFound,),
        NotFound,
        "is it in project {project}, location {location}? Someone may have deleted it",
    ),
    ((exceptions.Conflict,), AlreadyExists, "choose another --job-id"),
    (
        (exceptions.TooManyRequests,),
        QuotaExceeded,
        "a quota of project {project} is used up: wait, or ask for more at "
        "https://console.cloud.google.com/iam-admin/quotas?project={project}",
    ),
    ((exceptions.BadRequest,), CloudError, ""),
    (
        _TRANSIENT,
        NoResponse,
        "the service did not answer; try again in a while",
    ),
)
"""The error to raise and its advice, by the first type that fits."""
