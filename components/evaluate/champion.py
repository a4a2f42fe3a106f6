"""The champion, the last model that was promoted: how it is found, and how it is replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quatrain.components import history
from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate.changes import record_of
from quatrain.components.evaluate.decision import (
    HOLD,
    PROMOTE,
    STAYS,
    Decision,
    best_after,
    why_newer,
)
from quatrain.components.evaluate.gate import require_passed, verdict_of
from quatrain.components.evaluate.measured_run import measured_run
from quatrain.components.exchange import Overtaken
from quatrain.components.folder import read_manifest
from quatrain.components.preprocess.splitting import threshold
from quatrain.components.quick_run import is_quick
from quatrain.components.serve.served_model import read_metadata, read_transform
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.storage import mounted
from quatrain.components.versions import model_of
from quatrain.trainer.features.transform import Transform
from quatrain.trainer.uris import by_uri


@dataclass(frozen=True)
class Champion:
    """A model that a new one is compared with.

    Attributes:
        run: The run that trained it.
        created: When that run was created.
        model: The folder of its SavedModel.
        why: Why it cannot be compared; empty when its files give no reason. Whether TensorFlow can
            load it shows only when it must answer.
        metadata: The sha256 of its metadata.json.
        window: The days that its run has read, `first` and `last`; None without a window.
    """

    run: str
    created: str
    model: str
    why: str = ""
    metadata: str = ""
    window: Mapping[str, Any] | None = None

    def as_json(self, window: Mapping[str, Any] | None, created: str) -> dict[str, Any]:
        """Returns the champion as metrics.json has it before it has answered.

        Args:
            window: The days that this run has read.
            created: When this run was created.
        """
        theirs = {"run": self.run, "made": self.created, "window": self.window}
        return {
            "run": self.run,
            "made": self.created,
            "why": self.why,
            "newer": why_newer(theirs, window, created),
        }

    def in_lineage(self) -> dict[str, Any]:
        """Returns the champion as lineage.json names it."""
        return {"run": self.run, "metadata": self.metadata, "why": self.why}


def find_champion(root: str, spec: ModelSpec, transform: Transform) -> Champion | None:
    """Returns the champion of a model, or None before a run was promoted.

    Args:
        root: The folder of all runs, local or gs://; if empty, there is no champion.
        spec: The spec of this run.
        transform: The fitted transform of this run's examples.

    Raises:
        ArtifactError: The champion's record cannot be read.
    """
    record = history.champion_of(root, spec.name) if root else None
    return None if record is None else _earlier_model(root, record, spec, transform)


def find_best(root: str, spec: ModelSpec, transform: Transform) -> Champion | None:
    """Returns the best earlier model, as the champion's record names it; None if it is that.

    Args:
        root: The folder of all runs, local or gs://; if empty, there is none.
        spec: The spec of this run.
        transform: The fitted transform of this run's examples.

    Raises:
        ArtifactError: The champion's record cannot be read.
    """
    record = (history.champion_of(root, spec.name) if root else None) or {}
    best = record.get("best")
    return None if not best else _earlier_model(root, best, spec, transform)


def _earlier_model(
    root: str, record: Mapping[str, Any], spec: ModelSpec, transform: Transform
) -> Champion:
    """Returns the model of a record, and why it cannot be compared, if it cannot."""
    folder = str(Path(mounted(model_of(root, spec.name, record)), "model"))
    why = _why_not_comparable(record, folder, spec, transform)
    metadata = str(record.get("metadata", ""))
    window = record.get("window")
    return Champion(record["run"], record["made"], folder, by_uri(why), metadata, window)


def _why_not_comparable(
    record: Mapping[str, Any], folder: str, spec: ModelSpec, transform: Transform
) -> str:
    """Returns why two models cannot be compared on these test rows; empty when they can.

    Only rows that neither model has learned from show which one is better, and both models must be
    able to answer them.
    """
    if not (record.get("model") and record.get("metadata")):
        return "its model was not noted, as by an earlier version of Quatrain"
    if not _test_rows_are_new(record["split"], split_of(spec)):
        return "rows were split otherwise for it, so it may have learned some of these test rows"
    if not Path(folder).is_dir():
        return f"its model is not at {folder} any more"
    metadata = Path(folder, "metadata.json")
    if metadata.is_file() and (digest := sha256_of(metadata)) != record["metadata"]:
        return (
            f"{metadata} is not the one that it passed its gate with: its sha256 is "
            f"{digest[:12]}..., champion.json says {record['metadata'][:12]}..."
        )
    try:
        read_metadata(Path(folder))
        theirs = read_transform(Path(folder))
    except ArtifactError as error:
        return str(error)
    if (theirs.task, theirs.label) != (transform.task, transform.label):
        return f"it predicts another label, or other classes of {theirs.label.name!r}"
    types = {i.name: i.type for i in transform.inputs}
    for column in theirs.inputs:
        if types.get(column.name) != column.type:
            return f"it takes column {column.name!r} as {column.type}, which no feature reads now"
    return ""


def settle(
    spec: ModelSpec,
    root: str,
    run: str,
    created: str,
    examples: str,
    evaluation: str,
    model_uri: str,
) -> bool:
    """Carries out the decision on a model: it takes the champion's place, is held, or fails.

    In each case, the run is recorded as one that was measured, and as the last one. A quick run
    leaves no record, and its bounds decide nothing, since they are for a model of all rows.

    Args:
        spec: The spec of the run.
        root: The folder of all runs, local or gs://; if empty, nothing is recorded.
        run: The name of the run.
        created: When the run was created.
        examples: The artifact of the preprocess step.
        evaluation: The artifact of the evaluate step.
        model_uri: Where the artifact of the train step is.

    Returns:
        Whether it is the champion now, and recorded as such.

    Raises:
        GateFailed: The model missed a bound of the gate.
    """
    arguments = spec, root, run, created, examples, evaluation, model_uri
    try:
        return _settle(*arguments)
    except Overtaken:  # another run was promoted just now, so that this one is held
        return _settle(*arguments)


def _settle(
    spec: ModelSpec,
    root: str,
    run: str,
    created: str,
    examples: str,
    evaluation: str,
    model_uri: str,
) -> bool:
    """Carries out the decision on a model; the arguments are those of `settle`."""
    metrics = read_manifest(evaluation, "metrics.json", "evaluate")
    if is_quick(metrics):
        print(f"evaluate: gate {verdict_of(metrics)}; a quick run is never promoted", flush=True)
        require_passed(metrics, model_uri, only=("skew",))
        return False
    name, gate = metrics["name"], metrics["gate"]
    decision = Decision(gate["decision"], gate["why"], gate["rows_to_decide"])
    holder = None
    if root and decision.decision == PROMOTE:
        holder = history.champion_of(root, name)
        if moved := _why_moved(holder, run, metrics):
            decision = Decision(HOLD, moved)
    metrics = {**metrics, "gate": {**gate, **decision.as_json()}}
    made_of = record_of(spec.as_document(), metrics)
    history.record_last(root, name, made_of)
    artifacts = {"examples": examples, "evaluation": evaluation, "model": model_uri}
    history.record_measured(root, name, measured_run(made_of, metrics, artifacts))
    require_passed(metrics, model_uri)
    is_promoted = decision.decision == PROMOTE
    history.record_run(
        root,
        name,
        run,
        created,
        examples,
        model=model_uri,
        split=metrics["made_by"]["split"],
        metadata=metrics["made_by"]["metadata"],
        roles=history.ROLES if is_promoted else ("previous",),
        best=_best_after(holder, run, metrics) if is_promoted else None,
        over=str(holder["run"]) if holder else "",
        evaluation=evaluation,
    )
    words = "promoted" if is_promoted else f"held: {decision.why}"
    print(f"evaluate: {words}", flush=True)
    return is_promoted and bool(root)


def _best_after(
    holder: Mapping[str, Any] | None, run: str, metrics: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Returns the record of the best earlier model once a run is promoted; None if it is that.

    A gate that is repeated after its run has taken the place keeps what it recorded then.
    """
    if holder and holder["run"] == run:
        return dict(holder["best"]) if holder.get("best") else None
    return best_after(holder, metrics)


def _why_moved(holder: Mapping[str, Any] | None, run: str, metrics: Mapping[str, Any]) -> str:
    """Returns why another run that was promoted since the comparison keeps the place; else empty.

    A gate that is repeated after its run has taken the place takes it again.
    """
    compared = metrics["champion"]["run"] if metrics["champion"] else ""
    if holder is None or holder["run"] in (run, compared):
        return ""
    return f"run {holder['run']} became the champion while this one was measured, {STAYS}"


def split_of(spec: ModelSpec) -> dict[str, Any]:
    """Returns the settings that decide the split of a row, as recorded with a champion."""
    return spec.split.model_dump(mode="json")


def _test_rows_are_new(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Returns whether a champion cannot have used any of our test rows to train or to stop early.

    Under the same hash or column split, a row is always in the same part. Under a split by time, a
    champion has used the rows before its own test period, so that must not begin after ours.
    """
    if theirs == ours:
        return True
    if theirs["by"] != "time" or ours["by"] != "time" or theirs["column"] != ours["column"]:
        return False
    starts = [threshold(split["test_from"]).as_py() for split in (theirs, ours)]
    return bool(starts[0] <= starts[1])
