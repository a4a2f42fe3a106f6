"""The verb that serves a model over HTTP: serve."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import nullcontext

import click

from quatrain.cli import completion
from quatrain.components.uris import DEFAULT_ROOT


@click.command()
@click.argument("model", shell_complete=completion.runs)
@click.option(
    "--port",
    default=8080,
    metavar="N",
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Listen at this port; 0 for any that is free.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    show_default=True,
    help="Listen here; 0.0.0.0 is any.",
)
@click.option(
    "--poll",
    default=2.0,
    metavar="S",
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Look for a champion every S s.",
)
@click.option(
    "--root",
    default=DEFAULT_ROOT,
    metavar="DIR",
    show_default=True,
    help="The folder of all runs, which must know MODEL.",
)
@click.option(
    "--log",
    metavar="FILE",
    help="Append each request to FILE for later runs.",
)
@click.option(
    "--log-sampling",
    default=1.0,
    metavar="SHARE",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="Log this share of the requests.",
)
@click.option("--trust", is_flag=True, help="Load a MODEL that no run knows: it is a program.")
@click.pass_context
def serve(
    context: click.Context,
    model: str,
    port: int,
    host: str,
    poll: float,
    root: str,
    log: str | None,
    log_sampling: float,
    trust: bool,
) -> None:
    """Answer requests over HTTP by Vertex AI's prediction protocol.

    MODEL is the folder of a model or of a run, or its gs:// uri. In a folder of runs it is the
    champion, and a run that becomes the champion later takes its place without a lost request.
    /metrics is for Prometheus. Ctrl-C or SIGTERM ends it, once all requests are answered.

    \b
    Example:
      quatrain serve runs/flights --port 8080
      curl -d '{"instances": [{"carrier": "UA"}]}' localhost:8080/predict
    """  # noqa: D301
    from quatrain.components.serve.online.followed import (
        FixedModel,
        FollowedChampion,
        Follower,
        source_of,
    )
    from quatrain.components.serve.online.listener import serve_until_stopped
    from quatrain.components.serve.online.log_file import LogFile
    from quatrain.components.serve.online.service import Service
    from quatrain.components.serve.online.version import Slot
    from quatrain.terminal.native_noise import native_noise_hidden
    from quatrain.terminal.printouts import gate_warning

    source = source_of(model, root, trust)
    if isinstance(source, FixedModel) and (warning := gate_warning(source.place)):
        click.echo(f"warning: {warning}", err=True)
    quiet = nullcontext if context.find_root().params["debug"] else native_noise_hidden
    slot = Slot()
    log_file = LogFile(log, source.name, log_sampling) if log else None
    if log_file:
        log_file.check()
    service = Service(slot, log=log_file)

    def load() -> None:
        click.echo(f"loading {model} ...", err=True)
        with quiet():
            slot.version = source.load()

    def ready(at: int) -> None:
        version = slot.version
        what = f"run {version.run}" if version and version.run else model
        click.echo(f"serving {what} at http://{host}:{at}/predict")
        if isinstance(source, FollowedChampion):
            follower = Follower(source, slot, service.counters, poll, quiet)
            threading.Thread(target=follower.follow, name="follower", daemon=True).start()

    way_out = "choose another by --port or --host, or stop that program"
    serve_until_stopped(service, port, load, ready, host=host, way_out=way_out)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # at once: Python would wait for TensorFlow's threads
