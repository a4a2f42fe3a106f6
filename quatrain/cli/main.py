"""The command line: one function a verb. Heavy imports are inside the verbs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from quatrain.cli import cloud_verbs
from quatrain.components.errors import QuatrainError
from quatrain.components.wording import near
from quatrain.vertex import beam_checks

USAGE, FAILED, INTERRUPTED = 2, 1, 130
"""Exit codes: a wrong command line, a failure, and Ctrl-C."""

SHOWN = 20
"""How many folders an error names."""

_SPEC = click.argument("spec", type=click.Path(path_type=Path))
_TIER = click.option(
    "--tier", default="", metavar="T", help="Take this tier instead of the spec's."
)
_AT = click.option(
    "--at", default="", metavar="TIME", help="Where source.window ends, as 2013-07-01; else now."
)
_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="A.B=C",
    help="Set a value of the spec, in YAML; may be repeated.",
)


class _Verbs(click.Group):
    """A group that names the nearest verb when one is mistyped."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            ctx.fail(f"no verb {name!r}{near(name, self.commands)}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks; may stand anywhere.")
@click.version_option(package_name="quatrain")
def cli(debug: bool) -> None:
    """Turns a table into a trained, evaluated, served TensorFlow model.

    One YAML file describes the model; one compiled pipeline trains it, here or on Vertex AI.

    \b
    Example:
      quatrain init rows.csv --target price
      quatrain run rows.yaml
      quatrain report runs/rows/latest
    """  # noqa: D301


@cli.command()
@click.argument("data", metavar="DATA")
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="SPEC",
    help="The spec's file.  [default: rows.yaml for rows.csv, in this folder]",
)
def init(data: str, target: str, output: Path | None) -> None:
    """Write a spec for the table DATA, with comments on what was found in it.

    DATA is a CSV, JSON Lines or Parquet file, a glob of them, or a gs:// uri. A bounded sample of
    it is read. The spec runs as it is; columns that look like an answer or an identifier are left
    out in it.

    \b
    Example:
      quatrain init taxi.csv --target tips -o taxi.yaml
    """  # noqa: D301
    from quatrain.draft.propose import propose
    from quatrain.terminal.printouts import proposal_lines

    for line in proposal_lines(propose(data, target, output)):
        click.echo(line)


@cli.command()
@_SPEC
@_TIER
@click.option(
    "--root",
    default="runs",
    type=click.Path(path_type=Path),
    show_default=True,
    help="Folder of all runs.",
)
@_SET
@click.option(
    "--runner",
    default="local",
    metavar="R",
    show_default=True,
    help="Where Beam runs: local, flink, spark or a runner of Beam's.",
)
@cloud_verbs.RUNNER_OPTION
@click.option("--workers", type=int, metavar="N", help="Processes of runner local; 0: a core each.")
@click.option(
    "--pipeline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Execute this compiled file instead of compiling one.",
)
@_AT
def run(
    spec: Path,
    tier: str,
    root: Path,
    overrides: tuple[str, ...],
    runner: str,
    runner_options: tuple[str, ...],
    workers: int | None,
    pipeline: Path | None,
    at: str,
) -> None:
    """Run the whole pipeline for SPEC on this machine.

    The run goes to ROOT/<name>/<run id>, and ROOT/<name>/latest points to it.

    \b
    Example:
      quatrain run examples/flights/flights.yaml --tier STANDARD_1 --set train.replicas=2
    """  # noqa: D301
    import tempfile

    from quatrain.components.package.publishing import check_trainer
    from quatrain.components.table.windows import window_end
    from quatrain.components.train.plan import resolve_tier
    from quatrain.validation.typos import load_with_source

    options = beam_checks.read_pairs(runner, runner_options, workers)
    if pipeline is None:
        beam_checks.check(runner, options)
        beam_checks.check_here(runner)
    model_spec = load_with_source(spec, overrides)
    resolve_tier(model_spec, tier)  # before the minutes that preprocessing takes
    check_trainer(model_spec.train.trainer or "")
    window_end(model_spec.source, at)
    from quatrain.local.run import run_pipeline
    from quatrain.pipelines.compiled import compile_pipeline
    from quatrain.terminal.printouts import shown

    with tempfile.TemporaryDirectory(prefix="quatrain-compile-") as folder:
        path = pipeline or compile_pipeline(Path(folder) / "training.yaml")
        done = run_pipeline(
            path, model_spec, root, tier=tier, runner=runner, runner_options=options, at=at
        )
    for name in ("report.html", "metrics.json", "model"):
        if (done.folder / name).exists():
            click.echo(f"{name:<13} {shown(done.folder / name)}")


@cli.command("compile")
@click.option(
    "-o",
    "--output",
    default="training.yaml",
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where to write the pipeline.",
)
@click.option(
    "--image",
    default="",
    metavar="REF",
    help="Image of every component and replica; on Vertex, by its digest.",
)
def compile_verb(output: Path, image: str) -> None:
    """Write the one pipeline file that serves every spec.

    The same code and image give the same bytes; the spec is a run-time parameter.

    \b
    Example:
      quatrain compile -o training.yaml --image REGION-docker.pkg.dev/P/R/quatrain@sha256:...
    """  # noqa: D301
    from quatrain.components.image import IMAGE
    from quatrain.pipelines.compiled import compile_pipeline, read_compiled

    if output.suffix not in (".yaml", ".json"):
        raise click.UsageError(f"{output} must end in .yaml or .json")
    compiled = read_compiled(compile_pipeline(output, image or IMAGE))
    click.echo(f"{output}  sha256 {compiled.sha256}  steps {' -> '.join(compiled.steps)}")


@cli.command()
@_SPEC
@_TIER
@_SET
@_AT
def check(spec: Path, tier: str, overrides: tuple[str, ...], at: str) -> None:
    """Check SPEC, and a sample of its rows, without running anything.

    \b
    Example:
      quatrain check examples/flights/flights.yaml --set clean.max_rejected=0.01
    """  # noqa: D301
    from quatrain.components.errors import SpecError
    from quatrain.components.table.windows import window_end
    from quatrain.components.tiers import tiers
    from quatrain.components.train.plan import resolve_tier
    from quatrain.terminal.console import rows_in_words
    from quatrain.validation import sample
    from quatrain.validation.typos import load_with_source

    model_spec = load_with_source(spec, overrides)
    resolved = resolve_tier(model_spec, tier)
    found = sample.check(model_spec, window_end(model_spec.source, at))
    if found.sample:
        click.echo(f"sampled {rows_in_words(found.sample.rows)}")
    if found.problems:
        raise SpecError("\n".join(f"{spec.name}: {problem}" for problem in found.problems))
    for warning in [*found.warnings, *tiers.warnings(resolved, kinds=tiers.HARDWARE)]:
        click.echo(f"warning: {warning}", err=True)
    for note in resolved.notes if resolved.name == "CUSTOM" else ():
        click.echo(f"train.tier CUSTOM: {note}")
    n_features, n_columns = len(model_spec.features), len(model_spec.columns)
    click.echo(
        f"{spec.name} suits its data: {n_columns} columns, {n_features} features, "
        f"label {model_spec.label} ({model_spec.task}), tier {resolved.name}"
    )


_PRICES = click.option(
    "--prices",
    type=click.Path(path_type=Path),
    envvar="QUATRAIN_PRICES",
    metavar="FILE",
    help="Your prices, in the form of components/tiers/prices.yaml.",
    show_envvar=True,
)


@cli.command()
@click.argument("tier", required=False)
@_PRICES
def tiers(tier: str | None, prices: Path | None) -> None:
    """Show what the tiers mean today, or one TIER in full.

    \b
    Example:
      quatrain tiers STANDARD_1
    """  # noqa: D301
    from quatrain.components.tiers.prices import OWN
    from quatrain.terminal.printouts import tier_details, tier_table

    click.echo(tier_details(tier, prices or OWN) if tier else tier_table())


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("rows", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="CSV or Parquet, by its suffix.  [default: rows.predictions.csv for rows.csv]",
)
@click.option("--keep", multiple=True, metavar="COLUMN", help="Copy it from INPUT; repeatable.")
@click.option(
    "--rejected",
    type=click.Path(path_type=Path),
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


@cli.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
def report(run: Path, opens: bool) -> None:
    """Print how a run went, and where its page is.

    RUN is a run's folder, or the folder of a model's runs (then its latest).

    \b
    Example:
      quatrain report runs/flights/latest --open
    """  # noqa: D301
    from quatrain.local.runs import models_below
    from quatrain.terminal.printouts import find_run, run_details

    if not (run / "run.json").is_file() and (models := models_below(run)):
        raise QuatrainError(f"{run} is the folder of all runs; name one: {_joined(models)}")
    folder = find_run(run)
    click.echo(run_details(folder))
    page = folder / "report.html"
    if opens:
        if not page.exists():
            raise QuatrainError(f"{folder} has no report.html: the run did not reach evaluate")
        click.launch(str(page.resolve()))


@cli.command()
@_SPEC
@click.option(
    "--cloud",
    default="cloud.yaml",
    type=click.Path(path_type=Path),
    show_default=True,
    help="Settings of the cloud.",
)
@_SET
@click.option("--set-cloud", multiple=True, metavar="A.B=C", help="Override a value of them.")
@_TIER
@click.option("--pipeline", type=click.Path(path_type=Path), metavar="FILE", help="Compiled file.")
@_PRICES
@click.option("--runner", default="local", metavar="R", help="Where Beam is to run.  [local]")
@click.option("--offline", is_flag=True, help="Ask nobody; say what was not asked.")
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
) -> int:
    """Find what would make a run of SPEC on Vertex fail, before it costs anything.

    \b
    Example:
      quatrain doctor examples/flights/flights.yaml --cloud cloud.yaml --offline
    """  # noqa: D301
    from quatrain.components.tiers.prices import OWN
    from quatrain.vertex.doctor import Request, examine
    from quatrain.vertex.findings import lines

    request = Request(
        spec, cloud, overrides, set_cloud, tier, pipeline, prices or OWN, offline, runner
    )
    findings = list(examine(request, lambda text: click.echo(text, err=True)))
    for line in lines(findings):
        click.echo(line)
    return FAILED if any(finding.severity == "error" for finding in findings) else 0


for verb in (cloud_verbs.submit, cloud_verbs.upload, cloud_verbs.schedule):
    cli.add_command(verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits: 0, 1 after a failure, 2 after a usage error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = ["--debug"] * debug + [a for a in given if a != "--debug"]
    if debug:
        sys.exit(_invoke(given))
    try:
        code = _invoke(given)
    except KeyboardInterrupt as error:
        click.echo(f"\nerror: {str(error) or 'interrupted'}", err=True)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone; nothing can be told to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except Exception as error:  # the one place where every failure becomes a sentence
        click.echo(f"error: {_sentence(error)}", err=True)
        code = FAILED
    sys.exit(code)


def _joined(paths: Sequence[Path]) -> str:
    more = ", ..." if len(paths) > SHOWN else ""
    return ", ".join(map(str, paths[:SHOWN])) + more


def _invoke(arguments: list[str]) -> int:
    try:
        returned: Any = cli.main(arguments, prog_name="quatrain", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.UsageError as error:
        hint = f"; try `{error.ctx.command_path} --help`" if error.ctx else ""
        click.echo(f"error: {error.format_message().rstrip('.')}{hint}", err=True)
        return USAGE
    except click.Abort as aborted:
        cause = aborted.__cause__
        told = cause.args if isinstance(cause, KeyboardInterrupt) else ()
        raise KeyboardInterrupt(*told) from None
    return returned if isinstance(returned, int) else 0


def _sentence(error: Exception) -> str:
    from quatrain.trainer.settings import TrainerError

    if isinstance(error, QuatrainError | TrainerError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror} (--debug shows where)"
    return f"{type(error).__name__}: {error} (unexpected; --debug shows where)"


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


if __name__ == "__main__":
    main()
