"""Finds the model of a run that is to be released, and the service that it goes to."""

from __future__ import annotations

from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.components.release.candidate import Candidate
from quatrain.components.release.of_run import candidate_of
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


def candidate_in(cloud: Cloud, name: str, run: str = "") -> Candidate:
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
    return candidate_of(root, name, run, cloud.image.steps)
