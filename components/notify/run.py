"""Sends the notice of a run, from the exit task of its pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from quatrain.components.buckets import HERE
from quatrain.components.errors import QuatrainError
from quatrain.components.notify.notice import Notice, of_run
from quatrain.components.notify.sending import send
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.wording import first_line
from quatrain.trainer.uris import by_uri

COMPONENT = "notify"
"""The function of the exit task."""


def notify_of(
    addresses: Mapping[str, str],
    spec: str,
    root: str,
    run: str,
    project: str,
    location: str,
    state: str,
    message: str | None,
    sent: str,
) -> None:
    """Sends how a run has ended, prints what became of the notice, and raises nothing.

    Args:
        addresses: `webhook` and `pubsub`.
        spec: The model spec as JSON text, or the uri of its file.
        root: The folder of all runs.
        run: The name of the run.
        project: The project of the job.
        location: The region of the job.
        state: SUCCEEDED, FAILED or CANCELLED.
        message: The error of the pipeline, if it has one.
        sent: The file that records what became of the notice.
    """
    link = ""
    if project != HERE:
        link = (
            f"https://console.cloud.google.com/vertex-ai/locations/{location}"
            f"/pipelines/runs/{run}?project={project}"
        )
    folder = by_uri(str(Path(sent).parents[1]))
    model = _model_of(spec)
    try:
        notice = of_run(folder, root, model, run, state, message or "", link)
    except (QuatrainError, OSError, ValueError, TypeError, KeyError) as error:
        print(f"notify: the records of the run cannot be read: {first_line(error)}", flush=True)
        notice = Notice("succeeded" if state == "SUCCEEDED" else "failed", model, run, link=link)
    lines = send(notice, addresses)
    print("\n".join(lines), flush=True)
    path = Path(sent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(lines), encoding="utf-8")
    except OSError as error:
        print(f"notify: {sent} could not be written: {error.strerror}", flush=True)


def _model_of(spec: str) -> str:
    """Returns the name of the model, or an empty text where the spec cannot be read."""
    try:
        return read_parameter(spec).name
    except (QuatrainError, OSError, ValueError):
        return ""
