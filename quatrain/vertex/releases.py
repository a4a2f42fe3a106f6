"""Finds the model of a run that is to be released, and the service that it goes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from quatrain.components import history
from quatrain.components.errors import ArtifactError, QuatrainError, ReleaseError
from quatrain.components.release.back import Rollback
from quatrain.components.release.candidate import DIGITS, Candidate
from quatrain.components.release.of_run import candidate_of
from quatrain.components.release.service import Service
from quatrain.components.release.state import endpoints_of, list_versions
from quatrain.components.specification.release import Release
from quatrain.components.tiers import prices
from quatrain.vertex.checks.price import hour_of_version
from quatrain.vertex.cloud_file import Cloud

LOOK_S = 5.0
"""Seconds for which a table asks a service that does not answer."""


def service_of(cloud: Cloud) -> Service:
    """Returns the service of a cloud's project and location."""
    return Service(cloud.project, cloud.location, cloud.api_endpoint or "")


def cost_in_words(release: Release, location: str) -> str:
    """Returns what an hour of a deployed version costs by the list prices of training."""
    try:
        listed = prices.load_prices()
        hour = hour_of_version(listed, release, location)
    except prices.PriceError as error:
        return f"the cost of a version is not known: {error}"
    return (
        f"an hour of a deployed version costs about {hour.low:.2f} to {hour.high:.2f} USD, by the "
        f"list prices of {listed.checked}; during a release there are two"
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


def shares(cloud: Cloud, name: str) -> dict[str, dict[str, int]]:
    """Returns what share of each endpoint's traffic each run of a model has, in percent.

    Returns:
        By the label of a run, the share by endpoint.

    Raises:
        ReleaseError: The service cannot be read.
    """
    service = replace(service_of(cloud), patience_s=LOOK_S)
    found: dict[str, dict[str, int]] = {}
    endpoints = endpoints_of(service, name)
    versions = list_versions(service, name) if endpoints else []
    run_of = {str(v["versionId"]): v.get("labels", {}).get("run", "") for v in versions}
    for endpoint in endpoints:
        for id_, share in endpoint.split.items():
            run = run_of.get(endpoint.version_of(id_, name), "")
            of_run = found.setdefault(run, {})
            of_run[endpoint.id] = of_run.get(endpoint.id, 0) + share
    return found


def plan_back(cloud: Cloud, name: str, run: str, digest: str) -> list[str]:
    """Returns in words what `roll_back` would do.

    Args:
        cloud: The project, the location, the root and the image.
        name: The name of the model.
        run: The run.
        digest: The sha256 of its model's metadata.json.

    Raises:
        QuatrainError: The run was not measured, or the service cannot be read.
    """
    rollback = _rollback(cloud, name, run, digest, print)
    return [w for e in endpoints_of(rollback.service, name) if (w := rollback.plan(e))]


def roll_back(
    cloud: Cloud, name: str, run: str, digest: str, report: Callable[[str], None]
) -> list[str]:
    """Gives all traffic of the endpoints of a model to a run, and returns a sentence for each.

    Args:
        cloud: The project, the location, the root and the image.
        name: The name of the model.
        run: The run.
        digest: The sha256 of its model's metadata.json.
        report: Receives each action in words.

    Raises:
        QuatrainError: The service cannot be read, or an endpoint could not be changed.
    """
    rollback = _rollback(cloud, name, run, digest, lambda words: report(f"  {words}"))
    endpoints = endpoints_of(rollback.service, name)
    if not endpoints:
        return [f"no endpoint of {cloud.project}, {cloud.location} was given to model {name}"]
    sentences, failures = [], []
    for endpoint in endpoints:
        try:
            sentences.append(rollback.apply(endpoint))
        except QuatrainError as error:
            failures.append(f"{rollback.share_in_words(endpoint.id)} ({error})")
    if failures:
        outcome = "; ".join(sentences + failures)
        raise ReleaseError(f"{outcome}; mend that, or look at `quatrain traffic SPEC`")
    return sentences


def _rollback(
    cloud: Cloud, name: str, run: str, digest: str, report: Callable[[str], None]
) -> Rollback:
    root = cloud.root.rstrip("/")
    return Rollback(
        service_of(cloud),
        name,
        run,
        digest[:DIGITS],
        cloud.image.steps,
        lambda image: candidate_of(root, name, run, image),
        report,
    )
