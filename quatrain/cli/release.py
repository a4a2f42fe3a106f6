"""The verbs about an endpoint on Vertex AI: deploy, traffic and undeploy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quatrain.cli.options import CLOUD, PLAN, SET, SPEC, with_options

if TYPE_CHECKING:
    from quatrain.components.release.service import Service
    from quatrain.components.release.state import Endpoint
    from quatrain.components.specification.schema import ModelSpec
    from quatrain.vertex.cloud_file import Cloud


@click.command()
@SPEC
@click.option("--run", default="", metavar="RUN", help="Its run.  [default: the champion's]")
@with_options(*CLOUD, SET)
@PLAN
def deploy(spec: Path, run: str, only_plan: bool, **settings: Any) -> None:
    """Release the champion of SPEC on Vertex AI, in the steps of its `release`.

    A release that fails gives the traffic back. Repeat one that was cut off.

    \b
    Example:
      quatrain deploy flights.yaml --plan
    """  # noqa: D301
    from quatrain.components.release.applier import Applier
    from quatrain.components.specification.release import Release
    from quatrain.vertex.releases import candidate_in, cost_in_words, service_of

    cloud, checked = _read(spec, settings)
    candidate = candidate_in(cloud, checked.name, run)
    release = checked.release or Release()
    applier = Applier(service_of(cloud), candidate, release, lambda words: click.echo(f"  {words}"))
    if not only_plan:
        click.echo(f"run {candidate.run} of {candidate.name}:")
        click.echo(applier.apply())
        return
    planned = applier.plan()
    for words in planned:
        click.echo(f"would {words}")
    if planned and release.endpoint:
        click.echo(cost_in_words(release, cloud.location))
    if not planned:
        click.echo(f"run {candidate.run} of {candidate.name} is released")


@click.command()
@SPEC
@click.option("--back", is_flag=True, help="Give all traffic to the version before.")
@with_options(*CLOUD, SET)
@PLAN
def traffic(spec: Path, back: bool, only_plan: bool, **settings: Any) -> None:
    """Print who gets the requests of the endpoint of SPEC, or go back.

    \b
    Example:
      quatrain traffic flights.yaml --back
    """  # noqa: D301
    from quatrain.components.release.back import go_back
    from quatrain.components.release.by_hand import describe

    service, endpoint = _open(spec, settings)
    for line in describe(endpoint):
        click.echo(line)
    if back and only_plan:
        click.echo("would give all traffic to the version before")
    elif back:
        click.echo(go_back(service, endpoint))


@click.command()
@SPEC
@click.option("--all", "everything", is_flag=True, help="Those with traffic, too.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_options(*CLOUD, SET)
@PLAN
def undeploy(spec: Path, everything: bool, yes: bool, only_plan: bool, **settings: Any) -> None:
    """Undeploy what has no traffic at the endpoint of SPEC.

    \b
    Example:
      quatrain undeploy flights.yaml --plan
    """  # noqa: D301
    from quatrain.components.release.by_hand import empty, undeployable

    service, endpoint = _open(spec, settings)
    gone = undeployable(endpoint, everything)
    if only_plan:
        for id_ in gone:
            click.echo(f"would undeploy {endpoint.deployed[id_].get('displayName', id_)} ({id_})")
    if not gone:
        click.echo(f"endpoint {endpoint.id} has nothing to undeploy")
    if only_plan or not gone:
        return
    if everything and not yes:
        click.confirm(f"end all answers of endpoint {endpoint.id}?", abort=True, err=True)
    for line in empty(service, endpoint, everything):
        click.echo(line)


def _read(spec: Path, settings: dict[str, Any]) -> tuple[Cloud, ModelSpec]:
    """Returns the settings of the cloud and the spec."""
    from quatrain.validation.load import load_spec
    from quatrain.vertex.cloud_file import load_cloud

    return load_cloud(settings["cloud"], settings["set_cloud"]), load_spec(
        spec, settings["overrides"]
    )


def _open(spec: Path, settings: dict[str, Any]) -> tuple[Service, Endpoint]:
    """Returns the service, and the endpoint of a spec."""
    from quatrain.components.release.by_hand import open_endpoint
    from quatrain.vertex.releases import service_of

    cloud, checked = _read(spec, settings)
    service = service_of(cloud)
    return service, open_endpoint(service, checked.release.endpoint if checked.release else None)
