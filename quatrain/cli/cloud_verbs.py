"""The verbs that speak with Vertex AI: submit, upload and schedule. Imports are inside them."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quatrain.vertex import beam_checks

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.submission import Submission

_PATH = click.Path(path_type=Path)
_SPEC = click.argument("spec", type=_PATH)
_CLOUD = (
    click.option(
        "--cloud", default="cloud.yaml", type=_PATH, show_default=True, help="Cloud settings."
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
_RUN = (
    *_CLOUD,
    click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override the spec."),
    click.option("--tier", default="", metavar="T", help="Take this tier, not the spec's."),
    click.option("--runner", default="local", metavar="R", help="local, dataflow, flink, ..."),
    RUNNER_OPTION,
    click.option("--pipeline", type=_PATH, metavar="FILE", help="Send this compiled file."),
    click.option("--template", default="", metavar="DIGEST", help="Send what upload printed."),
    click.option("--allow-tag", is_flag=True, help="Accept an image named by a tag."),
)
_NAME = click.argument("name")


def _options(*options: Any) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.command()
@_SPEC
@_options(*_RUN)
@click.option("--job-id", default="", metavar="ID", help="Name of the job; made by default.")
@click.option("--at", default="", metavar="TIME", help="Where source.window ends; else now.")
@click.option("--no-cache", "anew", is_flag=True, help="Preprocess again, though nothing changed.")
@click.option("--wait", "waits", is_flag=True, help="Show the steps until the job has ended.")
def submit(spec: Path, job_id: str, anew: bool, waits: bool, **settings: Any) -> None:
    """Run the pipeline for SPEC on Vertex AI.

    \b
    Example:
      quatrain submit flights.yaml --cloud cloud.yaml --wait
    """  # noqa: D301
    from quatrain.vertex import submission

    if job_id:
        submission.check_job_id(job_id)
    with tempfile.TemporaryDirectory(prefix="quatrain-submit-") as folder:
        ready = submission.prepare(_request(spec, settings), Path(folder))
    ready = submission.labelled(ready)
    for warning in ready.warnings:
        click.echo(f"warning: {warning}", err=True)
    from quatrain.vertex.client import Vertex

    vertex = Vertex(ready.cloud)
    sent = ready.named(job_id or submission.new_job_id(ready.spec.name), anew=anew)
    vertex.create_job(sent.job, sent.job_id)
    click.echo(f"job    {sent.job_id}")
    click.echo(f"file   sha256 {sent.compiled.sha256}")
    click.echo(f"page   {submission.console_link(ready.cloud, sent.job_id)}")
    if waits:
        _wait(vertex, sent)


def _wait(vertex: Vertex, sent: Submission) -> None:
    from quatrain.vertex.submission import Wait, report_link, report_uri

    try:
        job = Wait(vertex, sent, sys.stderr).run()
    except KeyboardInterrupt:
        _offer_to_cancel(vertex, sent)
        raise
    if report := report_uri(job):
        click.echo(f"report {report_link(report)}")


def _offer_to_cancel(vertex: Vertex, sent: Submission) -> None:
    """Asks whether the job is to end too; where nobody can answer, it goes on."""
    question = f"\ncancel {sent.job_id} on Vertex AI too?"
    if sys.stdin.isatty():
        with contextlib.suppress(click.Abort):  # a second Ctrl-C is a no
            if click.confirm(question, default=False, err=True):
                vertex.cancel_job(sent.job_id)
                click.echo("asked it to end; its page shows when it has", err=True)
                return
    click.echo(f"{sent.job_id} goes on; cancel it on its page", err=True)


@click.command()
@_options(*_CLOUD)
@click.option("--pipeline", type=_PATH, metavar="FILE", help="Upload this compiled file.")
@click.option("--tag", "tags", multiple=True, help="Let this tag name it; may be repeated.")
@click.option("--allow-tag", is_flag=True, help="Accept an image named by a tag.")
def upload(
    cloud: Path,
    set_cloud: tuple[str, ...],
    pipeline: Path | None,
    tags: tuple[str, ...],
    allow_tag: bool,
) -> None:
    """Put the compiled pipeline in the template registry and print its digest.

    \b
    Example:
      quatrain upload --cloud cloud.yaml --tag 2026-11
      quatrain submit flights.yaml --template sha256:...
    """  # noqa: D301
    from quatrain.vertex import submission
    from quatrain.vertex.cloud_file import load_cloud
    from quatrain.vertex.registry import Registry

    settings = load_cloud(cloud, set_cloud, allow_tag)
    registry = Registry(settings)
    with tempfile.TemporaryDirectory(prefix="quatrain-upload-") as folder:
        compiled = submission.compile_for(settings, pipeline, Path(folder))
        template = registry.upload(compiled, tags)
    click.echo(f"digest {template.version}")
    click.echo(f"uri    {template.uri}")
    if tags:
        click.echo(f"tags   {', '.join(tags)}")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def schedule() -> None:
    """Run a spec on Vertex AI again and again.

    \b
    Example:
      quatrain schedule apply flights.yaml --cron "TZ=America/Sao_Paulo 0 3 * * 1"
    """  # noqa: D301


@schedule.command("apply")
@_SPEC
@_options(*_RUN)
@click.option("--cron", required=True, metavar="CRON", help='As "TZ=Europe/Berlin 0 3 * * 1".')
@click.option("--start", default="", metavar="TIME", help="No run before, as 2027-01-01.")
@click.option("--end", default="", metavar="TIME", help="No run after.")
@click.option("--max-runs", type=click.IntRange(1), metavar="N", help="Runs in all.")
@click.option("--max-active", type=click.IntRange(1), default=1, metavar="N", help="At a time. [1]")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would change; change nothing.")
def apply_verb(
    spec: Path,
    cron: str,
    start: str,
    end: str,
    max_runs: int | None,
    max_active: int,
    only_plan: bool,
    **settings: Any,
) -> None:
    """Make the schedule of SPEC what is asked; twice is nothing.

    \b
    Example:
      quatrain schedule apply flights.yaml --cron "TZ=Europe/Berlin 0 3 * * 1"
    """  # noqa: D301
    from quatrain.vertex import schedules, submission

    checked = schedules.read_cron(cron)
    with tempfile.TemporaryDirectory(prefix="quatrain-schedule-") as folder:
        ready = submission.prepare(_request(spec, settings), Path(folder))
    for warning in ready.warnings:
        click.echo(f"warning: {warning}", err=True)
    wanted = schedules.Wanted(
        ready.spec.name,
        checked,
        ready.job,
        schedules.read_time("--start", start, checked.zone),
        schedules.read_time("--end", end, checked.zone),
        max_runs,
        max_active,
    )
    from quatrain.vertex.client import Vertex

    applying = schedules.Applying(
        Vertex(ready.cloud), wanted, lambda words: click.echo(f"  {words}")
    )
    planned = applying.plan()
    if only_plan:
        for action in planned:
            click.echo(f"would {action.words}")
    elif planned:
        click.echo(f"schedule of {ready.spec.name}:")
        try:
            applying.apply()
        except KeyboardInterrupt:
            click.echo("cut off; the same apply goes on from here, call it soon", err=True)
            raise
    if not planned:
        click.echo(f"the schedule of {ready.spec.name} is as asked; nothing to do")
    click.echo("next runs:")
    for moment in schedules.next_times(wanted):
        click.echo(f"  {moment:%a %Y-%m-%d %H:%M %Z} ({moment.isoformat()})")


@schedule.command("list")
@_options(*_CLOUD)
def list_verb(**settings: Any) -> None:
    """List the schedules that Quatrain made in the project and location.

    \b
    Example:
      quatrain schedule list --cloud cloud.yaml
    """  # noqa: D301
    from quatrain.vertex import schedules

    vertex = _vertex(settings)
    listed = schedules.listed(vertex)
    for found in listed:
        click.echo(schedules.line(found))
    if not listed:
        click.echo(f"no schedules in {vertex.cloud.parent}")


@schedule.command()
@_NAME
@_options(*_CLOUD)
def pause(name: str, **settings: Any) -> None:
    """Start no more runs of the model NAME until it is resumed.

    \b
    Example:
      quatrain schedule pause flights
    """  # noqa: D301
    vertex, found = _found(name, settings)
    vertex.pause_schedule(found.name)
    click.echo(f"schedule {found.number} of {name} is paused; runs under way go on")


@schedule.command()
@_NAME
@_options(*_CLOUD)
@click.option("--catch-up", is_flag=True, help="Start the runs that were missed, too.")
def resume(name: str, catch_up: bool, **settings: Any) -> None:
    """Start runs of the model NAME again.

    \b
    Example:
      quatrain schedule resume flights --catch-up
    """  # noqa: D301
    vertex, found = _found(name, settings)
    vertex.resume_schedule(found.name, catch_up)
    how = "with" if catch_up else "without"
    click.echo(f"schedule {found.number} of {name} is resumed {how} the runs it missed")


@schedule.command("delete")
@_NAME
@_options(*_CLOUD)
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_verb(name: str, yes: bool, **settings: Any) -> None:
    """Delete the schedule of the model NAME; its runs and models stay.

    \b
    Example:
      quatrain schedule delete flights --yes
    """  # noqa: D301
    from quatrain.vertex import schedules

    vertex = _vertex(settings)
    found = schedules.find(vertex, name) or [schedules.find_one(vertex, name)]
    if not yes:
        click.confirm(f"delete the schedule of {name}?", abort=True, err=True)
    for each in found:
        schedules.delete(vertex, each.name)
        click.echo(f"schedule {each.number} of {name} is deleted")


@schedule.command("run")
@_NAME
@_options(*_CLOUD)
def run_verb(name: str, **settings: Any) -> None:
    """Start a run of the schedule of the model NAME now, beside its times.

    \b
    Example:
      quatrain schedule run flights
    """  # noqa: D301
    from quatrain.vertex.submission import console_link, new_job_id

    vertex, found = _found(name, settings)
    job_id = new_job_id(name)
    vertex.create_job(found.job, job_id)
    click.echo(f"job    {job_id}")
    click.echo(f"page   {console_link(vertex.cloud, job_id)}")


def _request(spec: Path, settings: dict[str, Any]) -> Any:
    from quatrain.vertex.submission import Request

    options = beam_checks.read_pairs(settings["runner"], settings.pop("runner_options"))
    return Request(spec=spec, runner_options=options, **settings)


def _vertex(settings: dict[str, Any]) -> Vertex:
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.cloud_file import load_cloud

    return Vertex(load_cloud(settings["cloud"], settings["set_cloud"], allow_tag=True))


def _found(name: str, settings: dict[str, Any]) -> tuple[Vertex, Any]:
    """Returns the client and the schedule of a model."""
    from quatrain.vertex import schedules

    vertex = _vertex(settings)
    return vertex, schedules.find_one(vertex, name)
