"""The verb that sends a job to Vertex AI: submit. Slow imports are inside it."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quatrain.cli import completion
from quatrain.cli.options import AT, JOB, SPEC, request_of, with_options

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.submission import Submission


@click.command()
@click.help_option("-h", "--help", hidden=True)  # its line is the one that does not fit a screen
@SPEC
@with_options(*JOB)
@click.option(
    "--job-id", default="", metavar="ID", help="Name of the job.  [default: model and time]"
)
@AT
@click.option("--no-cache", is_flag=True, help="Preprocess again, even if nothing has changed.")
@click.option("--wait", "waits", is_flag=True, help="Show the progress until the job ends.")
@click.option(
    "--fallback",
    multiple=True,
    metavar="T",
    help="With --wait: tier to try if T is out of stock.",
    shell_complete=completion.tiers,
)
def submit(
    spec: Path,
    job_id: str,
    no_cache: bool,
    waits: bool,
    fallback: tuple[str, ...],
    **settings: Any,
) -> None:
    """Run the pipeline for SPEC on Vertex AI.

    \b
    Example:
      quatrain submit flights.yaml --cloud cloud.yaml --wait
    """  # noqa: D301
    from quatrain.vertex import submission

    if job_id:
        submission.check_job_id(job_id)
    if fallback and not waits:
        raise click.UsageError("--fallback needs --wait: only then does submit see why a job fails")
    request = request_of(spec, settings)
    if request.predicts and (wrong := _of_training(request.tier, fallback, no_cache)):
        raise click.UsageError(f"--predict trains and caches nothing; leave out {wrong}")
    # Every tier is checked before the first one costs anything.
    with tempfile.TemporaryDirectory(prefix="quatrain-submit-") as folder:
        jobs = [
            submission.with_data_label(
                submission.prepare(replace(request, tier=tier), Path(folder))
            )
            for tier in (request.tier, *fallback)
        ]
    for warning in dict.fromkeys(warning for job in jobs for warning in job.warnings):
        click.echo(f"warning: {warning}", err=True)
    from quatrain.vertex.capacity import way_out
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.job_watch import MachinesLacking

    vertex = Vertex(jobs[0].cloud)
    jobs[0].write_spec()
    name = f"{jobs[0].spec.name}{'-predictions' if request.predicts else ''}"
    first_id = job_id or submission.new_job_id(name)
    for number, job in enumerate(jobs, 1):
        sent_id = first_id if number == 1 else f"{first_id}-{number}"
        # One cache key for all: the next job takes the rows that the first one preprocessed.
        sent = replace(job.with_id(first_id, cached=not no_cache), job_id=sent_id)
        _send(vertex, sent)
        if not waits:
            return
        try:
            _wait(vertex, sent)
            return
        except MachinesLacking as error:
            if job is jobs[-1]:
                raise MachinesLacking(
                    f"{error}\n{way_out(job.tier, job.cloud.location)}"
                ) from error
            following = jobs[number].tier.name
            click.echo(f"{error}\nnow with tier {following} instead of {job.tier.name}", err=True)


def _of_training(tier: str, fallback: tuple[str, ...], no_cache: bool) -> str:
    """Returns the option that is about a training, if there is one."""
    options = {"--tier": tier, "--fallback": fallback, "--no-cache": no_cache}
    return next((name for name, value in options.items() if value), "")


def _send(vertex: Vertex, sent: Submission) -> None:
    """Creates a job and prints its id, its file and its page."""
    from quatrain.vertex.job_watch import console_link

    vertex.create_job(sent.job, sent.job_id)
    click.echo(f"job    {sent.job_id}")
    click.echo(f"file   sha256 {sent.compiled.sha256}")
    click.echo(f"page   {console_link(vertex.cloud, sent.job_id)}")


def _wait(vertex: Vertex, sent: Submission) -> None:
    """Shows the progress of a job until it ends; Ctrl-C offers to cancel it."""
    from quatrain.vertex.job_watch import JobWatch, report_link, report_uri

    try:
        job = JobWatch(vertex, sent, sys.stderr).run()
    except KeyboardInterrupt:
        _offer_to_cancel(vertex, sent)
        raise
    if report := report_uri(job):
        click.echo(f"report {report_link(report)}")


def _offer_to_cancel(vertex: Vertex, sent: Submission) -> None:
    """Offers to cancel the job, if stdin is a terminal; otherwise the job continues."""
    question = f"\ncancel {sent.job_id} on Vertex AI too?"
    if sys.stdin.isatty():
        with contextlib.suppress(click.Abort):  # a second Ctrl-C means no
            if click.confirm(question, default=False, err=True):
                vertex.cancel_job(sent.job_id)
                click.echo("requested its end; its page shows when it has ended", err=True)
                return
    click.echo(f"{sent.job_id} is still running; `quatrain cancel {sent.job_id}` ends it", err=True)
