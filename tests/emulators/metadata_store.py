"""The emulated Vertex AI with a metadata store: contexts, artifacts, executions and their events.

It accepts and refuses what the real service does. Each rule names its source: proto = the field's
comment in google.cloud.aiplatform_v1 1.165; rpc = the method's comment in its metadata_service
client; schemas = https://cloud.google.com/vertex-ai/docs/ml-metadata/system-schemas; sdk =
google.cloud.aiplatform.metadata; AIP = https://aip.dev.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import json_format

from tests.emulators import vertex
from tests.emulators.vertex import Refusal, invalid

_STORE = rf"{vertex._PARENT}/metadataStores/[^/:]+"
_ID = re.compile(r"[a-z0-9-]{4,128}")  # proto: CreateContextRequest.context_id, and the others'
MAX_METADATA = 200_000  # proto: Context.metadata, "should not exceed 200KB"
MAX_PARENTS = 10  # proto: Context.parent_contexts, "at most 10"
SCHEMAS = {  # schemas; sdk: schema/system, each of version 0.0.1
    "contexts": {
        "system.Experiment",
        "system.ExperimentRun",
        "system.Pipeline",
        "system.PipelineRun",
    },
    "artifacts": {"system.Artifact", "system.Dataset", "system.Metrics", "system.Model"},
    "executions": {"system.ContainerExecution", "system.CustomJobExecution", "system.Run"},
}
_TYPES = {
    "contexts": aiplatform_v1.Context,
    "artifacts": aiplatform_v1.Artifact,
    "executions": aiplatform_v1.Execution,
}
_LISTS = {
    "contexts": aiplatform_v1.ListContextsResponse,
    "artifacts": aiplatform_v1.ListArtifactsResponse,
    "executions": aiplatform_v1.ListExecutionsResponse,
}


class MetadataStores(vertex.Vertex):
    """One project's metadata store, beside its jobs.

    Args:
        has_store: Whether the store `default` exists, which the first pipeline job makes.
        **of_vertex: As for `Vertex`.
    """

    def __init__(self, has_store: bool = True, **of_vertex: Any) -> None:
        super().__init__(**of_vertex)
        self.has_store = has_store
        self.nodes: dict[str, Any] = {}
        """Each context, artifact and execution by its name."""
        self.members: dict[str, list[str]] = {}
        """The artifacts and executions of a context."""
        self.events: dict[tuple[str, str], Any] = {}
        """The event of an execution and an artifact."""

    def state(self) -> tuple[dict[str, str], dict[str, list[str]], dict[tuple[str, str], str]]:
        """Returns what exists, to be compared."""
        nodes = {name: type(node).to_json(node) for name, node in self.nodes.items()}
        events = {pair: type(event).to_json(event) for pair, event in self.events.items()}
        return nodes, {name: list(m) for name, m in self.members.items()}, events

    def add_run(self, job_id: str) -> str:
        """Adds a pipeline job with its context, and returns that; sdk: PipelineJob._get_context."""
        parent = f"projects/{vertex.PROJECT_NUMBER}/locations/{self.location}"
        context = aiplatform_v1.Context(
            name=f"{parent}/metadataStores/default/contexts/{job_id}",
            display_name=job_id,
            schema_title="system.PipelineRun",
            schema_version="0.0.1",
        )
        name = f"{parent}/pipelineJobs/{job_id}"
        detail = aiplatform_v1.PipelineJobDetail(pipeline_run_context=context)
        self.jobs[name] = aiplatform_v1.PipelineJob(name=name, job_detail=detail)
        self.nodes[context.name] = context
        return str(context.name)

    def get_store(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        self._check_store(name)
        return aiplatform_v1.MetadataStore(name=name)

    def _check_store(self, name: str) -> None:
        if not self.has_store or "/metadataStores/default" not in name:
            raise Refusal(404, "NOT_FOUND", f"MetadataStore {name} was not found")

    def create_node(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        self._check_store(parent)
        kind = parent.rpartition("/")[2]
        node = vertex._parse(body, _TYPES[kind])
        id_ = query.get(f"{kind[:-1]}Id") or f"id-{next(self._ids)}"
        if not _ID.fullmatch(id_):
            raise invalid(f"{kind[:-1]}_id {id_!r} must match {_ID.pattern}")
        if len(node.display_name) > 128:  # proto: display_name
            raise invalid("display_name is longer than 128 characters")
        if node.schema_title not in SCHEMAS[kind] or node.schema_version != "0.0.1":
            # proto: "expected to be registered in earlier Create Schema calls"
            raise Refusal(
                404,
                "NOT_FOUND",
                f"MetadataSchema {node.schema_title}@{node.schema_version} was not found",
            )
        pb = type(node).pb(node)
        if len(json_format.MessageToJson(pb.metadata).encode()) > MAX_METADATA:
            raise invalid("metadata exceeds 200KB")
        vertex._check_labels(node.labels)
        name = f"{parent}/{id_}"
        if name in self.nodes:  # proto: "Otherwise the request will fail with ALREADY_EXISTS"
            raise Refusal(409, "ALREADY_EXISTS", f"{name} already exists")
        if kind == "contexts":
            pb.ClearField("parent_contexts")  # proto: "Output only."
        pb.name = name
        vertex._stamp(pb.create_time, self.now())
        vertex._stamp(pb.update_time, self.now())
        self.nodes[name] = node
        return node

    def get_node(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        return vertex._lookup(self.nodes, name, "metadata resource")

    def list_nodes(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        self._check_store(parent)
        kind = parent.rpartition("/")[2]
        fits = self._filter(query.get("filter", ""))
        nodes = [n for name, n in self.nodes.items() if name.startswith(f"{parent}/") and fits(n)]
        page, token = vertex._page(nodes, query)
        return _LISTS[kind](**{kind: page}, next_page_token=token)

    def _filter(self, text: str) -> Callable[[Any], bool]:
        """Returns whether a node fits; of AIP-160's grammar, what sdk writes is understood."""
        terms = [self._term(part.strip("()")) for part in text.split(" AND ")] if text else []
        return lambda node: all(term(node) for term in terms)

    def _term(self, text: str) -> Callable[[Any], bool]:
        if titles := re.fullmatch(r'schema_title="[^"]+"( OR schema_title="[^"]+")*', text):
            allowed = set(re.findall(r'"([^"]+)"', titles[0]))
            return lambda node: node.schema_title in allowed
        # proto: ListContextsRequest.filter, by the number of the project
        if parents := re.fullmatch(r'parent_contexts:"([^"]+)"', text):
            return lambda node: parents[1] in node.parent_contexts
        # proto: ListArtifactsRequest.filter
        if context := re.fullmatch(r'in_context\("([^"]+)"', text):
            return lambda node: node.name in self.members.get(context[1], [])
        raise invalid(f"filter {text!r} is not understood")

    def add_children(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        vertex._lookup(self.nodes, name, "Context")
        for child_name in self._canonical(body.get("childContexts", [])):
            child = vertex._lookup(self.nodes, child_name, "Context")
            if name in child.parent_contexts:  # rpc: "they are simply skipped"
                continue
            # rpc: a cycle, or more than 10 parents, is INVALID_ARGUMENT
            if child_name == name or child_name in self._ancestors(name):
                raise invalid("the call would create a cycle")
            if len(child.parent_contexts) >= MAX_PARENTS:
                raise invalid(f"{child_name} has {MAX_PARENTS} parents")
            child.parent_contexts.append(name)
        return None

    def _ancestors(self, name: str) -> set[str]:
        parents = set(self.nodes[name].parent_contexts)
        return parents.union(*(self._ancestors(parent) for parent in parents))

    def add_members(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        vertex._lookup(self.nodes, name, "Context")
        members = self.members.setdefault(name, [])
        for member in self._canonical([*body.get("artifacts", []), *body.get("executions", [])]):
            vertex._lookup(self.nodes, member, "Artifact or Execution")
            if member not in members:  # rpc: "they are simply skipped"
                members.append(member)
        return None

    def add_events(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        vertex._lookup(self.nodes, name, "Execution")
        for entry in body.get("events", []):
            event = vertex._parse(entry, aiplatform_v1.Event)
            (event.artifact,) = self._canonical([event.artifact])
            vertex._lookup(self.nodes, event.artifact, "Artifact")
            if not event.type_:  # proto: Event.type, "Required."
                raise invalid("event.type is required")
            event.execution = name
            # rpc: "If an Event already exists between the Execution and the Artifact, the Event is
            # skipped."
            self.events.setdefault((name, event.artifact), event)
        return None

    def query_execution(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        execution = vertex._lookup(self.nodes, name, "Execution")
        events = [e for (of, _), e in self.events.items() if of == name]
        artifacts = [self.nodes[event.artifact] for event in events]
        return aiplatform_v1.LineageSubgraph(
            artifacts=artifacts, executions=[execution], events=events
        )

    def _canonical(self, names: list[str]) -> list[str]:
        return [vertex._by_number(name, self.project) for name in names]


_KIND = "(?:contexts|artifacts|executions)"
_CONTEXT, _EXECUTION = (rf"({_STORE}/{kind}/[^/:]+)" for kind in ("contexts", "executions"))
MetadataStores.routes = [
    ("GET", rf"({_STORE})", "get_store", "name"),
    ("POST", rf"({_STORE}/{_KIND})", "create_node", "parent"),
    ("GET", rf"({_STORE}/{_KIND})", "list_nodes", "parent"),
    ("GET", rf"({_STORE}/{_KIND}/[^/:]+)", "get_node", "name"),
    ("POST", rf"{_CONTEXT}:addContextChildren", "add_children", "name"),
    ("POST", rf"{_CONTEXT}:addContextArtifactsAndExecutions", "add_members", "name"),
    ("POST", rf"{_EXECUTION}:addExecutionEvents", "add_events", "name"),
    ("GET", rf"{_EXECUTION}:queryExecutionInputsAndOutputs", "query_execution", "name"),
    *vertex.Vertex.routes,
]
