"""The emulated Vertex AI with a model registry, endpoints, long operations and their metrics.

It accepts and refuses what the real service does. Each rule names its source: proto = the field's
comment in google.cloud.aiplatform_v1 1.165; sdk = google.cloud.aiplatform.models; container =
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements; logging =
https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging; metrics =
https://cloud.google.com/monitoring/api/metrics_gcp_a_b#gcp-aiplatform; AIP = https://aip.dev;
assumed = no public page says it, and the stricter of two ways is taken.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from tests.emulators import jobs, vertex
from tests.emulators.vertex import Refusal, invalid

_PARENT = vertex._PARENT
_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")  # proto: Model.version_aliases
_MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")  # proto: UploadModelRequest.model_id
_ENDPOINT_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8}")  # proto: endpoint_id
_DEPLOYED_ID = re.compile(r"[0-9]{1,10}")  # proto: DeployedModel.id

METRIC = "aiplatform.googleapis.com/prediction/online/"
DELAY = datetime.timedelta(seconds=120)
"""metrics: "After sampling, data is not visible for up to 120 seconds"."""
PRECONDITION = "FAILED_PRECONDITION"
LOG_SCHEMA = pa.schema(
    {
        "endpoint": pa.string(),
        "deployed_model_id": pa.string(),
        "logging_time": pa.timestamp("us", "UTC"),
        "request_id": pa.decimal128(38, 9),
        "request_payload": pa.list_(pa.string()),
        "response_payload": pa.list_(pa.string()),
    }
)
"""logging: the columns of a request log."""
LOG = "predict_request_response_logging_config"
_TABLE = re.compile(r"bq://[^./]+(\.[^./]+){0,2}")  # proto: BigQueryDestination.output_uri


class Container(Protocol):
    """What runs of a deployed model."""

    def health(self) -> int:
        """Returns the status of the health route."""

    def predict(self, body: bytes) -> tuple[int, Any]:
        """Returns the status and the JSON of the predict route."""


@dataclass
class Operation:
    """A long operation: its effect comes when it has been looked at often enough."""

    name: str
    looks: float
    finish: Callable[[], dict[str, Any]]
    kind: str
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return bool(self.result)

    def shown(self) -> dict[str, Any]:
        return {"name": self.name, "done": self.done, **self.result}


class Serving(vertex.Vertex):
    """One project's models and endpoints, beside its jobs.

    Args:
        start: Starts the container of a model's version.
        looks: How often an operation is looked at before it is done; infinite: it never ends.
        **of_vertex: As for `Vertex`.
    """

    def __init__(
        self, start: Callable[[Any], Container], looks: float = 1, **of_vertex: Any
    ) -> None:
        super().__init__(**of_vertex)
        self.start, self.looks = start, looks
        self.versions: dict[str, dict[str, Any]] = {}
        """The versions of each model, by its name and by their ids."""
        self.evaluations: dict[str, list[Any]] = {}
        self.endpoints: dict[str, Any] = {}
        self.operations: dict[str, Operation] = {}
        self.containers: dict[str, Container] = {}
        self.requests: list[tuple[datetime.datetime, str, str, str, float]] = []
        """When, the endpoint, the deployed model, the class of the status and the milliseconds."""
        self.logged: list[dict[str, Any]] = []
        """The rows of the request logs, of all endpoints."""
        self.quota = math.inf
        """How many more models may be deployed."""
        self.latency_ms = 20.0
        self.random = random.Random(0)  # noqa: S311 - picks a deployed model
        self.on_change: Callable[[Any], None] = lambda endpoint: None

    # -- operations

    def _operation(self, of: str, kind: str, finish: Callable[[], dict[str, Any]]) -> Any:
        name = f"{of}/operations/{next(self._ids)}"
        self.operations[name] = operation = Operation(name, self.looks, finish, kind)
        return operation.shown()

    def _look(self, operation: Operation) -> dict[str, Any]:
        if not operation.done:
            operation.looks -= 1
            if operation.looks <= 0:
                try:
                    operation.result = {"response": operation.finish()}
                except Refusal as refusal:
                    code = {"RESOURCE_EXHAUSTED": 8, PRECONDITION: 9}.get(refusal.status, 13)
                    operation.result = {"error": {"code": code, "message": str(refusal)}}
        return operation.shown()

    def get_operation(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        if name not in self.operations:
            raise Refusal(404, "NOT_FOUND", f"The Operation {name} does not exist")
        return self._look(self.operations[name])

    def list_operations(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        of = [o for n, o in self.operations.items() if n.startswith(f"{name}/operations/")]
        return {"operations": [o.shown() for o in of]}

    # -- models

    def upload_model(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        if unknown := set(body) - {"parent", "parentModel", "modelId", "model", "serviceAccount"}:
            raise invalid(f"unknown fields {sorted(unknown)}")  # proto: UploadModelRequest
        model = vertex._parse(body.get("model", {}), aiplatform_v1.Model)
        vertex._checked(jobs.check_model, model)
        vertex._check_labels(model.labels)
        for alias in model.version_aliases:
            if not _ALIAS.fullmatch(alias):
                raise invalid(f"the alias {alias!r} must match {_ALIAS.pattern}")
        parent_model, model_id = body.get("parentModel", ""), body.get("modelId", "")
        name = vertex._by_number(parent_model, self.project)
        if parent_model and name not in self.versions:
            raise Refusal(404, "NOT_FOUND", f"The Model {parent_model} does not exist")
        if not parent_model:
            if model_id and not _MODEL_ID.fullmatch(model_id):
                raise invalid(f"model_id {model_id!r} must match {_MODEL_ID.pattern}")
            name = f"{parent}/models/{model_id or next(self._ids)}"
            if name in self.versions:  # AIP-133
                raise Refusal(409, "ALREADY_EXISTS", f"The Model {model_id} already exists")
        return self._operation(name, "upload", lambda: self._upload(name, model))

    def _upload(self, name: str, model: Any) -> dict[str, Any]:
        versions = self.versions.setdefault(name, {})
        number = str(max(map(int, versions), default=0) + 1)  # proto: "auto-incrementing"
        pb = aiplatform_v1.Model.pb(model)
        pb.name, pb.version_id = name, number
        vertex._stamp(pb.version_create_time, self.now())
        aliases = list(model.version_aliases)
        model.version_aliases = []
        versions[number] = model
        if number == "1":  # proto: "A default version alias will be created for the first version"
            aliases.append("default")
        self._merge(name, number, aliases)
        return {"model": name, "modelVersionId": number}

    def _merge(self, name: str, number: str, aliases: list[str]) -> None:
        versions = self.versions[name]
        for alias in aliases:
            if alias == "-default":  # proto: "exactly one default version alias for a model"
                raise Refusal(400, PRECONDITION, "the default alias cannot be removed, but moved")
            for version in versions.values():  # an alias names one version
                left = [a for a in version.version_aliases if a != alias.removeprefix("-")]
                version.version_aliases = left
            if not alias.startswith("-"):
                versions[number].version_aliases.append(alias)

    def _version(self, name: str) -> Any:
        """Returns the version that `models/ID`, `models/ID@2` or `models/ID@alias` names."""
        base, _, wanted = name.partition("@")
        versions = self.versions.get(base, {})
        found = versions.get(wanted) or next(
            (v for v in versions.values() if (wanted or "default") in v.version_aliases), None
        )
        if found is None:
            raise Refusal(404, "NOT_FOUND", f"The Model {name.rsplit('/', 1)[1]} does not exist")
        return found

    def get_model(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        return self._version(name)

    def list_models(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        page, token = vertex._page([self._version(name) for name in self.versions], query)
        return aiplatform_v1.ListModelsResponse(models=page, next_page_token=token)

    def list_versions(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        self._version(name)
        page, token = vertex._page(list(self.versions[name].values()), query)
        return aiplatform_v1.ListModelVersionsResponse(models=page, next_page_token=token)

    def merge_aliases(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        base, _, number = name.partition("@")
        if number not in self.versions.get(base, {}):  # proto: "version ID explicitly included"
            raise Refusal(404, "NOT_FOUND", f"The Model version {name} does not exist")
        for alias in body["versionAliases"]:
            if not _ALIAS.fullmatch(alias.removeprefix("-")):
                raise invalid(f"the alias {alias!r} must match {_ALIAS.pattern}")
        self._merge(base, number, body["versionAliases"])
        return self.versions[base][number]

    def delete_version(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        base, _, number = name.partition("@")
        version = self._version(name)
        if "default" in version.version_aliases:  # sdk: ModelRegistry.delete_version
            raise Refusal(400, PRECONDITION, "the default version cannot be deleted")
        for endpoint in self.endpoints.values():
            for deployed in endpoint.deployed_models:
                if (deployed.model, deployed.model_version_id) == (base, number):
                    raise Refusal(400, PRECONDITION, f"{name} is deployed at {endpoint.name}")

        def finish() -> dict[str, Any]:
            self.versions[base].pop(number)
            return {}

        return self._operation(base, "delete", finish)

    def import_evaluation(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        self._version(name)
        evaluation = vertex._parse(body["modelEvaluation"], aiplatform_v1.ModelEvaluation)
        if not evaluation.metrics_schema_uri.startswith("gs://"):  # proto: metrics_schema_uri
            raise invalid("metrics_schema_uri must be a gs:// uri of a schema")
        evaluation.name = f"{name}/evaluations/{next(self._ids)}"
        self.evaluations.setdefault(name, []).append(evaluation)
        return evaluation

    def list_evaluations(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        page, token = vertex._page(self.evaluations.get(name, []), query)
        return aiplatform_v1.ListModelEvaluationsResponse(
            model_evaluations=page, next_page_token=token
        )

    # -- endpoints

    def create_endpoint(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        endpoint = vertex._parse(body, aiplatform_v1.Endpoint)
        endpoint_id = query.get("endpointId", "") or str(next(self._ids))
        if not _ENDPOINT_ID.fullmatch(endpoint_id):
            raise invalid(f"endpoint_id {endpoint_id!r} must match {_ENDPOINT_ID.pattern}")
        if not 1 <= len(endpoint.display_name) <= 128:  # proto: display_name
            raise invalid("endpoint.display_name is required and at most 128 characters long")
        if endpoint.traffic_split:  # magic-modules#12110: "can't be set on resource creation"
            raise invalid("traffic_split names no deployed model")
        vertex._check_labels(endpoint.labels)
        _check_log(endpoint.predict_request_response_logging_config)
        name = f"{parent}/endpoints/{endpoint_id}"
        if name in self.endpoints:  # AIP-133
            raise Refusal(409, "ALREADY_EXISTS", f"The Endpoint {endpoint_id} already exists")
        endpoint.deployed_models = []  # proto: "Output only."
        endpoint.name = name

        def finish() -> dict[str, Any]:
            if name in self.endpoints:
                raise Refusal(409, "ALREADY_EXISTS", f"The Endpoint {endpoint_id} already exists")
            self.endpoints[name] = endpoint
            self._changed(endpoint)
            return {"name": name}

        return self._operation(name, "create", finish)

    def _changed(self, endpoint: Any) -> None:
        endpoint.etag = f"e{next(self._ids)}"
        self.on_change(endpoint)

    def get_endpoint(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        return vertex._lookup(self.endpoints, name, "Endpoint")

    def list_endpoints(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        page, token = vertex._page(vertex._of_display_name(self.endpoints, query), query)
        return aiplatform_v1.ListEndpointsResponse(endpoints=page, next_page_token=token)

    def update_endpoint(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        endpoint = vertex._lookup(self.endpoints, name, "Endpoint")
        requested = vertex._parse(body, aiplatform_v1.Endpoint)
        paths = [vertex._snake(path) for path in query.get("updateMask", "").split(",") if path]
        if not paths:  # proto: update_mask, "Required."
            raise invalid("update_mask is required")
        # proto: etag, "If not set, a blind overwrite happens"; AIP-154: a mismatch is ABORTED
        if requested.etag and requested.etag != endpoint.etag:
            raise Refusal(409, "ABORTED", "the etag is not the one of the Endpoint")
        for path in paths:
            if path not in ("traffic_split", "labels", "display_name", "description", LOG):
                raise invalid(f"update_mask: {path} cannot be updated")
        if LOG in paths:  # logging: "by creating or patching the prediction endpoint"
            _check_log(requested.predict_request_response_logging_config)
        if "traffic_split" in paths:
            self._check_split(endpoint, dict(requested.traffic_split))
        vertex._check_labels(requested.labels)
        for path in paths:
            value = getattr(requested, path)
            is_map = path in ("traffic_split", "labels")
            setattr(endpoint, path, dict(value) if is_map else value)
        self._changed(endpoint)
        return endpoint

    def _check_split(self, endpoint: Any, split: Mapping[str, int], new: str = "") -> None:
        ids = {deployed.id for deployed in endpoint.deployed_models} | ({new} if new else set())
        if unknown := sorted(set(split) - ids):  # java-docs-samples#8475 quotes it
            raise invalid(f"The following DeployedModel ID(s) {unknown} do not exist.")
        # proto: "must add up to 100, or map must be empty"
        if split and (sum(split.values()) != 100 or min(split.values()) < 0):
            raise invalid(f"traffic_split must add up to 100, not {sum(split.values())}")

    def delete_endpoint(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        endpoint = vertex._lookup(self.endpoints, name, "Endpoint")
        if endpoint.deployed_models:  # sdk: Endpoint.delete(force)
            raise Refusal(400, PRECONDITION, "the Endpoint has deployed or being-deployed models")

        def finish() -> dict[str, Any]:
            self.endpoints.pop(name)
            return {}

        return self._operation(name, "delete", finish)

    def _idle(self, name: str) -> Any:
        """Returns an endpoint that no operation changes; assumed: one at a time."""
        endpoint = vertex._lookup(self.endpoints, name, "Endpoint")
        for operation in self.operations.values():
            if operation.name.startswith(f"{name}/") and not operation.done:
                raise Refusal(
                    400, PRECONDITION, f"{operation.name} is running on Endpoint {name}; wait"
                )
        return endpoint

    def deploy_model(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        endpoint = self._idle(name)
        deployed = vertex._parse(body["deployedModel"], aiplatform_v1.DeployedModel)
        split = {k: int(v) for k, v in body.get("trafficSplit", {}).items()}
        model = self._version(vertex._by_number(deployed.model, self.project))
        deployed.id = deployed.id or str(next(self._ids))
        if not _DEPLOYED_ID.fullmatch(deployed.id):
            raise invalid(f"deployed_model.id {deployed.id!r} must match {_DEPLOYED_ID.pattern}")
        if deployed.id in {d.id for d in endpoint.deployed_models}:  # AIP-133
            raise Refusal(409, "ALREADY_EXISTS", f"DeployedModel {deployed.id} already exists")
        resources = deployed.dedicated_resources
        if not resources.machine_spec.machine_type:  # proto: "Required."
            raise invalid("dedicated_resources.machine_spec.machine_type is required")
        if resources.min_replica_count < 1:  # proto: min_replica_count
            raise invalid("dedicated_resources.min_replica_count must be at least 1")
        if (
            resources.max_replica_count
            and resources.max_replica_count < resources.min_replica_count
        ):
            raise invalid("max_replica_count is below min_replica_count")
        if not self.quota:
            raise Refusal(
                429,
                "RESOURCE_EXHAUSTED",
                "The following quotas are exceeded: CustomModelServingCPUsPerProjectPerRegion",
            )
        # proto: DeployModelRequest.traffic_split, '"0" should be used'
        split = {deployed.id if k == "0" else k: v for k, v in split.items()}
        self._check_split(endpoint, split, deployed.id)
        deployed.model, deployed.model_version_id = model.name, model.version_id
        return self._operation(name, "deploy", lambda: self._deploy(name, deployed, model, split))

    def _deploy(
        self, name: str, deployed: Any, model: Any, split: dict[str, int]
    ) -> dict[str, Any]:
        if model.version_id not in self.versions.get(model.name, {}):
            raise Refusal(400, PRECONDITION, f"Model {model.name}@{model.version_id} was deleted")
        container = self.start(model)
        if container.health() != 200:  # container: "Health checks"
            raise Refusal(400, PRECONDITION, "Model server never became ready. Please check logs")
        endpoint = self.endpoints[name]
        vertex._stamp(aiplatform_v1.DeployedModel.pb(deployed).create_time, self.now())
        self.containers[deployed.id] = container
        self.quota -= 1
        endpoint.deployed_models.append(deployed)
        if split:
            endpoint.traffic_split = split
        self._changed(endpoint)
        return {
            "deployedModel": json_format.MessageToDict(aiplatform_v1.DeployedModel.pb(deployed))
        }

    def undeploy_model(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        endpoint, gone = self._idle(name), body["deployedModelId"]
        if gone not in {d.id for d in endpoint.deployed_models}:
            raise Refusal(404, "NOT_FOUND", f"DeployedModel {gone} does not exist")
        split = {k: int(v) for k, v in body.get("trafficSplit", {}).items()}
        self._check_split(endpoint, split)
        last = len(endpoint.deployed_models) == 1
        # proto: UndeployModelRequest.traffic_split, "only if it doesn't have any traffic assigned"
        if (split or endpoint.traffic_split).get(gone) and not last:
            raise Refusal(400, PRECONDITION, f"DeployedModel {gone} has traffic; move it away")

        def finish() -> dict[str, Any]:
            left = [d for d in endpoint.deployed_models if d.id != gone]
            endpoint.deployed_models = left
            after = split or dict(endpoint.traffic_split)
            endpoint.traffic_split = {k: v for k, v in after.items() if k != gone} if left else {}
            self.containers.pop(gone, None)
            self.quota += 1
            self._changed(endpoint)
            return {}

        return self._operation(name, "undeploy", finish)

    def predict(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        endpoint = vertex._lookup(self.endpoints, name, "Endpoint")
        split = {k: v for k, v in endpoint.traffic_split.items() if v}
        if not split:  # explainable_ai_sdk#3 quotes it
            raise Refusal(400, PRECONDITION, f"Endpoint {name} doesn't have traffic_split.")
        (chosen,) = self.random.choices([*split], [*split.values()])
        deployed = next(d for d in endpoint.deployed_models if d.id == chosen)
        text = json.dumps({"instances": body["instances"]})
        code, reply = self.containers[chosen].predict(text.encode())
        at = self.now()
        self.requests.append((at, name, chosen, f"{code // 100}xx", self.latency_ms))
        self._log(endpoint, chosen, body["instances"], reply)
        if code != 200:
            raise Refusal(code, "INVALID_ARGUMENT" if code < 500 else "INTERNAL", str(reply))
        return {
            "predictions": reply["predictions"],
            "deployedModelId": chosen,
            "model": deployed.model,
            "modelVersionId": deployed.model_version_id,
        }

    def _log(self, endpoint: Any, chosen: str, instances: list[Any], reply: Any) -> None:
        """Adds a row to the request log; logging: the columns; assumed: a text an instance."""
        config = endpoint.predict_request_response_logging_config
        if not config.enabled or self.random.random() >= config.sampling_rate:
            return
        row = {
            "endpoint": endpoint.name.rsplit("/", 1)[1],
            "deployed_model_id": chosen,
            "logging_time": self.now(),
            "request_id": decimal.Decimal(self.random.getrandbits(60)),
            "request_payload": [json.dumps(instance) for instance in instances],
            "response_payload": [json.dumps(reply)],
        }
        self.logged.append(row)

    def log_table(self) -> pa.Table:
        """Returns the table of BigQuery that the requests were logged to."""
        return pa.Table.from_pylist(self.logged, LOG_SCHEMA)

    # -- metrics

    def monitoring(self, verb: str, target: str) -> tuple[int, Any] | None:
        """Answers `timeSeries.list`; None for another method."""
        parts = urlsplit(target)
        if verb != "GET" or not re.fullmatch(r"/v3/projects/[^/]+/timeSeries", parts.path):
            return None
        query = {key: value[0] for key, value in parse_qs(parts.query).items()}
        try:
            return 200, {"timeSeries": self._series(query)}
        except Refusal as refusal:
            return refusal.code, vertex._error(refusal.code, refusal.status, str(refusal))

    def _series(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        wanted = dict(re.findall(r'([\w.]+) ?= ?"([^"]*)"', query.get("filter", "")))
        if not {"metric.type", "resource.labels.endpoint_id"} <= set(wanted):
            raise invalid("filter: name one metric.type and the endpoint")
        start, end = (
            datetime.datetime.fromisoformat(query[f"interval.{side}"].replace("Z", "+00:00"))
            for side in ("startTime", "endTime")
        )
        period = float(query["aggregation.alignmentPeriod"].removesuffix("s"))
        if period < 60:  # monitoring: Aggregation.alignmentPeriod, "at least 60 seconds"
            raise invalid("aggregation.alignment_period must be at least 60s")
        rows = [
            row
            for row in self.requests
            if start < row[0] <= min(end, self.now() - DELAY)
            and row[1].endswith(f"/endpoints/{wanted['resource.labels.endpoint_id']}")
            and row[2] == wanted.get("metric.labels.deployed_model_id", row[2])
        ]
        aligner = query.get("aggregation.perSeriesAligner")
        kind = wanted["metric.type"].removeprefix(METRIC)
        if (kind, aligner) == ("response_count", "ALIGN_DELTA"):
            counts = Counter((row[2], row[3]) for row in rows)
            return [
                _one(
                    kind, {"deployed_model_id": id_, "response_code": code}, {"int64Value": str(n)}
                )
                for (id_, code), n in counts.items()
            ]
        if (kind, aligner) == ("prediction_latencies", "ALIGN_PERCENTILE_95"):
            total = wanted.get("metric.labels.latency_type", "total")  # metrics: latency_type
            by_id: dict[str, list[float]] = {}
            for row in rows:
                by_id.setdefault(row[2], []).append(row[4])
            return [
                _one(
                    kind,
                    {"deployed_model_id": id_, "latency_type": total},
                    {"doubleValue": sorted(ms)[math.ceil(0.95 * len(ms)) - 1]},
                )
                for id_, ms in by_id.items()
            ]
        raise invalid(f"{aligner} does not go with {kind}")  # monitoring: Aligner


def _check_log(config: Any) -> None:
    """Refuses a request log that the service would refuse."""
    if not config.enabled:
        return
    if not 0 < config.sampling_rate <= 1:  # proto: sampling_rate, "a fraction in range(0,1]"
        raise invalid("sampling_rate must be in (0, 1]")
    if not _TABLE.fullmatch(config.bigquery_destination.output_uri):
        raise invalid("bigquery_destination.output_uri is no table of BigQuery")


def _one(kind: str, labels: dict[str, str], value: dict[str, Any]) -> dict[str, Any]:
    return {"metric": {"type": METRIC + kind, "labels": labels}, "points": [{"value": value}]}


_MODEL = rf"({_PARENT}/models/[^/:]+)"
_ENDPOINT = rf"({_PARENT}/endpoints/[^/:]+)"
Serving.routes = [
    ("POST", rf"{_MODEL}:mergeVersionAliases", "merge_aliases", "name"),
    ("DELETE", rf"{_MODEL}:deleteVersion", "delete_version", "name"),
    ("GET", rf"{_MODEL}:listVersions", "list_versions", "name"),
    ("POST", rf"{_MODEL}/evaluations:import", "import_evaluation", "name"),
    ("GET", rf"{_MODEL}/evaluations", "list_evaluations", "name"),
    ("POST", rf"({_PARENT})/endpoints", "create_endpoint", "parent"),
    ("GET", rf"({_PARENT})/endpoints", "list_endpoints", "parent"),
    ("GET", _ENDPOINT, "get_endpoint", "name"),
    ("PATCH", _ENDPOINT, "update_endpoint", "name"),
    ("DELETE", _ENDPOINT, "delete_endpoint", "name"),
    ("POST", rf"{_ENDPOINT}:deployModel", "deploy_model", "name"),
    ("POST", rf"{_ENDPOINT}:undeployModel", "undeploy_model", "name"),
    ("POST", rf"{_ENDPOINT}:predict", "predict", "name"),
    ("GET", rf"({_PARENT}/(?:models|endpoints)/[^/:]+/operations/[^/:]+)", "get_operation", "name"),
    ("GET", rf"({_PARENT}/(?:models|endpoints)/[^/:]+)/operations", "list_operations", "name"),
    *vertex.Vertex.routes,
]
