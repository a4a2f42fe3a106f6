"""The model of a run that was measured, as it is to be released."""

from __future__ import annotations

from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import read_manifest
from quatrain.components.release.candidate import Candidate
from quatrain.components.versions import place_of, read_version


def candidate_of(root: str, name: str, run: str, image: str) -> Candidate:
    """Returns the model of a run that was measured.

    Args:
        root: The folder of all runs.
        name: The name of the model.
        run: The run.
        image: The image that serves it, by its digest.

    Raises:
        ArtifactError: The run was not measured, or its model is gone, altered or on this machine.
    """
    places = _places(root, name, run)
    if not str(places["model"]).startswith("gs://"):
        raise ArtifactError(
            f"{places['model']} is on this machine, which Vertex AI cannot read; release a run "
            f"that was submitted, by `quatrain submit`"
        )
    metrics = read_manifest(places["evaluation"], "metrics.json", "evaluate")
    candidate = Candidate.read(name, run, places["model"], image, metrics)
    if candidate.digest != metrics["made_by"]["metadata"]:
        raise ArtifactError(
            f"{places['model']}/model/metadata.json is not the one that run {run} measured; name "
            f"another run, whose model was not altered"
        )
    return candidate


def _places(root: str, name: str, run: str) -> dict[str, str]:
    """Returns where the model of a run and its metrics are: in its version, if it was promoted."""
    if read_version(root, name, run):
        return dict.fromkeys(("model", "evaluation"), place_of(root, name, run))
    record = history.measured_run(root, name, run)
    if record is None:
        raise ArtifactError(
            f"{root}/{name} has no record of a run {run!r} that was measured; `quatrain list "
            f"{name}` shows those that were"
        )
    return dict(record["artifacts"])
