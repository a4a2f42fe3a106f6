"""The command line as a whole: its verbs, exit codes and errors."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from quatrain.cli import (
    champions,
    compare,
    doctor,
    gc,
    jobs,
    pipeline,
    predict,
    release,
    report,
    run,
    schedule,
    sent_job,
    serve,
    spec,
    tiers,
)
from quatrain.cli import list as runs
from quatrain.cli.exit_codes import FAILED, INTERRUPTED, USAGE
from quatrain.cli.options import spec_argument, specs_in_words
from quatrain.components.wording import near

NAME = "quatrain"
COMPLETION = "_QUATRAIN_COMPLETE"
"""The variable by which a shell asks click for completions, or for the script that does so."""


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


# Where the output is no terminal, click would cut the escapes of a table out, not write them out.
@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "color": True})
@click.option("--debug", is_flag=True, help="Show tracebacks. Accepted after a verb, too.")
@click.version_option(package_name="quatrain")
def cli(debug: bool) -> None:
    """Turn a table into a trained, evaluated and served TensorFlow model.

    One YAML file describes the model. One compiled pipeline trains it, here or on Vertex AI.

    \b
    Example:
      quatrain init rows.csv --target price
      quatrain run rows.yaml
      quatrain report runs/rows/latest
    """  # noqa: D301


_VERBS = (
    spec.init,
    spec.check,
    run.run,
    runs.list_verb,
    report.report,
    compare.compare,
    champions.models,
    champions.promote,
    champions.rollback,
    gc.gc,
    predict.predict,
    serve.serve,
    release.deploy,
    release.traffic,
    release.undeploy,
    tiers.tiers,
    pipeline.compile_verb,
    doctor.doctor,
    jobs.submit,
    sent_job.logs,
    sent_job.cancel,
    schedule.schedule,
    pipeline.upload,
)
"""In the order of `quatrain --help`."""

for verb in _VERBS:
    cli.add_command(verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits: 0, 1 after a failure, 2 after a usage error.

    Args:
        arguments: What follows the program's name; None: the arguments of this process.
    """
    if os.environ.get(COMPLETION):  # click prints what the shell's own function reads
        cli.main(prog_name=NAME)
    from quatrain.terminal.heartbeat import heartbeat
    from quatrain.terminal.plain_text import plain_streams

    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        _take_utf_8()
    with plain_streams(), contextlib.ExitStack() as stack:
        if arguments is None:  # not where a program calls it, which may print for itself
            verb = next((w for w in words if w[:1] != "-"), "quatrain")
            if verb != serve.serve.name:  # which is at work until it is stopped
                stack.enter_context(heartbeat(verb, sys.stderr))
        _main(words)


def _take_utf_8() -> None:
    """Starts anew in Python's UTF-8 mode where the locale has another encoding.

    Arrow, DuckDB and TensorFlow take the names of files as UTF-8 in any locale, and so do the
    tables and specs that hold such names.
    """
    if sys.getfilesystemencoding().lower() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"  # for the steps of a run, too
        command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execv(sys.executable, command)  # noqa: S606 - itself


def _main(words: list[str]) -> NoReturn:
    debug = "--debug" in words
    words = ["--debug"] * debug + [word for word in words if word != "--debug"]
    if debug:
        sys.exit(_invoke(words))
    try:
        code = _invoke(words)
    except KeyboardInterrupt as error:
        click.echo(f"\nerror: {str(error) or 'interrupted'}", err=True)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader has closed our output, so nothing can be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except Exception as error:  # the one place where every failure becomes a sentence
        click.echo(f"error: {_sentence(error)}", err=True, color=True)
        code = FAILED
    sys.exit(code)


def _invoke(arguments: list[str]) -> int:
    """Runs a verb and returns its exit code; a wrong command line is reported here."""
    try:
        returned: Any = cli.main(arguments, prog_name=NAME, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.UsageError as error:
        message = re.sub(
            r"^Got \w+ extra arguments? \((.*)\)$",
            r"more arguments than this verb takes: \1",
            error.format_message().rstrip("."),
            flags=re.DOTALL,
        )
        if isinstance(error, click.MissingParameter) and error.param is spec_argument(error.ctx):
            message = f"no SPEC; {specs_in_words()}"
        hint = f"; try `{error.ctx.command_path} --help`" if error.ctx else ""
        click.echo(f"error: {message}{'' if message.endswith('?') else hint}", err=True, color=True)
        return USAGE
    except click.Abort as aborted:
        cause = aborted.__cause__
        reason = cause.args if isinstance(cause, KeyboardInterrupt) else ()
        raise KeyboardInterrupt(*reason) from None
    return returned if isinstance(returned, int) else 0


def _sentence(error: Exception) -> str:
    from quatrain.calls import as_ours

    known = as_ours(error)
    if known is None:
        return (
            f"{type(error).__name__}: {error}; that is a fault of Quatrain, so report it with the "
            f"lines that --debug prints"
        )
    of_system = isinstance(known.__cause__ or error, OSError)
    return f"{known} (--debug shows where)" if of_system else str(known)
