"""The task that compares a run's rows, and the requests served, with what earlier runs read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quatrain.components import history
from quatrain.components.buckets import HERE
from quatrain.components.errors import ArtifactError, DriftFailed
from quatrain.components.folder import commit, read_manifest
from quatrain.components.preprocess.drift.compare import (
    VERSION,
    compare_all,
    notes_and_warnings,
    sentences,
)
from quatrain.components.quick_run import NOT_COMPARED, is_quick
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.schema import Limit
from quatrain.components.storage import list_names
from quatrain.components.times import run_time

MANIFEST = "manifest.json"


def check_drift(
    spec: str,
    examples: str,
    root: str,
    out: Path | str,
    *,
    project: str = HERE,
    location: str = HERE,
    at: str = "",
    clocks: Sequence[str] = (),
) -> None:
    """Compares a run's rows with those of earlier runs, and writes drift.json.

    If the spec names a request log, its newest requests are compared, too.

    Args:
        spec: The model spec as it travels: JSON text, or the uri of a file with its digest.
        examples: The artifact of the preprocess step, a path or gs:// uri.
        root: The folder of all runs.
        out: The artifact to write.
        project: The project of the job.
        location: The region of the job.
        at: The time of the run; may be empty.
        clocks: The times that replace an empty `at`: of the schedule, then of the run's creation.

    Raises:
        ArtifactError: The examples are not complete, or were deleted while the cache has them.
        DriftFailed: A measure is above its `fail`; drift.json is written all the same.
    """
    model = read_parameter(spec)
    limits: dict[str, Limit] = {n: getattr(model.drift, n) for n in type(model.drift).model_fields}
    if is_quick(_whole_manifest(examples, root, model.name)):
        drift: dict[str, Any] = {"version": VERSION, "note": NOT_COMPARED, "comparisons": []}
    else:
        now = history.read_statistics(examples)
        drift = compare_all(history.earlier_runs(root, model.name), now, limits)
        if model.release and model.release.log:  # else nothing of the server is imported
            from quatrain.components.preprocess.drift.served import add_served

            day = run_time(at, clocks).date()
            champion = history.champion_of(root, model.name) if root else None
            add_served(
                drift, model, champion, root=root, project=project, location=location, day=day
            )
    with commit(out, "drift.json") as folder:
        folder.write_json("drift.json", drift)
    for sentence in notes_and_warnings(drift):
        print(f"preprocess: drift: {sentence}", flush=True)
    if failed := sentences(drift, "fail"):
        lines = "\n".join(f"  {sentence}" for sentence in failed)
        raise DriftFailed(
            f"the rows differ from an earlier run's by more than the spec allows:\n{lines}\n"
            f"nothing was trained, and {out}/drift.json has all of it; correct the "
            f"source, or accept the change once by --set drift.MEASURE.fail=null"
        )


def _whole_manifest(examples: str, root: str, name: str) -> dict[str, Any]:
    """Returns the manifest of examples; with a root, all the files that it names are there.

    Raises:
        ArtifactError: The examples are not complete, or were deleted while the cache has them.
    """
    if not root:
        return read_manifest(examples, MANIFEST, "preprocess")
    stored = list_names(examples)
    manifest: dict[str, Any] = {"files": [MANIFEST]}
    if MANIFEST in stored:
        manifest = read_manifest(examples, MANIFEST, "preprocess")
    if absent := min(set(manifest["files"]) - stored, default=""):
        # A rerun would hit the cache again, and so would every run of a schedule.
        record = history.record_loss(root, name, examples)
        raise ArtifactError(
            f"{examples} has no {absent} any more, though Vertex AI may still take the examples "
            f"from its cache; {record} notes it, so the next run makes new ones: start one, as by "
            f"`quatrain submit` or `quatrain schedule run {name}`"
        )
    return manifest
