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
from quatrain.cli.options import AT, JSON, NOTIFY, PATH, RUNNER_OPTION, SET, runner_options_of
from quatrain.components.uris import DEFAULT_ROOT
from quatrain.components.wording import counted

if TYPE_CHECKING:
    from quatrain.components.serve.batch.choice import EngineChoice
    from quatrain.components.serve.predict import Predictions

MOST_COLUMNS = 8
"""The most columns of predictions that are named; a model of 27 classes writes 28."""
STDIN = "-"
"""The INPUT that stands for standard input."""


@click.command()
@click.argument("model", shell_complete=completion.runs)
@click.argument("inputs", metavar="[INPUT]...", nargs=-1)
@click.option(
    "--row", "row_texts", multiple=True, metavar="JSON", help="A row as an object. Repeatable."
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="A .csv, a .parquet, a folder or a bq:// table.",
)
@click.option("--keep", multiple=True, metavar="COLUMN", help="Copy this column. Repeatable.")
@click.option("--rejected", metavar="FILE", help="Write unreadable rows here; DIR for shards.")
@click.option("--format", "form", metavar="F", help="Of shards: parquet (the default) or csv.")
@click.option(
    "--runner",
    default="local",
    metavar="R",
    show_default=True,
    help="Where Beam runs: dataflow, ...",
)
@RUNNER_OPTION
@click.option("--workers", type=int, metavar="N", help="Threads on this machine. Default: up to 4.")
@click.option(
    "--root",
    default=DEFAULT_ROOT,
    metavar="DIR",
    show_default=True,
    help="All runs, which must know MODEL.",
)
@click.option("--trust", is_flag=True, help="Load a MODEL that no run knows: it is a program.")
@AT
@SET
@click.option(
    "--pipeline", type=PATH, metavar="FILE", help="Run this compiled file, of `compile --predict`."
)
@NOTIFY
@JSON
def predict(
    model: str,
    inputs: tuple[str, ...],
    row_texts: tuple[str, ...],
    output: str | None,
    as_json: bool,
    form: str | None,
    runner: str,
    runner_options: tuple[str, ...],
    workers: int | None,
    at: str,
    pipeline: Path | None,
    notify: str,
    overrides: tuple[str, ...],
    **options: Any,
) -> None:
    """Predict the rows of INPUT (a file, a gs:// or bq:// uri, or -) with MODEL.

    \b
    MODEL is a model, a run, a folder of runs, or a spec with a window. Example:
      quatrain predict runs/flights new_flights.csv --keep id --rejected bad.csv
    """  # noqa: D301
    from quatrain.components.serve.model_folder import find_model
    from quatrain.terminal.json_text import json_text
    from quatrain.terminal.prediction_text import answer_lines
    from quatrain.terminal.printouts import gate_warning

    if Path(model).suffix in (".yaml", ".yml") and not Path(model).is_dir():
        overrides = (*overrides, *_table_override(model, output))
        unused: dict[str, Any] = {"an INPUT": inputs, "--row": row_texts, "--format": form}
        unused |= {"--rejected": options["rejected"], "--workers": workers}
        if wrong := [name for name, value in unused.items() if value]:
            raise click.UsageError(
                f"{model} is a spec, whose window is predicted; leave out {wrong[0]}"
            )
        options |= {"overrides": overrides, "at": at, "pipeline": pipeline, "notify": notify}
        _predict_spec(model, runner, runner_options, as_json, options)
        return
    if at or pipeline or overrides or notify:
        raise click.UsageError(
            "--at, --set, --pipeline and --notify are for a spec; name one instead of a model"
        )
    if bool(inputs) == bool(row_texts):
        raise click.UsageError("name one INPUT, or give rows by --row")
    if STDIN in inputs and len(inputs) > 1:
        raise click.UsageError("- is standard input, and stands alone; leave out the other INPUTs")
    place = find_model(model)
    if warning := gate_warning(place):
        click.echo(f"warning: {warning}", err=True)
    options["form"], options["engine"] = form or "", _engine(runner, runner_options, workers)
    with _source(inputs, row_texts) as source, tempfile.TemporaryDirectory() as folder:
        is_printed = output is None and source != inputs
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


def _table_override(spec: str, output: str | None) -> list[str]:
    """Returns the setting of a spec that `-o` stands for.

    Raises:
        click.UsageError: It names no table.
    """
    if output and not output.startswith("bq://"):
        raise click.UsageError(
            f"-o {output}: {spec} is a spec, whose window goes to a partition below --root; leave "
            f"out -o, or name a bq:// table that gets the rows, too"
        )
    return [f"predict.table={output}"] if output else []


def _predict_spec(
    spec: str,
    runner: str,
    runner_options: Sequence[str],
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Predicts the window of a spec by the compiled pipeline, and prints what was written."""
    from quatrain.components.folder import read_manifest
    from quatrain.face.prediction import predict_spec
    from quatrain.terminal.json_text import json_text

    taken = ("root", "overrides", "pipeline", "trust", "at", "keep", "notify")
    partition = predict_spec(
        Path(spec),
        runner=runner,
        runner_options=runner_options_of(runner_options),
        **{name: options[name] for name in taken},
    )
    manifest = read_manifest(partition, "manifest.json", "predict")
    rows, table = manifest["rows"], manifest.get("table")
    if as_json:
        click.echo(json_text({"path": partition, **manifest}))
        return
    click.echo(
        f"{counted(rows['answered'], 'row')} to {partition}"
        f"{' and ' + table['uri'] if table else ''}: "
        f"{columns_in_short(manifest['columns'])}; {rows['rejected']:,} rejected; by the champion "
        f"of run {manifest['champion']['run']}"
    )


@contextlib.contextmanager
def _source(inputs: tuple[str, ...], row_texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yields the paths or uris of the rows."""
    from quatrain.components.serve.piped_rows import file_of

    if inputs and inputs[0] != STDIN:
        more = f" and {len(inputs) - 1:,} more" if len(inputs) > 1 else ""
        click.echo(f"predicting {inputs[0]}{more} ...", err=True)
        yield inputs
        return
    if inputs and sys.stdin is None:
        raise click.UsageError("standard input is closed; name a file, or give rows by --row")
    stream, name = (sys.stdin.buffer, "standard input") if inputs else (_lines(row_texts), "--row")
    with file_of(stream, name) as path:
        yield (str(path),)


def _engine(runner: str, pairs: Sequence[str], workers: int | None) -> EngineChoice:
    from quatrain.components.serve.batch.choice import EngineChoice

    return EngineChoice(runner, runner_options_of(pairs), workers)


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


def _predict(
    place: str, source: tuple[str, ...], target: str | None, options: dict[str, Any]
) -> Predictions:
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
