"""The verb that predicts with an exported model: predict."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from quatrain.cli import completion
from quatrain.cli.options import JSON
from quatrain.components.uris import DEFAULT_ROOT
from quatrain.components.wording import counted

if TYPE_CHECKING:
    from quatrain.components.serve.predict import Predictions

MOST_COLUMNS = 8
"""The most columns of predictions that are named; a model of 27 classes writes 28."""
STDIN = "-"
"""The INPUT that stands for standard input."""


@click.command()
@click.argument("model", shell_complete=completion.runs)
@click.argument("rows", metavar="[INPUT]", required=False)
@click.option(
    "--row", "row_texts", multiple=True, metavar="JSON", help="A row as an object. Repeatable."
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="Predictions, .csv or .parquet.  [default: rows.predictions.csv]",
)
@click.option("--keep", multiple=True, metavar="COLUMN", help="Copy this column. Repeatable.")
@click.option("--rejected", metavar="FILE", help="Write unreadable rows to this file.")
@click.option(
    "--root",
    default=DEFAULT_ROOT,
    metavar="DIR",
    show_default=True,
    help="The folder of all runs, which must know MODEL.",
)
@click.option("--trust", is_flag=True, help="Load a MODEL that no run knows: it is a program.")
@JSON
def predict(
    model: str,
    rows: str | None,
    row_texts: tuple[str, ...],
    output: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Predict the rows of INPUT, or a --row, with an exported model.

    MODEL is the folder of a model or of a run; in a folder of runs, it is the champion. INPUT is a
    CSV, .parquet or .jsonl file, a gs:// uri, or - for standard input. The answers to standard
    input or --row are printed, unless -o names a file.

    \b
    Example:
      quatrain predict runs/flights new_flights.csv --keep id --rejected bad.csv
    """  # noqa: D301
    from quatrain.components.serve.model_folder import find_model
    from quatrain.terminal.json_text import json_text
    from quatrain.terminal.prediction_text import answer_lines
    from quatrain.terminal.printouts import gate_warning

    if bool(rows) == bool(row_texts):
        raise click.UsageError("name one INPUT, or give rows by --row")
    place = find_model(model)
    if warning := gate_warning(place):
        click.echo(f"warning: {warning}", err=True)
    with _source(rows, row_texts) as source, tempfile.TemporaryDirectory() as folder:
        is_printed = output is None and source != rows
        target = str(Path(folder, "answers.parquet")) if is_printed else output
        result = _predict(place, source, target, options)
        if is_printed:
            n_copied = len(set(options["keep"]))
            for line in answer_lines(Path(result.path), n_copied, as_json):
                click.echo(line)
            return
    if as_json:
        click.echo(json_text(result))
        return
    rest = f"; {result.rejected:,} rejected to {options['rejected']}" if options["rejected"] else ""
    written = columns_in_short(result.columns)
    click.echo(f"{counted(result.rows, 'row')} to {result.path}: {written}{rest}")


@contextlib.contextmanager
def _source(rows: str | None, row_texts: Sequence[str]) -> Iterator[str]:
    """Yields the path or uri of the rows."""
    from quatrain.components.serve.piped_rows import file_of

    if rows and rows != STDIN:
        click.echo(f"predicting {rows} ...", err=True)
        yield rows
        return
    if rows and sys.stdin is None:
        raise click.UsageError("standard input is closed; name a file, or give rows by --row")
    stream, name = (sys.stdin.buffer, "standard input") if rows else (_lines(row_texts), "--row")
    with file_of(stream, name) as path:
        yield str(path)


def _lines(row_texts: Sequence[str]) -> BinaryIO:
    """Returns rows as JSON Lines.

    Raises:
        click.UsageError: A text is no JSON object.
    """
    for text in row_texts:
        try:
            is_object = isinstance(json.loads(text), dict)
        except (ValueError, RecursionError):
            is_object = False
        if not is_object:
            raise click.UsageError(
                f"--row {text!r}: write a JSON object, such as --row '{{\"distance\": 719}}'"
            )
    lines = (" ".join(text.splitlines()) for text in row_texts)
    return io.BytesIO("\n".join(lines).encode())


def _predict(place: str, source: str, target: str | None, options: dict[str, Any]) -> Predictions:
    from quatrain.components.serve import predict as prediction
    from quatrain.terminal.native_noise import native_noise_hidden

    debug = click.get_current_context().find_root().params["debug"]
    with contextlib.nullcontext() if debug else native_noise_hidden():
        return prediction.predict(place, source, target, **options)


def columns_in_short(names: Sequence[str]) -> str:
    """Returns the names of columns, of many the first and the last; a comma in a name is quoted."""
    shown = [repr(name) if "," in name else name for name in names]
    if len(shown) > MOST_COLUMNS:
        shown = [*shown[: MOST_COLUMNS - 2], f"... ({len(shown):,} columns)", shown[-1]]
    return ", ".join(shown)
