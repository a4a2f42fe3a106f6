"""The verb that prints how a run went: report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from quatrain.cli import completion
from quatrain.cli.options import JSON, PATH
from quatrain.components.errors import QuatrainError

MAX_NAMES = 20
"""The most folders that an error names."""


@click.command()
@click.argument("run", metavar="RUN", type=PATH, shell_complete=completion.runs)
@click.option("--open", "opens", is_flag=True, help="Open the report in a browser.")
@JSON
def report(run: Path, opens: bool, as_json: bool) -> None:
    """Print the steps, the metrics and the gate of a run.

    RUN is the folder of a run. In a folder of runs, the latest run is printed.

    \b
    Example:
      quatrain report runs/flights/latest --open
    """  # noqa: D301
    from quatrain.local.runs import find_run, models_below
    from quatrain.terminal.documents import run_document
    from quatrain.terminal.json_text import json_text
    from quatrain.terminal.printouts import run_details

    if not (run / "run.json").is_file() and (models := models_below(run)):
        raise QuatrainError(f"{run} is the folder of all runs; name one: {_joined(models)}")
    folder = find_run(run)
    click.echo(json_text(run_document(folder)) if as_json else run_details(folder))
    page = folder / "report.html"
    if opens:
        if not page.exists():
            raise QuatrainError(
                f"{folder} has no report.html, since the run did not reach evaluate; leave out "
                "--open"
            )
        click.launch(str(page.resolve()))


def _joined(paths: Sequence[Path]) -> str:
    more = ", ..." if len(paths) > MAX_NAMES else ""
    return ", ".join(map(str, paths[:MAX_NAMES])) + more
