"""The verb that prints how a run went: report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from quatrain.cli import completion
from quatrain.cli.options import JSON, ROOT, with_options
from quatrain.components.errors import QuatrainError

if TYPE_CHECKING:
    from quatrain.results.listing import Root


@click.command()
@click.argument("run", metavar="[RUN]", required=False, shell_complete=completion.runs)
@with_options(*ROOT)
@click.option("--open", "opens", is_flag=True, help="Open the report in a browser.")
@JSON
def report(run: str | None, root: str, cloud: str, opens: bool, as_json: bool) -> None:
    """Print the steps, the metrics and the gate of a run, or of the one that started last.

    RUN is the folder of a run, or of a model for its latest run; gs://ROOT/NAME/RUN; or an id
    below the root: a part of it, NAME/ID, NAME, latest or champion.

    \b
    Example:
      quatrain report runs/flights/latest --open
    """  # noqa: D301
    from quatrain.components.storage import is_remote
    from quatrain.results.find import find_place, last_place
    from quatrain.results.listing import open_root

    where = open_root(root, cloud, check=False)
    place = find_place(run, where) if run else last_place(where)
    if is_remote(place):
        _report_remote(place, where, opens, as_json)
    else:
        _report_folder(Path(place), opens, as_json)


def _report_folder(run: Path, opens: bool, as_json: bool) -> None:
    """Prints a run that has a folder here."""
    from quatrain.local.runs import find_run
    from quatrain.terminal.json_documents import run_document
    from quatrain.terminal.json_text import json_text
    from quatrain.terminal.printouts import run_details

    folder = find_run(run)
    click.echo(json_text(run_document(folder)) if as_json else run_details(folder))
    page = folder / "report.html"
    if opens:
        if not page.exists():
            _refuse_to_open(folder)
        click.launch(str(page.resolve()))


def _report_remote(place: str, root: Root, opens: bool, as_json: bool) -> None:
    """Prints a run that is in a bucket or on Vertex AI; opens a copy of its page."""
    from quatrain.results.remote import read_remote
    from quatrain.results.report import Report
    from quatrain.terminal.json_text import json_text

    run = read_remote(place, root)
    for line in [json_text(run.as_document())] if as_json else run.lines():
        click.echo(line)
    if opens:
        if not run.report:
            _refuse_to_open(place)
        Report(run.report).open()


def _refuse_to_open(place: Path | str) -> NoReturn:
    raise QuatrainError(
        f"{place} has no report.html, since the run did not reach evaluate; leave out --open"
    )
