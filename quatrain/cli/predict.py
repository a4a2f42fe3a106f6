"""The verb that predicts with an exported model: predict."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import click

from quatrain.cli import completion
from quatrain.components.wording import counted

MOST_COLUMNS = 8
"""The most columns of predictions that are named; a model of 27 classes writes 28."""


@click.command()
@click.argument("model", shell_complete=completion.runs)
@click.argument("rows", metavar="INPUT")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="Predictions, .csv or .parquet.  [default: rows.predictions.csv for rows.csv]",
)
@click.option(
    "--keep", multiple=True, metavar="COLUMN", help="Copy this column from INPUT. Repeatable."
)
@click.option(
    "--rejected",
    metavar="FILE",
    help="Write unreadable rows to this .csv or .parquet file.",
)
@click.option(
    "--root",
    default="runs",
    metavar="DIR",
    show_default=True,
    help="The folder of all runs, which must know MODEL.",
)
@click.option("--trust", is_flag=True, help="Load a MODEL that no run knows: it is a program.")
def predict(
    model: str,
    rows: str,
    output: str | None,
    keep: tuple[str, ...],
    rejected: str | None,
    root: str,
    trust: bool,
) -> None:
    """Predict the rows of INPUT with an exported model.

    MODEL is the folder of a model or of a run. In a folder of runs, the last run that passed its
    gate is used. INPUT is a CSV, .parquet or .jsonl file. All of them may be paths or gs:// uris.
    Without --rejected, an unreadable row stops the command.

    \b
    Example:
      quatrain predict runs/flights new_flights.csv --keep id --rejected bad.csv
    """  # noqa: D301
    from quatrain.components.serve import predict as prediction
    from quatrain.components.serve.model_folder import find_model
    from quatrain.terminal.native_noise import native_noise_hidden
    from quatrain.terminal.printouts import gate_warning

    place = find_model(model)
    if warning := gate_warning(place):
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"predicting {rows} ...", err=True)
    debug = click.get_current_context().find_root().params["debug"]
    with contextlib.nullcontext() if debug else native_noise_hidden():
        result = prediction.predict(
            place, rows, output, keep=keep, rejected=rejected, root=root, trust=trust
        )
    rest = f"; {result.rejected:,} rejected to {rejected}" if rejected else ""
    written = columns_in_short(result.columns)
    click.echo(f"{counted(result.rows, 'row')} to {result.path}: {written}{rest}")


def columns_in_short(names: Sequence[str]) -> str:
    """Returns the names of columns, of many the first and the last; a comma in a name is quoted."""
    shown = [repr(name) if "," in name else name for name in names]
    if len(shown) > MOST_COLUMNS:
        shown = [*shown[: MOST_COLUMNS - 2], f"... ({len(shown):,} columns)", shown[-1]]
    return ", ".join(shown)
