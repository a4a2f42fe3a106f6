"""Mirrors a run to Vertex AI Experiments and ML Metadata, once it has ended.

google-cloud-aiplatform reads what is written here: an experiment is a context of its own id, and a
run of it a context `<experiment>-<run>` with parameters, metrics and a state as metadata
(google/cloud/aiplatform/metadata/experiment_run_resource.py). What the run was made from are
artifacts named by their digests, which an execution links to the model.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quatrain.components import history
from quatrain.components.errors import QuatrainError
from quatrain.components.evaluate.lineage import LINEAGE
from quatrain.components.folder import read_manifest
from quatrain.components.notify.failures import failed_steps
from quatrain.components.notify.metadata_store import MAX_ID, MetadataStore, MirrorError
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.wording import counted, first_line

DEADLINE_S = 60.0
"""The longest that a mirror may take."""
STATES = {"SUCCEEDED": "COMPLETE", "CANCELLED": "CANCELLED"}
"""The state of an experiment run by that of a pipeline; that of any other is FAILED."""
_SUFFIX = "-tb-run"
"""What google-cloud-aiplatform appends to the id of a run for one of TensorBoard."""


@dataclass(frozen=True)
class Node:
    """An artifact.

    Attributes:
        kind: What it is: source, transform, trainer, image or model.
        digest: What names its content.
        event: INPUT or OUTPUT of the run.
        uri: Where it is, or an empty text.
        schema: The title of its schema.
        metadata: What else is known of it.
    """

    kind: str
    digest: str
    event: str
    uri: str = ""
    schema: str = "system.Artifact"
    metadata: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """The last part of its name."""
        return f"quatrain-{self.kind}-{self.digest}"


@dataclass(frozen=True)
class Mirrored:
    """A run as Vertex AI gets it.

    Attributes:
        parameters: What it was made by, by name.
        metrics: The metrics of its test rows, by name.
        nodes: What it was made from, and its model.
        lineage: The uri and the sha256 of its lineage.json.
    """

    parameters: Mapping[str, str | float]
    metrics: Mapping[str, float]
    nodes: tuple[Node, ...] = ()
    lineage: Mapping[str, str] | None = None


def mirror_run(
    store: MetadataStore, experiment: str, spec: str, root: str, run: str, state: str, message: str
) -> str:
    """Mirrors a run that has ended, and returns a sentence; it raises nothing and does not hang.

    Args:
        store: Where to.
        experiment: The name of the experiment.
        spec: The model spec as JSON text, or the uri of its file.
        root: The folder of all runs.
        run: The name of the run.
        state: SUCCEEDED, FAILED or CANCELLED.
        message: The error of the pipeline, which names the tasks that failed.
    """
    what = f"mirrored to experiment {experiment}"
    sentences = [f"not {what}: it took more than {DEADLINE_S:.0f} s"]

    def work() -> None:
        try:
            mirrored = read_run(spec, root, run, failed_steps(message))
            _write(store, experiment, run, STATES.get(state, "FAILED"), mirrored)
        except Exception as error:  # a mirror never fails a run
            why = first_line(error) if isinstance(error, QuatrainError) else type(error).__name__
            sentences.append(f"not {what}: {why}")
        else:
            sentences.append(f"{what}, in {counted(store.calls, 'request')}")

    thread = threading.Thread(target=work, daemon=True)  # a slow service must not hold the process
    thread.start()
    thread.join(DEADLINE_S)
    return f"notify: {sentences[-1]}"


def read_run(spec: str, root: str, run: str, failed: list[str]) -> Mirrored:
    """Returns what is to be mirrored of a run, by its records at the root.

    Args:
        spec: The model spec as JSON text, or the uri of its file.
        root: The folder of all runs.
        run: The name of the run.
        failed: The steps that failed.

    Raises:
        QuatrainError: The spec or a record cannot be read.
    """
    checked = read_parameter(spec)
    parameters: dict[str, str | float] = {"model": checked.name, "spec": checked.sha256}
    parameters |= {f"train.{k}": v for k, v in _settings(checked)}
    if failed:
        parameters["failed"] = ", ".join(failed)
    record = history.measured_run(root, checked.name, run)
    if record is None:
        return Mirrored(parameters, {})
    metrics = {
        name: float(metric["value"])
        for name, metric in record["metrics"].items()
        if metric["value"] is not None
    }
    parameters["decision"] = record["gate"].get("decision", "")
    places = record["artifacts"]
    made_by = read_manifest(places["evaluation"], "metrics.json", "evaluate").get("made_by", {})
    if (sha256 := made_by.get("lineage")) is None:  # a run of an earlier version
        return Mirrored(parameters, metrics)
    lineage = read_manifest(places["evaluation"], LINEAGE, "evaluate", sha256)
    champion = lineage["champion"] or {}
    parameters |= {"champion": champion.get("run", ""), "pipeline": lineage["pipeline"]}
    parameters |= {f"rows.{split}": n for split, n in lineage["examples"]["rows"].items()}
    window = lineage["source"]["window"] or {}
    parameters |= {f"window.{side}": window[side] for side in ("first", "last") if side in window}
    return Mirrored(
        parameters,
        metrics,
        tuple(node for node in _nodes(checked, lineage, places) if node.digest),
        {"uri": f"{places['evaluation']}/{LINEAGE}", "sha256": sha256},
    )


def _settings(spec: ModelSpec) -> Iterator[tuple[str, str | float]]:
    """Yields the settings of the training that are one value."""
    for key, value in spec.as_document()["train"].items():
        if isinstance(value, str | int | float):
            yield key, value


def _nodes(
    spec: ModelSpec, lineage: Mapping[str, Any], places: Mapping[str, str]
) -> Iterator[Node]:
    """Yields what lineage.json names; where its images are one, once."""
    source = lineage["source"]
    yield Node(
        "source",
        source["digest"],
        "INPUT",
        spec.source.uri[0],
        "system.Dataset",
        {"files": len(source["files"])},
    )
    yield Node("trainer", lineage["trainer"], "INPUT")
    for image in sorted(set(filter(None, lineage["image"].values()))):
        digest = image.partition("@sha256:")[2] or hashlib.sha256(image.encode()).hexdigest()
        yield Node("image", digest, "INPUT", image)
    transform = f"{places['examples']}/transform.json"
    yield Node("transform", lineage["examples"]["transform"], "OUTPUT", transform)
    model = f"{places['model']}/model"
    yield Node("model", lineage["model"], "OUTPUT", model, "system.Model", {"model": spec.name})


def _write(store: MetadataStore, experiment: str, run: str, state: str, mirrored: Mirrored) -> None:
    """Writes a run; whatever exists already stays as it is.

    Raises:
        MirrorError: The service refused it, or its name is too long.
    """
    id_ = f"{experiment}-{run}"
    if len(id_) > MAX_ID - len(_SUFFIX):
        raise MirrorError(
            f"the id {id_} is longer than {MAX_ID - len(_SUFFIX)} characters; name a shorter "
            f"experiment in the cloud's settings"
        )
    whole = store.create(
        "contexts",
        experiment,
        "system.Experiment",
        {"displayName": experiment, "metadata": {"experiment_deleted": False}},
    )
    metadata = {
        "_params": dict(mirrored.parameters),
        "_metrics": dict(mirrored.metrics),
        "_state": state,
    }
    context = store.create(
        "contexts", id_, "system.ExperimentRun", {"displayName": run, "metadata": metadata}
    )
    store.add(whole, "addContextChildren", {"childContexts": [context]})
    if mirrored.nodes:
        _write_graph(store, context, id_, run, state, mirrored)
    if job := store.context_of_job(run):
        store.add(context, "addContextChildren", {"childContexts": [job]})


def _write_graph(
    store: MetadataStore, context: str, id_: str, run: str, state: str, mirrored: Mirrored
) -> None:
    """Writes what a run was made from, its model, and the execution that links them."""
    names = [_create_node(store, node) for node in mirrored.nodes]
    execution = store.create(
        "executions",
        id_,
        "system.ContainerExecution",
        {"displayName": run, "state": state, "metadata": {"lineage": dict(mirrored.lineage or {})}},
    )
    pairs = zip(mirrored.nodes, names, strict=True)
    events = [{"artifact": name, "type": node.event} for node, name in pairs]
    store.add(execution, "addExecutionEvents", {"events": events})
    members = {"artifacts": names, "executions": [execution]}
    store.add(context, "addContextArtifactsAndExecutions", members)


def _create_node(store: MetadataStore, node: Node) -> str:
    artifact = {
        "displayName": f"{node.kind} {node.digest[:12]}",
        "uri": node.uri,
        "state": "LIVE",
        "metadata": {"sha256": node.digest, **(node.metadata or {})},
    }
    return store.create("artifacts", node.id, node.schema, artifact)
