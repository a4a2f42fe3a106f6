"""Options and arguments that several verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quatrain.cli import completion

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.submission import JobRequest


MAX_SPECS, MAX_HEAD = 10, 1 << 20
"""The specs that an error names, and the characters in which their sections are looked for."""


class LocalPath(click.Path):
    """A path on this machine; a uri would turn into a folder named `gs:`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path, or refuses a uri."""
        if "://" in str(value):
            self.fail(f"{value} is a uri; name a path on this machine", param, ctx)
        return super().convert(value, param, ctx)


PATH = LocalPath(path_type=Path)

SPEC = click.argument("spec", type=PATH, shell_complete=completion.specs)
TIER = click.option(
    "--tier",
    default="",
    metavar="T",
    help="Use this tier instead of the spec's.",
    shell_complete=completion.tiers,
)
AT = click.option(
    "--at",
    default="",
    metavar="TIME",
    help="End of source.window, if not now, such as 2013-07-01.",
)
NOTIFY = click.option(
    "--notify",
    default="",
    metavar="URL",
    help="Send a notice of the outcome to this webhook.",
)
SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="A.B=C",
    help="Set a value: features.x.transform=log. Repeatable.",
    shell_complete=completion.settings,
)

PLAN = click.option("--plan", "only_plan", is_flag=True, help="Print the changes only.")

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

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
        "--cloud",
        default="cloud.yaml",
        type=PATH,
        show_default=True,
        help="File of cloud settings.",
    ),
    click.option(
        "--set-cloud", multiple=True, metavar="A.B=C", help="Set a cloud setting. Repeatable."
    ),
)
ROOT = (
    click.option(
        "--root",
        default="",
        metavar="R",
        help="The folder of all runs, or its gs:// uri.  [default: runs]",
    ),
    click.option(
        "--cloud",
        default="",
        metavar="FILE",
        help="File of cloud settings: its root, and its jobs.",
    ),
)
"""Where verbs about past runs look for them."""
RUNNER_OPTION = click.option(
    "--runner-option",
    "runner_options",
    multiple=True,
    metavar="K=V",
    help="Set an option of the runner. Repeatable.",
)
TRUST = click.option(
    "--trust", is_flag=True, help="Take a FILE that compile would not write: a program."
)
PREDICTS = click.option(
    "--predict", "predicts", is_flag=True, help="Predict by the champion; do not train."
)
JOB = (
    PREDICTS,
    *CLOUD,
    SET,
    TIER,
    click.option(
        "--runner",
        default="",
        metavar="R",
        help="Where Beam runs, such as flink.  [default: the cloud's]",
    ),
    RUNNER_OPTION,
    click.option(
        "--pipeline",
        type=PATH,
        metavar="FILE",
        help="Send this compiled file instead of compiling one.",
    ),
    TRUST,
    click.option(
        "--template",
        default="",
        metavar="DIGEST",
        help="Send the template that upload printed.",
    ),
    click.option("--allow-tag", is_flag=True, help="Accept an image named by a tag, not a digest."),
)


def with_options(*options: Any) -> Callable[[Any], Any]:
    """Returns a decorator that adds options to a verb, in the order of their help."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def spec_argument(context: click.Context | None) -> click.Parameter | None:
    """Returns the argument SPEC of a verb; None if it has none."""
    parameters = context.command.params if context else []
    return next((p for p in parameters if p.name == "spec" and p.param_type_name != "option"), None)


def specs_in_words() -> str:
    """Returns which specs lie in the current folder, or how one is made."""
    found = [path.name for path in sorted(Path().glob("*.y*ml")) if _is_spec(path)]
    more = ", ..." if len(found) > MAX_SPECS else ""
    if found:
        return f"this folder has {', '.join(found[:MAX_SPECS])}{more}"
    return "this folder has none, and `quatrain init DATA --target COLUMN` writes one"


def _is_spec(path: Path) -> bool:
    """Whether a file has the sections of a spec, not those of cloud settings or of a pipeline."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(MAX_HEAD)
    except OSError:
        return False
    return all(re.search(rf"^{key}:", head, re.MULTILINE) for key in ("source", "label"))


def runner_options_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Returns runner options from KEY=VALUE pairs; a repeated key holds a list.

    Args:
        pairs: The values of `--runner-option`.

    Raises:
        click.UsageError: A pair has no value.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.removeprefix("--").partition("=")
        if not (key and equals):
            raise click.UsageError(f"--runner-option {pair!r}: write KEY=VALUE")
        options[key] = [*_as_list(options[key]), value] if key in options else value
    return options


def vertex_of(settings: dict[str, Any]) -> Vertex:
    """Returns the client that the values of the options in `CLOUD` describe."""
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.cloud_file import load_cloud

    return Vertex(load_cloud(settings["cloud"], settings["set_cloud"], allow_tag=True))


def request_of(spec: Path, settings: dict[str, Any]) -> JobRequest:
    """Returns the request that the values of the options in `JOB` describe."""
    from quatrain.vertex.submission import JobRequest

    options = runner_options_of(settings.pop("runner_options"))
    return JobRequest(spec=spec, runner_options=options, **settings)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
