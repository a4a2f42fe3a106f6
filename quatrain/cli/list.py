"""The verb that lists past runs: list."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from quatrain.cli import completion
from quatrain.cli.options import JSON, PRICES, ROOT, with_options


@click.command("list")
@click.argument("name", required=False, default="", shell_complete=completion.models)
@with_options(*ROOT)
@click.option(
    "--last",
    default=20,
    metavar="N",
    show_default=True,
    type=click.IntRange(min=0),
    help="List the last N runs; 0 for all.",
)
@PRICES
@JSON
def list_verb(
    name: str, root: str, cloud: str, last: int, prices: Path | None, as_json: bool
) -> None:
    """List the runs of model NAME, or the last run of each model.

    A root in a bucket has the runs that were measured. With --cloud, the jobs on Vertex AI are
    listed too, with those that failed before, and with what each cost, as estimated.

    \b
    Example:
      quatrain list flights --cloud cloud.yaml --last 8
    """  # noqa: D301
    from quatrain.face.runs import WIDTH, runs
    from quatrain.terminal.json_text import json_text

    found = runs(root, name, cloud=cloud, last=last, prices=prices)
    if as_json:
        click.echo(json_text([run.as_document() for run in found]))
    else:
        for line in found.lines(shutil.get_terminal_size((WIDTH, 24)).columns):
            click.echo(line)
    for problem in found.problems:
        click.echo(f"warning: {problem}", err=True)
