"""The verb that lists past runs: list."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from quatrain.cli import completion
from quatrain.cli.options import JSON, PRICES, ROOT, with_options

WIDTH = 100
"""The columns of a table where the output is no terminal."""


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
    """List the runs of the model NAME, or each model with its last run.

    A root in a bucket has the runs that were measured. With --cloud, the jobs on Vertex AI are
    listed too, with those that failed before, and with what each cost, as estimated.

    \b
    Example:
      quatrain list flights --cloud cloud.yaml --last 8
    """  # noqa: D301
    from quatrain.face.runs import runs
    from quatrain.terminal.json_text import json_text

    found = runs(root, name, cloud=cloud, last=last, prices=prices)
    if as_json:
        click.echo(json_text([run.as_document() for run in found]))
    else:
        for line in found.lines(shutil.get_terminal_size((WIDTH, 24)).columns):
            click.echo(line)
    for problem in found.problems:
        click.echo(f"warning: {problem}", err=True)
