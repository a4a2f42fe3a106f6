"""The folder of a run: what ran, how long each step took, and links to the results."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from quatrain.components import history
from quatrain.components.artifacts import json_bytes, write_json
from quatrain.components.errors import QuatrainError
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.versions import VERSIONS
from quatrain.pipelines.compiled import Compiled
from quatrain.trainer.failure import full_disk

LINKS: dict[str, tuple[str, str, str]] = {
    "examples": ("examples", "manifest.json", ""),
    "rejected": ("examples", "manifest.json", "rejected"),
    "drift.json": ("drift", "drift.json", "drift.json"),
    "model": ("model", "model/metadata.json", "model"),
    "tuning.json": ("tuning", "tuning.json", "tuning.json"),
    "metrics.json": ("evaluation", "metrics.json", "metrics.json"),
    "lineage.json": ("evaluation", "metrics.json", "lineage.json"),
    "report.html": ("evaluation", "metrics.json", "report.html"),
}
"""Links in the run's folder: the artifact of each, its manifest, and the path inside it."""

MEASURED = "metrics.json"
"""The link to what the evaluation wrote, after which a run is measured."""

MAX_NAMES = 20
"""The most folders that an error names."""

LATEST, CHAMPION = "latest", "champion"
"""Links beside the runs of a model, to the last that was measured and to the champion."""


@dataclass
class Step:
    """One step of a run: what it took of time, CPU and memory, child processes included.

    Attributes:
        name: The task of the outermost pipeline.
        status: running, succeeded or failed.
        wall_s: Its time by the clock, in seconds.
        cpu_s: Its CPU time, in seconds.
        peak_mb: The largest resident set of one of its processes, in MiB; 0 if it had none.
        cached: What was taken from the cache, each with the run that made it.
        started: When it started, by the monotonic clock.
    """

    name: str
    status: str = "running"
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    cached: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Returns the entry of `run.json`."""
        entry = asdict(self)
        del entry["started"]
        return {
            **entry,
            "wall_s": round(self.wall_s, 3),
            "cpu_s": round(self.cpu_s, 3),
            "peak_mb": round(self.peak_mb),
        }


class RunFolder:
    """Writes the folder of a run: `run.json` at the start, after each step and at the end."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.steps: list[Step] = []
        self._record = record
        self._started = time.monotonic()
        self.write()

    @property
    def root(self) -> Path:
        """The folder of all runs."""
        return self.folder.parents[1]

    @property
    def pipeline_path(self) -> Path:
        """The copy of the compiled pipeline that this run executes."""
        return self.folder / str(self._record["pipeline"]["file"])

    @property
    def started(self) -> str:
        """When the run started, as an ISO time in UTC."""
        return str(self._record["started"])

    @property
    def pipeline_root(self) -> Path:
        """Where kfp puts the artifacts."""
        return self.folder / "pipeline"

    def log_path(self, step: str) -> Path:
        """Returns the log of a step."""
        return self.folder / "logs" / f"{step}.log"

    def write(self) -> None:
        """Writes `run.json`."""
        steps = [step.as_json() for step in self.steps]
        wall_s = round(time.monotonic() - self._started, 3)
        document = {**self._record, "wall_s": wall_s, "steps": steps}
        try:
            write_json(self.folder / "run.json", document)
        except OSError as error:
            if not full_disk(error):
                raise
            _write_over(self.folder / "run.json", json_bytes(document))

    def finish(self, error: str = "") -> None:
        """Marks the run as succeeded, or as failed with the reason."""
        self._record["status"] = "failed" if error else "succeeded"
        self._record["error"] = error
        self._record["ended"] = _now()
        for step in self.steps:
            if step.status == "running":
                step.status, step.wall_s = "failed", time.monotonic() - step.started
        self.write()
        if not (error or self._record.get("quick")):
            replace_link(self.folder.parent / LATEST, self.folder.name)
            follow_champion(self.folder.parent)

    def with_report(self, error: str) -> str:
        """Returns an error, with the path of the report if the run wrote one."""
        page = self.folder / "report.html"
        return f"{error}\nreport: {page}" if page.exists() else error

    def link(self, artifacts: dict[str, str]) -> None:
        """Links complete artifacts into the folder, by relative paths, so that it can be moved.

        Once the run is measured, `latest` points to it, unless it is a quick one.
        """
        for name, (artifact, manifest, inside) in LINKS.items():
            if artifact not in artifacts:
                continue
            folder = Path(artifacts[artifact])
            target = folder / inside
            if (folder / manifest).is_file() and target.exists():
                replace_link(self.folder / name, os.path.relpath(target, self.folder))
                if name == MEASURED and not self._record.get("quick"):
                    replace_link(self.folder.parent / LATEST, self.folder.name)


def _write_over(path: Path, data: bytes) -> None:
    """Writes a document over the old one, if that has room for it on a disk that has no more."""
    with suppress(OSError), path.open("r+b") as stream:
        if len(data) <= os.fstat(stream.fileno()).st_blocks * 512:
            stream.write(data)
            stream.truncate()


def start_run(
    root: Path,
    compiled: Compiled,
    spec: ModelSpec,
    arguments: dict[str, Any],
    data: Mapping[str, str] = {},
) -> RunFolder:
    """Creates the folder `<root>/<name>/<run id>`.

    Args:
        root: The folder of all runs.
        compiled: The pipeline that runs; the folder gets a copy of its file.
        spec: The model; the copy in the folder includes the overrides.
        arguments: The pipeline's other arguments, for the record.
        data: The digests of tables that were in memory, by their files.
    """
    import yaml

    latest = root.absolute() / spec.name / LATEST
    _check_link(latest)
    folder = _new_folder(latest.parent)
    (folder / "logs").mkdir()
    file = "prediction.yaml" if compiled.predicts else "training.yaml"
    (folder / file).write_bytes(compiled.data)
    text = yaml.safe_dump(spec.as_document(), sort_keys=False, allow_unicode=True)
    (folder / "spec.yaml").write_text(text, encoding="utf-8")
    record = {
        "version": 1,
        "id": folder.name,
        "name": spec.name,
        "status": "running",
        "error": "",
        "pid": os.getpid(),
        "started": _now(),
        "ended": "",
        "pipeline": {"file": file, "sha256": compiled.sha256},
        "spec": spec.sha256,
        "quick": bool(arguments.get("sample_rows")),
        "arguments": arguments,
        "data": [{"path": path, "sha256": sha256} for path, sha256 in data.items()],
    }
    return RunFolder(folder, record)


def models_below(root: Path) -> list[Path]:
    """Returns the folders that hold the runs of one model each, in a folder of all runs."""
    return sorted({path.parents[1] for path in root.glob("*/*/run.json")})


def find_run(path: Path) -> Path:
    """Returns the folder of a run, or the latest run in the folder of a model's runs.

    If none of them was measured, it is the last one that was started.

    Raises:
        QuatrainError: The folder holds no run.
    """
    folders = (file.parent for file in path.glob("*/run.json"))
    started = sorted(folder for folder in folders if not folder.is_symlink())
    for folder in (path, path / LATEST, *started[-1:]):
        if (folder / "run.json").is_file():
            return folder
    if models := models_below(path):
        more = ", ..." if len(models) > MAX_NAMES else ""
        names = ", ".join(map(str, models[:MAX_NAMES]))
        raise QuatrainError(f"{path} is the folder of all runs; name one: {names}{more}")
    if not path.is_dir():
        raise QuatrainError(f"{path} is no folder; name a run, or <root>/<name> for its latest run")
    raise QuatrainError(
        f"{path} holds no run (no run.json), so no model of that name has run yet; start one by "
        f"`quatrain run`, or name another folder, as <root>/<name>"
    )


def replace_link(link: Path, target: str) -> None:
    """Points a symbolic link to a target, in one atomic step.

    Raises:
        QuatrainError: A file or folder has the link's name.
    """
    _check_link(link)
    if link.is_symlink() and os.readlink(link) == target:
        return  # on a disk that may be read-only
    partial = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    os.replace(partial, link)


def follow_champion(folder: Path) -> None:
    """Points the link `champion` beside the runs of a model to the run that the record names.

    Once the run's folder is gone, the link points to the copy of its model.
    The record decides, and the link follows it, so a call after an interrupted one mends the link.
    """
    record = history.earlier_runs(str(folder.parent), folder.name).get("champion")
    run = str(record["run"]) if record else ""
    for target in (run, f"{VERSIONS}/{run}") if run else ():
        if (folder / target).is_dir():
            replace_link(folder / CHAMPION, target)
            return


def _check_link(link: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise QuatrainError(f"{link} is in the way of a link; move it elsewhere")


def _new_folder(parent: Path) -> Path:
    """Creates a folder named by the time in UTC, so that names sort by the start of the runs."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            now = datetime.datetime.now(datetime.UTC)
            folder = parent / f"{now:%Y%m%dT%H%M%S}-{now.microsecond:06d}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise QuatrainError(
            f"{parent}: no run can be made there: {error.strerror}; choose another --root"
        ) from error


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
