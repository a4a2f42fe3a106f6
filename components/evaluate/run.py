"""The evaluate step: checks the artifacts, scores the test split and decides the gate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from quatrain.components.artifacts import CACHED, run_again, sha256_of
from quatrain.components.engine.failures import explain_faults
from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate import in_process
from quatrain.components.evaluate.answer_cache import AnswerCache
from quatrain.components.evaluate.champion import find_best, find_champion, split_of
from quatrain.components.evaluate.changes import not_compared, record_of, since_last_run
from quatrain.components.evaluate.decision import decide
from quatrain.components.evaluate.gate import check_gate
from quatrain.components.evaluate.importance.budget import Budget
from quatrain.components.evaluate.lineage import LINEAGE, lineage_of
from quatrain.components.evaluate.opponent.opponent import OpponentPlan
from quatrain.components.evaluate.passes import EvaluationPlan, Shard
from quatrain.components.evaluate.past_answers import score_past_answers, sentence_of
from quatrain.components.evaluate.report.report import render
from quatrain.components.evaluate.this_run import ThisRun
from quatrain.components.evaluate.warning import Evidence, run_warnings
from quatrain.components.folder import commit, read_manifest
from quatrain.components.preprocess.raw_sample import STEM
from quatrain.components.quick_run import NOT_COMPARED, is_quick
from quatrain.components.serve.served_model import on_this_machine, read_metadata
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.storage import mounted, open_file, read_file, unmounted, write_file
from quatrain.components.wording import counted
from quatrain.trainer.features.transform import Transform
from quatrain.trainer.uris import named

if TYPE_CHECKING:
    from quatrain.components.engine.launch import Launch

VERSION = 2
_EARLIER_ANSWERS = {
    "champion": "champion",
    "best": "best earlier model",
    "opponent": "opponent",
}
"""Whose answers an earlier run may have recorded, by their names in the measurements."""
HTML = "text/html; charset=utf-8"

MAX_CLASSES = 100
MAX_MATRIX_BYTES = 100_000
"""The largest confusion matrix that goes into an artifact's metadata. Vertex AI takes 131 072 bytes
of a task's parameters and artifacts as JSON, and 204 800 of one field; 100 classes are 64 kB."""


def evaluate_model(
    spec: str,
    examples: Path | str,
    model: Path | str,
    out: Path | str,
    *,
    drift: Path | str | None = None,
    report: str = "",
    root: str = "",
    this_run: ThisRun = ThisRun(),  # noqa: B008 - frozen
    launch: Launch | None = None,
    cached: bool = True,
) -> dict[str, Any]:
    """Evaluates a model and writes predictions, report.html, lineage.json and, last, metrics.json.

    Args:
        spec: The spec, as it travels through the pipeline.
        examples: The artifact of the preprocess step, a path or gs:// uri.
        model: The artifact of the train step, a path or gs:// uri; the SavedModel is in its folder
            `model`.
        out: The artifact to write, a path or gs:// uri.
        drift: The artifact that compares the examples with those of earlier runs; None without one.
        report: Where the page of report.html is written once more; if empty, nowhere. Vertex shows
            an artifact whose uri is the page itself
            (https://docs.cloud.google.com/vertex-ai/docs/pipelines/output-html-md).
        root: The folder of all runs, where the champion and the last run are recorded; if empty,
            there are none.
        this_run: What names the run.
        launch: Where Beam scores; None scores in this process, without Beam, whose import and start
            take two seconds.
        cached: Whether recorded answers of the champion may be taken.

    Returns:
        The content of metrics.json. A failed gate is no error yet: `gate.require_passed` raises it,
        after the metrics are published.

    Raises:
        ArtifactError: An artifact is incomplete or altered, or the model and the examples do not
            belong together.
        DataError: A split has no rows, or a weight is negative or not finite.
        RunnerError: The engine is refused, has a wrong option, or failed.
    """
    if launch:
        launch.check(str(out))
    checked, examples = read_parameter(spec), str(examples)
    manifest = read_manifest(examples, "manifest.json", "preprocess")
    sha256 = manifest["files"]["statistics.json"]
    statistics = read_manifest(examples, "statistics.json", "preprocess", sha256)
    drift_document = None if drift is None else read_manifest(drift, "drift.json", "preprocess")
    with on_this_machine(f"{model}/model") as model_folder:
        metadata, digest = read_metadata(model_folder), sha256_of(model_folder / "metadata.json")
        transform_json = read_file(f"{examples}/transform.json")
        _require_same_transform(examples, transform_json, metadata)
        with explain_faults(str(out)), commit(out, "metrics.json") as folder:
            transform = Transform.from_json(transform_json.decode())
            quick = is_quick(manifest)
            n_rows = 0 if quick else manifest["rows"]["read"]  # the budget of a small table
            champion = None if quick else find_champion(root, checked, transform)
            best = None if quick else find_best(root, checked, transform)
            rivals = [r.model if r and not r.why else None for r in (champion, best)]
            # The trainer of someone's own, or of an earlier version, may not write them.
            class_weights = tuple((metadata.get("class_weights") or {}).values())
            served, shards = str(model_folder), mounted(examples)
            if launch and launch.remote:  # its workers have neither the copy nor a mount
                served, shards = f"{model}/model", examples
                rivals = [rival and unmounted(rival) for rival in rivals]
            train, test = (_shards(shards, split, manifest) for split in ("train", "test"))
            plan = EvaluationPlan(
                served,
                transform,
                checked.evaluate.slices,
                folder.uri,
                rivals[0],
                checked.evaluate.report_rows,
                _budget(checked, metadata, transform, n_rows),
                digest,
                champion.metadata if champion else "",
                AnswerCache(root, this_run.id, cached),
                _opponent_plan(shards, manifest, test, quick, class_weights),
                class_weights,
                best=rivals[1],
                best_sha256=best.metadata if best else "",
            )
            rows = manifest["rows"]["test"]
            print(
                f"evaluate: {counted(rows, 'test row')} in {counted(len(test), 'shard')}",
                flush=True,
            )
            if launch:
                from quatrain.components.evaluate.pipeline import score

                measured = score(plan, train, test, launch, checked.name)
            else:
                measured = in_process.score(plan, train, test)
            plan.cache.trim()
            past = None if quick else score_past_answers(checked, root, test, transform)
            if past:
                print(f"evaluate: {sentence_of(past)}", flush=True)
            measured["answers"] = past
            if drift_document and "served" in drift_document:
                measured["served"] = drift_document["served"]
            answers = {
                f"{words}'s answers": ", ".join(runs)
                for name, words in _EARLIER_ANSWERS.items()
                if (runs := measured.pop(f"{name}_runs"))
            }
            earlier_models = {"champion": champion, "best": best}
            for role, earlier in earlier_models.items():
                if earlier:
                    identity = earlier.as_json(manifest.get("window"), this_run.created)
                    measured[role] = {**identity, **(measured[role] or {})}
            classes, made = metadata["classes"], this_run.created
            evidence = Evidence(measured, classes, manifest, statistics, drift_document, made)
            metrics = _metrics(checked, metadata, digest, evidence, this_run)
            compared = {k: r.in_lineage() if r else None for k, r in earlier_models.items()}
            lineage = lineage_of(checked, this_run, manifest, metadata, digest, compared)
            metrics["made_by"]["lineage"] = hashlib.sha256(lineage).hexdigest()
            if answers:
                metrics[CACHED] = answers
            document = checked.as_document()
            now = record_of(document, metrics)
            metrics["changes"] = (
                not_compared(NOT_COMPARED) if quick else since_last_run(root, checked.name, now)
            )
            audit = statistics["audit"]
            page = render(metrics, manifest, metadata, document, audit=audit, drift=drift_document)
            folder.write("report.html", page.encode(), HTML)
            folder.write(LINEAGE, lineage)
            folder.write_json("metrics.json", metrics)
    if report:
        write_file(report, page.encode(), HTML)
    return metrics


def _budget(
    spec: ModelSpec, metadata: Mapping[str, Any], transform: Transform, n_rows: int
) -> Budget:
    """Returns what it may cost to explain a model.

    A trainer of one's own may call anything `linear`, so what its model costs is not known.
    """
    ours = metadata if spec.train.trainer is None else {}
    return Budget.of(spec.evaluate.importance, ours, transform, n_rows)


def _opponent_plan(
    examples: str,
    manifest: Mapping[str, Any],
    test: Sequence[Shard],
    quick: bool,
    class_weights: tuple[float, ...] = (),
) -> OpponentPlan:
    """Returns what the opponent is made of.

    Args:
        examples: The folder as the workers see it.
        manifest: The manifest of the folder.
        test: The test shards.
        quick: Whether the model has trained on a sample for a few epochs.
        class_weights: Those that the model was trained with.
    """
    if quick:
        return OpponentPlan(why=NOT_COMPARED)
    files = manifest["files"]

    def shards(stem: str) -> tuple[tuple[str, str], ...]:
        names = sorted(name for name in files if name.startswith(f"{stem}-"))
        return tuple((f"{examples}/{name}", files[name]) for name in names)

    return OpponentPlan(
        shards(STEM),
        shards("validation"),
        tuple(s.sha256 for s in test),
        class_weights=class_weights,
        validation_rows=manifest["rows"]["validation"],
    )


def record(metrics: Mapping[str, Any], scalars: Any, curves: Any) -> None:
    """Puts the numbers of metrics.json where Vertex shows them.

    Args:
        metrics: metrics.json.
        scalars: The `dsl.Metrics` of the step, for every metric that could be computed.
        curves: The step's `dsl.ClassificationMetrics`, for the confusion matrix of a classifier
            and the ROC of a binary one.
    """
    for name, estimate in metrics["metrics"].items():
        if estimate["value"] is not None:
            scalars.log_metric(name, estimate["value"])
    scalars.log_metric("test_rows", float(metrics["rows"]))
    scalars.log_metric("gate_passed", float(metrics["gate"]["passed"]))
    scalars.log_metric("warnings", float(len(metrics["warnings"])))
    if metrics["curves"].get("roc"):
        roc = metrics["curves"]["roc"]
        keys = ("false_positive_rate", "true_positive_rate", "threshold")
        curves.log_roc_curve(*([point[key] for point in roc] for key in keys))
    if metrics["classes"]:
        _record_confusion(list(metrics["classes"]), metrics["curves"]["confusion"], curves)


def _record_confusion(
    classes: list[str], confusion: Sequence[Sequence[float]], curves: Any
) -> None:
    """Shows the confusion matrix on Vertex, unless it is too large for the metadata of a task."""
    matrix = [[round(n) for n in row] for row in confusion]
    if len(classes) <= MAX_CLASSES and len(json.dumps([classes, matrix])) <= MAX_MATRIX_BYTES:
        curves.log_confusion_matrix(classes, matrix)
    else:
        print(
            f"evaluate: the confusion matrix of {counted(len(classes), 'class')} is too large for "
            f"the page of Vertex AI; it is in metrics.json"
        )


def _require_same_transform(
    examples: str, transform_json: bytes, metadata: Mapping[str, Any]
) -> None:
    """Refuses a model that was trained on examples with another transform."""
    ours, trained = hashlib.sha256(transform_json).hexdigest(), metadata["examples"]["transform"]
    if ours != trained:
        raise ArtifactError(
            f"the model was trained on a transform with sha256 {trained[:12]}..., but "
            f"{examples}/transform.json has {ours[:12]}...; evaluate the model on the examples it "
            f"was trained on"
        )


def _shards(examples: str, split: str, manifest: Mapping[str, Any]) -> list[Shard]:
    """Returns the shards of a split, whose rows must add up to the count of the manifest.

    They are read several times, which costs least through a mount: the kernel keeps what was read.

    Args:
        examples: The folder as the workers see it: a path, or a uri for those without a mount.
        split: The split.
        manifest: The manifest of the folder.
    """
    shards, rows = [], 0
    for name in sorted(n for n in manifest["files"] if n.startswith(f"{split}-")):
        path = f"{examples}/{name}"
        try:
            with named(path), open_file(path) as file:
                n_rows = pq.read_metadata(file).num_rows
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{path} is in manifest.json but not there; {run_again('preprocess')}"
            ) from error
        except ValueError as error:
            raise ArtifactError(
                f"{path} is cut short or altered ({error}); {run_again('preprocess')}"
            ) from error
        shards.append(Shard(path, rows, manifest["files"][name]))
        rows += n_rows
    if rows != manifest["rows"][split]:
        raise ArtifactError(
            f"{examples} has {rows:,} {split} rows, its manifest.json says "
            f"{manifest['rows'][split]:,}; {run_again('preprocess')}"
        )
    return shards


def _metrics(
    spec: ModelSpec,
    metadata: Mapping[str, Any],
    digest: str,
    evidence: Evidence,
    this_run: ThisRun,
) -> dict[str, Any]:
    """Returns the content of metrics.json, with the gate and what the model was made from."""
    measured, manifest = dict(evidence.measured), evidence.manifest
    bounds = {name: bound.model_dump() for name, bound in spec.evaluate.gate.items()}
    tolerance = spec.evaluate.skew_tolerance
    limits = (spec.evaluate.champion.fail, spec.evaluate.opponent.fail)
    gate = check_gate(measured, bounds, tolerance, *limits)
    if not is_quick(manifest):
        gate |= decide(gate["passed"], measured, spec.evaluate.champion).as_json()
    unquoted: dict[str, Any] = {} if spec.evaluate.report_rows else {"inputs": {}}
    return {
        "version": VERSION,
        "name": spec.name,
        "task": measured.pop("task"),
        "label": spec.label,
        "classes": metadata["classes"],
        "weight": spec.weight,
        "class_weights": metadata.get("class_weights"),
        "rows": measured.pop("rows"),
        "run": this_run.as_json(spec, manifest, metadata),
        "sample": manifest.get("sample"),
        "gate": gate,
        "warnings": run_warnings(spec, evidence),
        **measured,
        "skew": {**measured["skew"], "tolerance": tolerance, **unquoted},
        "made_by": {
            "spec": spec.sha256,
            "split": split_of(spec),
            "transform": metadata["examples"]["transform"],
            "package": metadata["package_sha256"],
            "metadata": digest,
            "image": this_run.image,
        },
    }
