"""The verbs that write and check a spec: init and check. Slow imports are inside them."""

from __future__ import annotations

from pathlib import Path

import click

from quatrain.cli.options import AT, JSON, PATH, SET, SPEC, TIER


@click.command()
@click.argument("data", metavar="DATA")
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="SPEC",
    help="Where to write the spec.  [default: rows.yaml for rows.csv, in this folder]",
)
def init(data: str, target: str, output: Path | None) -> None:
    """Write a spec for the table DATA, with comments on its columns.

    DATA is a CSV, JSON Lines or Parquet file, a glob of such files, or a gs:// uri. Only a sample
    of its rows is read. The spec is ready to run. It leaves out columns that look like the answer
    or like an identifier.

    \b
    Example:
      quatrain init taxi.csv --target tips -o taxi.yaml
    """  # noqa: D301
    from quatrain.draft.propose import default_path
    from quatrain.face.init import init as propose

    proposal = propose(data, target, output=output or default_path(data))
    for line in proposal.lines():
        click.echo(line)
    click.echo(f"next: quatrain run {proposal.path}")


@click.command()
@SPEC
@TIER
@SET
@AT
@click.option(
    "--cloud", type=PATH, metavar="FILE", help="Also check the run with these cloud settings."
)
@click.option("--train", is_flag=True, help="Also train a step, as a test of your model.py.")
@JSON
def check(
    spec: Path,
    tier: str,
    overrides: tuple[str, ...],
    at: str,
    cloud: Path | None,
    train: bool,
    as_json: bool,
) -> None:
    """Check SPEC against a sample of its rows, without running it.

    \b
    Example:
      quatrain check examples/flights/flights.yaml --set clean.max_rejected=0.01
    """  # noqa: D301
    from quatrain.face.check import check as check_spec
    from quatrain.terminal.json_text import json_text

    checked = check_spec(spec, tier=tier, set=overrides, at=at, cloud=cloud, train=train)
    if as_json:
        click.echo(json_text(checked.as_document()))
        return
    click.echo(checked.sampled)
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)
    for line in checked.conclusion():
        click.echo(line)
