"""The runs in the folder of a model on this machine, measured or not."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate.measured_run import measured_run
from quatrain.components.folder import MISSHAPEN
from quatrain.components.times import parse_utc
from quatrain.components.wording import first_line
from quatrain.results.records import read_record
from quatrain.results.summary import DAMAGED, Listing, RunSummary, joined
from quatrain.terminal.printouts import status_of
from quatrain.trainer.failure import Failure

INTERRUPTED = "interrupted"
"""The status of a run that Ctrl-C or SIGTERM ended, and the beginning of its error."""


def folder_runs(root: str, name: str, last: int = 0) -> Listing:
    """Returns the last runs that have a folder here.

    Args:
        root: The folder of all runs.
        name: The model.
        last: How many runs, by their ids; 0 for all.

    Raises:
        ArtifactError: The folder cannot be read.
    """
    folders = run_folders(Path(root, name))
    chosen = folders[:last] if last else folders
    problems: list[str] = []
    runs = [read_folder(folder, root, problems) for folder in chosen]
    return Listing(runs, problems, len(folders) - len(chosen))


def run_folders(parent: Path) -> list[Path]:
    """Returns the folders of runs, the newest first; links, and what is no run, are left out.

    Raises:
        ArtifactError: The folder cannot be read.
    """
    try:
        with os.scandir(parent) as entries:
            found = [e.name for e in entries if not e.is_symlink() and e.is_dir()]
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
    newest = sorted(found, reverse=True)
    return [parent / name for name in newest if os.path.lexists(parent / name / "run.json")]


def read_folder(folder: Path, root: str, problems: list[str]) -> RunSummary:
    """Returns a run by its folder; adds a line to `problems` for each record that is damaged."""
    try:
        run = of_run_json(folder, json.loads((folder / "run.json").read_bytes()))
    except OSError as error:
        problems.append(str(Failure.of(error)))
        return RunSummary(folder.parent.name, folder.name, str(folder), DAMAGED)
    except MISSHAPEN as error:
        problems.append(_damaged(folder / "run.json", error))
        return RunSummary(folder.parent.name, folder.name, str(folder), DAMAGED)
    measured = read_record(root, folder.parent.name, run.run)
    if measured is None and (folder / "metrics.json").exists():
        measured = _of_metrics(folder)
    if isinstance(measured, str):
        problems.append(measured)
        return run
    return joined(run, measured)


def of_run_json(folder: Path, record: Mapping[str, Any]) -> RunSummary:
    """Returns a run by its run.json, without what its gate recorded.

    Raises:
        KeyError, TypeError, ValueError: The document has another shape.
    """
    status, error = status_of(dict(record)), str(record["error"])
    if status == "failed" and error.startswith(INTERRUPTED):
        status = INTERRUPTED
    wall_s = float(record["wall_s"])
    if status == "running":  # run.json was last written when the step started
        now = datetime.datetime.now(datetime.UTC)
        wall_s = (now - parse_utc(record["started"])).total_seconds()
    return RunSummary(
        str(record["name"]),
        str(record["id"]),
        str(folder),
        status,
        started=str(record["started"]),
        wall_s=wall_s,
        cpu_s=sum(float(step["cpu_s"]) for step in record["steps"]),
        error=error,
        quick=bool(record.get("quick")),
    )


def _of_metrics(folder: Path) -> RunSummary | str:
    """Returns what metrics.json says of a run without a record: quick, or from before 0.2.0.

    Its gate alone says which metrics the spec bounds; `metric` of a summary needs no more of it.
    """
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_bytes())
        metrics = {"warnings": [], "changes": {}, "run": {}, **metrics}
        run = metrics["run"]
        checks = metrics["gate"]["checks"]
        bounds = {c["metric"]: c["bound"] for c in checks if set(c["bound"]) <= {"min", "max"}}
        made_of = {"spec": {"evaluate": {"gate": bounds}}, "rows": run.get("rows")}
        record = measured_run(made_of, metrics, {})
        summary = RunSummary(metrics["name"], folder.name, str(folder), "", measured=record)
        summary.as_document()
        return summary
    except OSError as error:
        return str(Failure.of(error))
    except MISSHAPEN as error:
        return _damaged(path, error)


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"{path} is cut short or altered ({first_line(error)}); remove the run's folder, or leave "
        f"it: the others are listed"
    )
