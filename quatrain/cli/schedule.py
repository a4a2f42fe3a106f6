"""The verbs that schedule runs on Vertex AI. Slow imports are inside them."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quatrain.cli.exit_codes import FAILED
from quatrain.cli.options import CLOUD, JOB, JSON, SPEC, request_of, vertex_of, with_options

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.schedules.plan import Schedule, ScheduleRequest

NAME = click.argument("name")
PREDICTIONS = "/predictions"
"""The end of the name of a schedule that predicts, beside the model's that trains. A model's name
holds no slash."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def schedule() -> None:
    """Run a spec on Vertex AI on a schedule.

    \b
    Example:
      quatrain schedule apply flights.yaml --cron "TZ=America/Sao_Paulo 0 3 * * 1"
    """  # noqa: D301


@schedule.command("apply")
@click.help_option("-h", "--help", hidden=True)  # its line is the one that does not fit a screen
@SPEC
@with_options(*JOB)
@click.option(
    "--cron",
    required=True,
    metavar="CRON",
    help="When to run, as in the example.",
)
@click.option(
    "--start", default="", metavar="TIME", help="Start no run before TIME, such as 2027-01-01."
)
@click.option("--end", default="", metavar="TIME", help="Start no run from TIME on.")
@click.option("--max-runs", type=click.IntRange(1), metavar="N", help="Stop after N runs.")
@click.option(
    "--max-active",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    show_default=True,
    help="Most runs at the same time.",
)
@click.option("--queue", is_flag=True, help="Let a run wait for an active one, not skip it.")
@click.option("--plan", "only_plan", is_flag=True, help="Print the changes without making them.")
def apply_verb(
    spec: Path,
    cron: str,
    start: str,
    end: str,
    max_runs: int | None,
    max_active: int,
    queue: bool,
    only_plan: bool,
    **settings: Any,
) -> None:
    """\b
    Create or change the schedule of SPEC. Example:
      quatrain schedule apply flights.yaml --cron "TZ=Europe/Berlin 0 3 * * 1"
    """  # noqa: D205, D301, D415 - its help just fits a screen
    from quatrain.vertex import submission
    from quatrain.vertex.schedules.applier import ScheduleApplier
    from quatrain.vertex.schedules.cron import read_cron, read_time
    from quatrain.vertex.schedules.plan import ScheduleRequest

    checked_cron = read_cron(cron)
    with tempfile.TemporaryDirectory(prefix="quatrain-schedule-") as folder:
        checked = submission.prepare(request_of(spec, dict(settings)), Path(folder))
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)
    name = f"{checked.spec.name}{PREDICTIONS}" if settings["predicts"] else checked.spec.name
    request = ScheduleRequest(
        name,
        checked_cron,
        checked.job,
        read_time("--start", start, checked_cron.zone),
        read_time("--end", end, checked_cron.zone),
        max_runs,
        max_active,
        queue,
    )
    from quatrain.vertex.client import Vertex

    applier = ScheduleApplier(
        Vertex(checked.cloud), request, lambda words: click.echo(f"  {words}")
    )
    planned = applier.plan()
    if only_plan:
        for action in planned:
            click.echo(f"would {action.words}")
    else:
        checked.write_spec()  # even if nothing is planned: the runs to come read it
    if planned and not only_plan:
        click.echo(f"schedule of {name}:")
        try:
            applier.apply()
        except KeyboardInterrupt:
            click.echo("interrupted; repeat the same apply soon, to finish it", err=True)
            raise
    if not planned:
        click.echo(f"the schedule of {name} is up to date")
    _print_next_runs(request, checked.spec.source.window)


def _print_next_runs(request: ScheduleRequest, window: str | None) -> None:
    """Prints when a schedule will run and what it will read, with what may surprise."""
    from quatrain.vertex.schedules import status

    click.echo("next runs:")
    times = status.next_times(request)
    for moment in times:
        click.echo(f"  {moment:%a %Y-%m-%d %H:%M %Z} ({moment.isoformat()})")
    warnings = [status.clock_warning(request)]
    if window:
        click.echo(f"the next one reads {status.window_in_words(times[0], window)}")
        warnings.append(status.window_warning(times))
    for warning in filter(None, warnings):
        click.echo(f"warning: {warning}", err=True)


@schedule.command("list")
@with_options(*CLOUD)
@JSON
def list_verb(as_json: bool, **settings: Any) -> int:
    """List Quatrain's schedules, with the last run and the last start of each.

    Exits with status 1 if a last run failed, or was due and not started.

    \b
    Example:
      quatrain schedule list --cloud cloud.yaml
    """  # noqa: D301
    from quatrain.terminal.json_text import json_text
    from quatrain.vertex.schedules import applier
    from quatrain.vertex.schedules.status import ScheduleStatus

    vertex = vertex_of(settings)
    statuses = [ScheduleStatus.of(vertex, each) for each in applier.find_all(vertex)]
    if as_json:
        click.echo(json_text([status.as_document() for status in statuses]))
        return FAILED if any(status.is_bad for status in statuses) else 0
    for status in statuses:
        for line in status.lines():
            click.echo(line)
    if not statuses:
        click.echo(f"no schedules in {vertex.cloud.parent}")
    return FAILED if any(status.is_bad for status in statuses) else 0


@schedule.command()
@NAME
@with_options(*CLOUD)
def pause(name: str, **settings: Any) -> None:
    """Pause the schedule of the model NAME.

    \b
    Example:
      quatrain schedule pause flights
    """  # noqa: D301
    vertex, existing = _find(name, settings)
    vertex.pause_schedule(existing.name)
    click.echo(f"schedule {existing.number} of {name} is paused; runs under way go on")


@schedule.command()
@NAME
@with_options(*CLOUD)
@click.option("--catch-up", is_flag=True, help="Also start the runs that were missed.")
def resume(name: str, catch_up: bool, **settings: Any) -> None:
    """Resume the schedule of the model NAME.

    \b
    Example:
      quatrain schedule resume flights --catch-up
    """  # noqa: D301
    from quatrain.vertex.schedules.status import check_catch_up

    vertex, existing = _find(name, settings)
    if catch_up:
        check_catch_up(existing, datetime.datetime.now(datetime.UTC))
    vertex.resume_schedule(existing.name, catch_up)
    how = "with" if catch_up else "without"
    click.echo(f"schedule {existing.number} of {name} is resumed {how} the runs it missed")


@schedule.command("delete")
@NAME
@with_options(*CLOUD)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete_verb(name: str, yes: bool, **settings: Any) -> None:
    """Delete the schedule of the model NAME. Its runs and models stay.

    \b
    Example:
      quatrain schedule delete flights --yes
    """  # noqa: D301
    from quatrain.vertex.schedules import applier

    vertex = vertex_of(settings)
    of_name = applier.find(vertex, name) or [applier.find_one(vertex, name)]
    if not yes:
        click.confirm(f"delete the schedule of {name}?", abort=True, err=True)
    for each in of_name:
        applier.delete(vertex, each.name)
        click.echo(f"schedule {each.number} of {name} is deleted")


@schedule.command("run")
@NAME
@with_options(*CLOUD)
def run_verb(name: str, **settings: Any) -> None:
    """Start a run of the schedule of the model NAME now.

    \b
    Example:
      quatrain schedule run flights
    """  # noqa: D301
    from quatrain.vertex.job_watch import console_link
    from quatrain.vertex.submission import new_job_id

    vertex, existing = _find(name, settings)
    job_id = new_job_id(name.replace("/", "-"))
    vertex.create_job(existing.job, job_id)
    click.echo(f"job    {job_id}")
    click.echo(f"page   {console_link(vertex.cloud, job_id)}")


def _find(name: str, settings: dict[str, Any]) -> tuple[Vertex, Schedule]:
    """Returns the client, and the schedule of the model `name`."""
    from quatrain.vertex.schedules import applier

    vertex = vertex_of(settings)
    return vertex, applier.find_one(vertex, name)
