"""The section `release` of a spec: where a promoted model is served, and how it gets there."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from quatrain.components.specification.section import Section
from quatrain.components.specification.source import TABLE, is_table

_ENDPOINT = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,18}")


def _as_steps(value: object) -> object:
    """Wraps a single share into a list."""
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _as_log(value: object) -> object:
    """Reads the place of a request log alone as a log with all defaults."""
    return {"uri": value} if isinstance(value, str) else value


class RequestLog(Section):
    """Where the requests that a model answers are logged, to be compared with its training data.

    Attributes:
        uri: A table, as bq://project.dataset.table, which an endpoint writes; or the file or folder
            that `quatrain serve --log` writes.
        sampling: The share of the requests that an endpoint logs.
    """

    uri: str
    sampling: Annotated[float, Field(gt=0, le=1)] = 1.0

    @property
    def is_table(self) -> bool:
        """Whether an endpoint writes it, and not `quatrain serve`."""
        return is_table(self.uri)

    @property
    def share(self) -> str:
        """The share of the requests in words."""
        return f"{100 * self.sampling:g} %"

    def as_config(self) -> dict[str, Any]:
        """Returns the `predictRequestResponseLoggingConfig` of an endpoint that writes it.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints
        """
        destination = {"outputUri": self.uri}
        return {
            "enabled": True,
            "samplingRate": self.sampling,
            "bigqueryDestination": destination,
        }

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, value: str) -> str:
        if is_table(value) and not re.fullmatch(TABLE, value):
            raise ValueError(f"{value!r} is no table; write it as bq://project.dataset.table")
        if not value or ("://" in value and not is_table(value)):
            raise ValueError(
                f"{value!r} is no request log: name a table, as bq://project.dataset.table, or the "
                f"file or folder that `quatrain serve --log` writes"
            )
        return value


class Release(Section):
    """How a promoted model becomes a version in a registry, and gets the traffic of an endpoint.

    Attributes:
        endpoint: The id of the endpoint; a new one is made unless it is a number. None: the model
            becomes a version, and is deployed nowhere.
        machine_type: The machine of each replica.
        min_replicas: The replicas that always run.
        max_replicas: The most replicas; None: as many as `min_replicas`.
        traffic: The steps of the new version's share of the requests, in percent; the last is 100.
        hold_s: How long each step is watched.
        max_errors: The largest share of answers with a status of 4xx or 5xx.
        max_p95_ms: The largest 95th percentile of the latency; None: any.
        min_requests: The answers without which a step is not judged; the release is held there.
        golden_answers: How many answers of the new version must match the golden rows.
        keep_previous: Whether the version before stays deployed without traffic, and is paid for.
        deploy_timeout_s: How long a deployment may take.
        log: Where the requests are logged; None: whatever the endpoint is set to stays.
    """

    endpoint: str | None = None
    machine_type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*-[a-z0-9-]+$")] = "n1-standard-2"
    min_replicas: Annotated[int, Field(ge=1)] = 1
    max_replicas: Annotated[int, Field(ge=1)] | None = None
    traffic: Annotated[tuple[int, ...], BeforeValidator(_as_steps), Field(min_length=1)] = (
        10,
        50,
        100,
    )
    hold_s: Annotated[int, Field(ge=180, le=86_400)] = 600
    max_errors: Annotated[float, Field(ge=0, le=1)] = 0.01
    max_p95_ms: Annotated[float, Field(gt=0)] | None = None
    min_requests: Annotated[int, Field(ge=0)] = 100
    golden_answers: Annotated[int, Field(ge=1, le=100)] = 3
    keep_previous: bool = False
    deploy_timeout_s: Annotated[int, Field(ge=60, le=7_200)] = 3_600
    log: Annotated[RequestLog | None, BeforeValidator(_as_log)] = None

    @property
    def endpoint_log(self) -> RequestLog | None:
        """The log that the endpoint writes; None if the spec names none."""
        return self.log if self.log is not None and self.log.is_table else None

    def in_words(self, name: str) -> str:
        """Returns in a sentence what Vertex AI gets when a model of this name is promoted."""
        text = f"on Vertex AI, it becomes a version of model {name}"
        if self.endpoint is None:
            return f"{text}, and is deployed nowhere"
        steps = ", ".join(map(str, self.traffic))
        replicas = f"{self.min_replicas} x {self.machine_type}"
        log = self.endpoint_log
        logged = f"; the endpoint logs {log.share} of its requests to {log.uri}" if log else ""
        return (
            f"{text}, and gets {steps} % of the traffic of endpoint {self.endpoint} on {replicas}, "
            f"each step watched for {self.hold_s} s; the first version gets all at once{logged}"
        )

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is not None and not _ENDPOINT.fullmatch(value):
            raise ValueError(
                f"{value!r} is no id of an endpoint: write lower-case letters, digits and hyphens, "
                f"63 in all, or the number of one that exists"
            )
        return value

    @field_validator("traffic")
    @classmethod
    def _check_traffic(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)) or value[0] < 1 or value[-1] != 100:
            raise ValueError(f"{list(value)} must rise from at least 1 to 100, as in [10, 50, 100]")
        return value

    @model_validator(mode="after")
    def _check_log(self) -> "Release":
        if self.endpoint is None and self.endpoint_log:
            raise ValueError(
                f"log {self.endpoint_log.uri} is written by an endpoint; name one by "
                f"release.endpoint, or log to the file of `quatrain serve --log`"
            )
        return self

    @field_validator("max_replicas")
    @classmethod
    def _check_replicas(cls, value: int | None, info: object) -> int | None:
        low = getattr(info, "data", {}).get("min_replicas", 1)
        if value is not None and value < low:
            raise ValueError(f"{value} is below min_replicas, {low}; raise it or leave it out")
        return value
