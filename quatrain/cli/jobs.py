"""The verb that sends a job to Vertex AI: submit. Slow imports are inside it."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quatrain.cli.options import AT, JOB, SPEC, request_of, with_options

if TYPE_CHECKING:
    from quatrain.vertex.client import Vertex
    from quatrain.vertex.submission import Submission


@click.command()
@SPEC
@with_options(*JOB)
@click.option(
    "--job-id", default="", metavar="ID", help="Name of the job.  [default: model and time]"
)
@AT
@click.option("--no-cache", is_flag=True, help="Preprocess again, even if nothing has changed.")
@click.option("--wait", "waits", is_flag=True, help="Show the progress until the job ends.")
def submit(spec: Path, job_id: str, no_cache: bool, waits: bool, **settings: Any) -> None:
    """Run the pipeline for SPEC on Vertex AI.

    \b
    Example:
      quatrain submit flights.yaml --cloud cloud.yaml --wait
    """  # noqa: D301
    from quatrain.vertex import submission
    from quatrain.vertex.job_watch import console_link

    if job_id:
        submission.check_job_id(job_id)
    with tempfile.TemporaryDirectory(prefix="quatrain-submit-") as folder:
        checked = submission.prepare(request_of(spec, settings), Path(folder))
    checked = submission.with_data_label(checked)
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)
    from quatrain.vertex.client import Vertex

    vertex = Vertex(checked.cloud)
    sent = checked.with_id(job_id or submission.new_job_id(checked.spec.name), cached=not no_cache)
    checked.write_spec()
    vertex.create_job(sent.job, sent.job_id)
    click.echo(f"job    {sent.job_id}")
    click.echo(f"file   sha256 {sent.compiled.sha256}")
    click.echo(f"page   {console_link(checked.cloud, sent.job_id)}")
    if waits:
        _wait(vertex, sent)


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
    click.echo(f"{sent.job_id} goes on; cancel it on its page", err=True)
