"""Two runs side by side: their specs, rows, code and metrics, and a difference row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.evaluate.changes import differences
from quatrain.components.evaluate.measures.measurements import plain
from quatrain.components.evaluate.measures.metrics import METRICS, loss_of
from quatrain.components.folder import in_shape, read_manifest
from quatrain.results.pairing import Evaluated, pair
from quatrain.results.run_files import RunFiles, files_of_run

MADE_OF = ("rows", "data", "code")
"""The sections of `run` in metrics.json that are compared."""
_WAY_OUT = "compare other runs"


class NotComparable(QuatrainError):
    """Two runs predict different things, or one of them was not measured."""


def compare_runs(before: str, now: str) -> dict[str, Any]:
    """Returns how a run differs from another one, as `quatrain compare --json` prints it.

    Args:
        before: The place of the run that is compared with.
        now: The place of the run.

    Raises:
        NotComparable: They have other labels or tasks.
        ArtifactError: A run was not measured, or its files cannot be read.
        QuatrainError: There is no such run.
    """
    files = [files_of_run(place) for place in (before, now)]
    metrics = [_metrics(run) for run in files]
    with in_shape(" or ".join(run.place for run in files), _WAY_OUT):
        for key in ("label", "task"):
            if metrics[0][key] != metrics[1][key]:
                raise NotComparable(
                    f"{files[0].place} has the {key} {metrics[0][key]!r}, {files[1].place} "
                    f"{metrics[1][key]!r}; {_WAY_OUT}"
                )
        theirs, ours = (document.get("run", {}) for document in metrics)
        return {
            "before": _identity(files[0], metrics[0]),
            "now": _identity(files[1], metrics[1]),
            "spec": list(differences(files[0].spec(), files[1].spec())),
            **{
                section: list(differences(theirs.get(section, {}), ours.get(section, {})))
                for section in MADE_OF
            },
            "metrics": list(_metric_pairs(*(document["metrics"] for document in metrics))),
            "paired": _paired(files, metrics),
            "slices": list(_slice_pairs(*metrics)),
        }


def _metrics(run: RunFiles) -> dict[str, Any]:
    return read_manifest(run.artifact("evaluation"), "metrics.json", "evaluate")


def _identity(run: RunFiles, metrics: Mapping[str, Any]) -> dict[str, Any]:
    summary = run.summary()
    return {
        "name": summary.name,
        "run": summary.run,
        "place": run.place,
        "started": summary.started or None,
        "status": summary.status,
        "quick": summary.quick,
        "gate": metrics["gate"]["passed"],
        "decision": metrics["gate"].get("decision"),
        "warnings": len(metrics.get("warnings", ())),
        "test_rows": metrics["rows"],
        "task": metrics["task"],
    }


def _metric_pairs(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields every metric of either run, with its intervals and the difference of both."""
    for name in {**before, **now}:
        pair_of = {"before": before.get(name), "now": now.get(name)}
        theirs, ours = ((metric or {}).get("value") for metric in pair_of.values())
        difference = None if theirs is None or ours is None else ours - theirs
        yield {"name": name, **pair_of, "difference": difference}


def _paired(files: list[RunFiles], metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the difference of the losses row by row, or why there is none."""
    task = metrics[1]["task"]
    found = {"metric": loss_of(task), "rows": metrics[1]["rows"], "worse": None, "why": ""}
    try:
        runs = [_evaluated(run, document) for run, document in zip(files, metrics, strict=True)]
        worse = pair(task, *runs)
    except ArtifactError as error:
        return {**found, "why": str(error)}
    return {**found, **({"why": worse} if isinstance(worse, str) else {"worse": plain(worse)})}


def _evaluated(run: RunFiles, metrics: Mapping[str, Any]) -> Evaluated:
    examples = run.artifact("examples")
    manifest = read_manifest(examples, "manifest.json", "preprocess")
    made_of = metrics.get("run", {})
    return Evaluated(run.artifact("evaluation"), examples, manifest, run.spec(), made_of)


def _slice_pairs(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the slices of both runs with the task's first metric, most rows first."""
    name = METRICS[now["task"]][0].name
    theirs = {(s["column"], s["value"]): s for s in before["slices"]}
    for ours in now["slices"]:
        if other := theirs.get((ours["column"], ours["value"])):
            yield {
                "column": ours["column"],
                "value": ours["value"],
                "metric": name,
                "before": {"rows": other["rows"], **other["metrics"][name]},
                "now": {"rows": ours["rows"], **ours["metrics"][name]},
            }
