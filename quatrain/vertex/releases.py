"""Finds the model of a run that is to be released, and the service that it goes to."""

from __future__ import annotations

from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import read_manifest
from quatrain.components.release.candidate import Candidate
from quatrain.components.release.service import Service
from quatrain.components.specification.release import Release
from quatrain.components.tiers import prices
from quatrain.vertex.cloud_file import Cloud


def service_of(cloud: Cloud) -> Service:
    """Returns the service of a cloud's project and location."""
    return Service(cloud.project, cloud.location, cloud.api_endpoint or "")


def cost_in_words(release: Release, location: str) -> str:
    """Returns what an hour of a deployed version costs by the list prices of training."""
    try:
        listed = prices.load_prices()
        hour = listed.of_machine(release.machine_type)
    except prices.PriceError as error:
        return f"the cost of a version is not known: {error}"
    region = listed.of_region(location)
    low = hour * release.min_replicas * region.low
    high = hour * (release.max_replicas or release.min_replicas) * region.high
    return (
        f"an hour of a deployed version costs about {low:.2f} to {high:.2f} USD, by the list "
        f"prices of {listed.checked}; during a release there are two"
    )


def candidate_of(cloud: Cloud, name: str, run: str = "") -> Candidate:
    """Returns the model of a run that was measured.

    Args:
        cloud: Where its root and its image are.
        name: The name of the model.
        run: The run; if empty, the champion's.

    Raises:
        ArtifactError: There is no champion, the run was not measured, or its model was altered.
    """
    root = cloud.root.rstrip("/")
    if not run:
        champion = history.champion_of(root, name)
        if champion is None:
            raise ArtifactError(
                f"{root}/{name} has no champion, since no run passed its gate; name a run by --run"
            )
        run = str(champion["run"])
    record = history.measured_run(root, name, run)
    if record is None:
        raise ArtifactError(
            f"{root}/{name} has no record of a run {run!r} that was measured; `quatrain list "
            f"{name}` shows those that were"
        )
    places = record["artifacts"]
    if not str(places["model"]).startswith("gs://"):
        raise ArtifactError(
            f"{places['model']} is on this machine, which Vertex AI cannot read; release a run "
            f"that was submitted, by `quatrain submit`"
        )
    metrics = read_manifest(places["evaluation"], "metrics.json", "evaluate")
    candidate = Candidate.read(name, run, places["model"], cloud.image.steps, metrics)
    if candidate.digest != metrics["made_by"]["metadata"]:
        raise ArtifactError(
            f"{places['model']}/model/metadata.json is not the one that run {run} measured; name "
            f"another run, whose model was not altered"
        )
    return candidate
