"""The verb that finds what would make a run on Vertex AI fail: doctor."""

from __future__ import annotations

from pathlib import Path

import click

from quatrain.cli.exit_codes import FAILED
from quatrain.cli.options import CLOUD, JSON, PATH, PRICES, SET, SPEC, TIER, with_options


@click.command()
@SPEC
@with_options(*CLOUD)
@SET
@TIER
@click.option(
    "--pipeline",
    type=PATH,
    metavar="FILE",
    help="Check this compiled file instead of compiling one.",
)
@PRICES
@click.option(
    "--runner", default="", metavar="R", help="Where Beam will run.  [default: the cloud's]"
)
@click.option("--offline", is_flag=True, help="Do not query Google; list what was not checked.")
@click.option("--strict", is_flag=True, help="Fail if anything could not be checked.")
@JSON
def doctor(
    spec: Path,
    cloud: Path,
    overrides: tuple[str, ...],
    set_cloud: tuple[str, ...],
    tier: str,
    pipeline: Path | None,
    prices: Path | None,
    runner: str,
    offline: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Find what would make a run of SPEC on Vertex AI fail.

    Checks the files, then queries Google, before a run can cost anything.

    \b
    Example:
      quatrain doctor examples/flights/flights.yaml --cloud cloud.yaml --offline
    """  # noqa: D301
    from quatrain.components.tiers.prices import OWN
    from quatrain.terminal.json_text import json_text
    from quatrain.vertex.checks.findings import lines
    from quatrain.vertex.doctor.examination import Examination, examine

    examination = Examination(
        spec, cloud, overrides, set_cloud, tier, pipeline, prices or OWN, offline, runner
    )
    findings = list(examine(examination, lambda text: click.echo(text, err=True)))
    for line in [json_text(findings)] if as_json else lines(findings):
        click.echo(line)
    fatal = ("error", "unchecked") if strict else ("error",)
    return FAILED if any(finding.severity in fatal for finding in findings) else 0
