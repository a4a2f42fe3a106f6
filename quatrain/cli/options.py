"""The options and arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quatrain.vertex.beam_checks import LOCAL

if TYPE_CHECKING:
    from quatrain.vertex.submission import Request

PATH = click.Path(path_type=Path)

SPEC = click.argument("spec", type=PATH)
TIER = click.option("--tier", default="", metavar="T", help="Take this tier instead of the spec's.")
AT = click.option(
    "--at", default="", metavar="TIME", help="Where source.window ends, as 2013-07-01; else now."
)
SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="A.B=C",
    help="Set a value of the spec, in YAML; may be repeated.",
)

PRICES = click.option(
    "--prices",
    type=PATH,
    envvar="QUATRAIN_PRICES",
    metavar="FILE",
    help="Your prices, in the form of components/tiers/prices.yaml.",
    show_envvar=True,
)
CLOUD = (
    click.option(
        "--cloud", default="cloud.yaml", type=PATH, show_default=True, help="Cloud settings."
    ),
    click.option("--set-cloud", multiple=True, metavar="A.B=C", help="Override a cloud setting."),
)
RUNNER_OPTION = click.option(
    "--runner-option",
    "runner_options",
    multiple=True,
    metavar="K=V",
    help="An option of the runner's; may be repeated.",
)
JOB = (
    *CLOUD,
    SET,
    TIER,
    click.option("--runner", default="local", metavar="R", help="local, dataflow, flink, ..."),
    RUNNER_OPTION,
    click.option("--pipeline", type=PATH, metavar="FILE", help="Send this compiled file."),
    click.option("--template", default="", metavar="DIGEST", help="Send what upload printed."),
    click.option("--allow-tag", is_flag=True, help="Accept an image named by a tag."),
)


def with_options(*options: Any) -> Callable[[Any], Any]:
    """Decorates a verb with options, in the order of its help."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def runner_options_of(
    runner: str, pairs: Sequence[str], workers: int | None = None
) -> dict[str, Any]:
    """Returns runner options from KEY=VALUE pairs; a key that is given twice holds a list.

    Args:
        runner: The engine.
        pairs: What `--runner-option` gave.
        workers: How many processes the local engine has.

    Raises:
        click.UsageError: A pair has no value, or `workers` does not suit the engine.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.removeprefix("--").partition("=")
        if not (key and equals):
            raise click.UsageError(f"--runner-option {pair!r}: write KEY=VALUE")
        found[key] = [*_listed(found[key]), value] if key in found else value
    if workers is None:
        return found
    if runner != LOCAL:
        raise click.UsageError(
            f"--workers is of runner local; {runner!r} takes its own --runner-option, as "
            f"max_num_workers=N of dataflow or parallelism=N of flink"
        )
    if workers < 0:
        raise click.UsageError(f"--workers is {workers}; it is at least 1, or 0 for a core each")
    return {**found, "direct_num_workers": workers}


def request_of(spec: Path, settings: dict[str, Any]) -> Request:
    """Returns the request that the options `JOB` describe."""
    from quatrain.vertex.submission import Request

    options = runner_options_of(settings["runner"], settings.pop("runner_options"))
    return Request(spec=spec, runner_options=options, **settings)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
