"""The verbs about a job on Vertex AI: logs and cancel. Slow imports are inside them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from quatrain.cli.exit_codes import FAILED
from quatrain.cli.options import CLOUD, vertex_of, with_options

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.job_logs import JobLogs, LogLine
    from quatrain.vertex.job_tasks import LaunchedResource

LEAST_SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@click.command()
@click.argument("job", metavar="JOB")
@with_options(*CLOUD)
@click.option("--step", default="", metavar="STEP", help="Only this step's lines, such as train.")
@click.option(
    "--severity",
    type=click.Choice(LEAST_SEVERITIES, case_sensitive=False),
    metavar="S",
    help="Least severity.  [default: ERROR for a failed job]",
)
@click.option("--since", default="", metavar="TIME", help="From TIME on: 10m, 2h, 7d or ISO.")
@click.option(
    "--lines",
    type=click.IntRange(1),
    default=100,
    metavar="N",
    show_default=True,
    help="The last N lines.",
)
@click.option("--follow", is_flag=True, help="Print new lines until the job ends.")
def logs(
    job: str,
    step: str,
    severity: str | None,
    since: str,
    lines: int,
    follow: bool,
    **settings: Any,
) -> None:
    """Print the log of JOB on Vertex AI, with that of its training.

    JOB is the id that submit printed, a resource name, or the link of the job's page.

    \b
    Example:
      quatrain logs flights-20261201-030000 --step train --follow
    """  # noqa: D301
    from quatrain.vertex.job_logs import JobLogs, LogQuery, read_since
    from quatrain.vertex.job_names import job_id_of

    now = datetime.datetime.now(datetime.UTC)
    first = read_since(since, now) if since else None
    vertex = vertex_of(settings)
    query = LogQuery(step, (severity or "DEFAULT").upper(), first)
    job_logs = JobLogs(vertex, job_id_of(job, vertex.cloud), query)
    printed = _last_lines(job_logs, lines, errors_first=severity is None)
    _print(printed)
    if follow:
        _print(job_logs.following(printed))
    elif not printed:
        click.echo("no lines yet" if job_logs.state == "RUNNING" else "no lines", err=True)


def _last_lines(job_logs: JobLogs, n: int, errors_first: bool) -> list[LogLine]:
    """Returns the last lines; of a failed job its errors alone, if it has any."""
    if errors_first and job_logs.state == "FAILED" and (errors := job_logs.last(n, "ERROR")):
        click.echo("the errors of the failed job; --severity DEFAULT prints all lines", err=True)
        return errors
    return job_logs.last(n)


def _print(log: Iterable[LogLine]) -> None:
    for entry in log:
        for line in entry.lines():
            click.echo(line)


@click.command()
@click.argument("job", metavar="JOB")
@with_options(*CLOUD)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def cancel(job: str, yes: bool, **settings: Any) -> int:
    """Cancel JOB on Vertex AI, with the jobs that it launched.

    JOB is the id that submit printed, a resource name, or the link of the job's page. Waits until
    the job has ended. Exits with status 1 if it ended in another way.

    \b
    Example:
      quatrain cancel flights-20261201-030000 --yes
    """  # noqa: D301
    from quatrain.vertex import cancellation
    from quatrain.vertex.job_names import job_id_of
    from quatrain.vertex.job_tasks import FINISHED, state_of

    vertex = vertex_of(settings)
    job_id = job_id_of(job, vertex.cloud)
    sent = vertex.get_job(job_id)
    if state_of(sent) in FINISHED:
        click.echo(f"{job_id} has ended already: {state_of(sent).lower()}")
    else:
        if not yes:
            click.confirm(f"cancel {job_id}?", abort=True, err=True)
        yes = True  # for the jobs that it launched, too
        click.echo(f"cancelling {job_id} ...", err=True)
        sent = cancellation.cancel(vertex, job_id)
        click.echo(f"{job_id} has ended: {state_of(sent).lower()}")
    for resource in cancellation.launched(vertex, sent, job_id):
        _cancel_launched(vertex, resource, yes)
    return 0 if state_of(sent) == "CANCELLED" else FAILED


def _cancel_launched(vertex: Vertex, resource: LaunchedResource, yes: bool) -> None:
    """Cancels a job that goes on though the pipeline job has ended, if it does."""
    from quatrain.vertex import cancellation
    from quatrain.vertex.cloud_file import CloudError

    try:
        if not cancellation.is_going_on(vertex, resource):
            return
        if yes or click.confirm(f"cancel {resource}, which is still running and billed?", err=True):
            cancellation.cancel_launched(vertex, resource)
            click.echo(f"requested the end of {resource}, which was still running")
    except CloudError as error:
        click.echo(f"warning: {error}", err=True)
