"""The verb that predicts with an exported model."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from quatrain.cli.options import PATH


@click.command()
@click.argument("model", type=PATH)
@click.argument("rows", metavar="INPUT", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT",
    help="CSV or Parquet, by its suffix.  [default: rows.predictions.csv for rows.csv]",
)
@click.option("--keep", multiple=True, metavar="COLUMN", help="Copy it from INPUT; repeatable.")
@click.option(
    "--rejected",
    type=PATH,
    metavar="FILE",
    help="Put unreadable rows there, .csv or .parquet.",
)
def predict(
    model: Path, rows: Path, output: Path | None, keep: tuple[str, ...], rejected: Path | None
) -> None:
    """Predict raw rows with an exported model.

    MODEL is a model's folder, a run's, or that of all runs (then the last that passed its gate).
    INPUT is a CSV, .parquet or .jsonl file; a row that cannot be read refuses it whole, unless
    --rejected is given.

    \b
    Example:
      quatrain predict runs/flights new_flights.csv --keep id --rejected bad.csv
    """  # noqa: D301
    from quatrain.terminal.printouts import gate_warning

    if warning := gate_warning(model):
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"predicting {rows} ...", err=True)
    with _native_noise_hidden():
        from quatrain.components.serve import predict as prediction

        done = prediction.predict(model, rows, output, keep=keep, rejected=rejected)
    aside = f"; {done.rejected:,} rejected to {rejected}" if rejected else ""
    click.echo(f"{done.rows:,} rows to {done.path}: {', '.join(done.columns)}{aside}")


@contextlib.contextmanager
def _native_noise_hidden() -> Iterator[None]:
    """Keeps what TensorFlow's libraries write to stderr from the terminal, unless --debug.

    It goes past Python and past TF_CPP_MIN_LOG_LEVEL, so the file descriptor is turned away.
    """
    if click.get_current_context().find_root().params["debug"]:
        yield
        return
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
