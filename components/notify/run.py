"""Sends the notice of a run, from the exit task of its pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quatrain.components.artifacts import json_bytes
from quatrain.components.buckets import HERE
from quatrain.components.errors import QuatrainError
from quatrain.components.folder import MISSHAPEN
from quatrain.components.notify.notice import Notice, of_run
from quatrain.components.notify.sending import deliver
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.storage import read_file, write_file
from quatrain.components.wording import first_line
from quatrain.trainer.uris import by_uri

RECORD = "notice.json"
"""What has been sent, in the folder of the job's tasks: a repeated exit task sends the rest.

It is written after each address has taken the notice, so only a task that is killed between the two
can send it twice. A record before would lose the notice instead."""


def notify_of(
    addresses: Mapping[str, str],
    spec: str,
    root: str,
    run: str,
    project: str,
    location: str,
    state: str,
    message: str,
    sent: str,
    predicts: bool = False,
    notify_success: bool = True,
) -> None:
    """Prints how a run has ended, and what became of its notice; it raises nothing.

    The first line is always the same, so that an alert can count it (deploy/main.tf).

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
        predicts: Whether the run is one of the prediction pipeline.
        notify_success: Whether a run that succeeds without drift sends a notice, too.
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
        notice = of_run(folder, root, model, run, state, message, link, predicts)
    except (QuatrainError, OSError, *MISSHAPEN) as error:
        print(f"notify: the records of the run cannot be read: {first_line(error)}", flush=True)
        notice = Notice("succeeded" if state == "SUCCEEDED" else "failed", model, run, link=link)
    print(f"notify: {model}: run {run} {notice.event}", flush=True)
    if state == "SUCCEEDED" and not (notify_success or notice.drift):
        addresses = {}
    record = f"{folder}/{RECORD}"
    sent_before = _sent_before(record)
    lines = [f"notify: {notice.event}: was sent to the {kind} before" for kind in sent_before]
    print(*lines, sep="\n", end="\n" * bool(lines), flush=True)
    waiting = {kind: text for kind, text in addresses.items() if kind not in sent_before}
    for delivery in deliver(notice, waiting):
        print(delivery.sentence, flush=True)
        lines.append(delivery.sentence)
        if delivery.sent:
            sent_before.append(delivery.kind)
            _write(record, {"event": notice.event, "run": run, "sent": sent_before})
    # KFP's launcher fails a task that leaves no file of an output (launcher_v2.go,
    # collectOutputParameters). It looks through the mount, so it is written through that, too.
    _write(sent, lines)


def _sent_before(record: str) -> list[str]:
    """Returns the kinds of address that an earlier attempt at this task has sent the notice to."""
    try:
        return list(json.loads(read_file(record))["sent"])
    except FileNotFoundError:
        return []
    except (QuatrainError, OSError, ValueError, TypeError, KeyError) as error:
        print(f"notify: {record} cannot be read: {first_line(error)}", flush=True)
        return []


def _write(uri: str, document: Any) -> None:
    try:
        write_file(uri, json_bytes(document))
    except (QuatrainError, OSError) as error:
        print(f"notify: {uri} could not be written: {first_line(error)}", flush=True)


def _model_of(spec: str) -> str:
    """Returns the name of the model, or an empty text where the spec cannot be read."""
    try:
        return read_parameter(spec).name
    except (QuatrainError, OSError, ValueError):
        return ""
