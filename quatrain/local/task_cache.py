"""Takes the outputs of a task from an earlier run, where the compiled file lets them be cached.

kfp.local runs every task, while Vertex AI takes one whose `cachingOptions` allow it from an earlier
run with the same component and inputs. So does this cache. A record below `<root>/.cache/tasks`
names the last run that has the outputs of a key. Its artifacts stay in the folder of that run and
are copied into that of the next, so the cache takes no space of its own, and what is changed in one
run changes no other. Each file is checked by the sha256 of its artifact's manifest once it is
copied, and the manifest by the record: a file that is gone or altered lets the task run again.

A record is written whole, by a rename, after the task has succeeded. Of two runs at once both run
the task, and the last record stays.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from quatrain import components, trainer
from quatrain.components.artifacts import (
    CACHE,
    canonical_json,
    json_bytes,
    sha256_of,
    write_whole,
)
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import MISSHAPEN, commit
from quatrain.components.storage import remove_oldest
from quatrain.trainer.uris import name_outside

VERSION = 1
MANIFEST = "manifest.json"
"""The manifest of an artifact that can be cached: it lists all other files with their sha256."""
MAX_BYTES = 16 << 20
"""What the records may take in all; those that were used longest ago are removed first."""
LIBRARIES = ("apache-beam", "duckdb", "numpy", "pyarrow", "pydantic")
"""The libraries whose versions may change what preprocess writes."""

_INPUT = "--executor_input"


@dataclass(frozen=True)
class CachedTask:
    """A task whose outputs may be taken from an earlier run.

    Attributes:
        root: The folder of all runs.
        key: The digest of its code and inputs.
        outputs: The outputs of the executor's input: where the task is to write.
    """

    root: Path
    key: str
    outputs: Mapping[str, Any]

    @property
    def record_path(self) -> Path:
        """The record of the run that has the outputs."""
        return self.root / CACHE / "tasks" / f"{self.key}.json"

    @property
    def artifacts(self) -> dict[str, Path]:
        """The folder of each artifact that the task writes."""
        artifacts = self.outputs.get("artifacts", {})
        return {name: Path(entry["artifacts"][0]["uri"]) for name, entry in artifacts.items()}

    def take(self, tick: Callable[[], object], report: Callable[[str], object]) -> str:
        """Copies the outputs of an earlier run, and returns the run that made them.

        Args:
            tick: Called after each file.
            report: Prints why outputs that exist were not taken.

        Returns:
            The id of the run whose task ran; empty if there is none, or nothing could be taken.
        """
        try:
            record = json.loads(self.record_path.read_bytes())
            for name, folder in self.artifacts.items():
                _copy_artifact(self.root, record["artifacts"][name], folder, tick)
            self._write_outputs(record)
            run = str(record["run"])
            self._write_record({**record, "artifacts": self._digests()})
            return run
        except FileNotFoundError:  # there is no record, or its run was removed
            return ""
        except (ArtifactError, OSError) as error:
            report(f"not taken from the cache, but made again: {error}")
        except MISSHAPEN as error:
            report(f"{self.record_path} is altered ({error!r}): it is removed")
        self.record_path.unlink(missing_ok=True)
        return ""

    def record(self, run: str) -> None:
        """Records that a run has made the outputs, if their manifests list their files.

        Args:
            run: The id of the run.
        """
        try:
            output = json.loads(Path(self.outputs["outputFile"]).read_bytes())
            files = {
                name: path.read_text(encoding="utf-8")
                for name, path in self._parameter_files().items()
                if path.exists()
            }
            record = {"version": VERSION, "run": run, "output": output, "parameters": files}
            self._write_record({**record, "artifacts": self._digests()})
        except (FileNotFoundError, *MISSHAPEN):
            return  # an artifact of another form than ours

    def _digests(self) -> dict[str, dict[str, str]]:
        """Returns where the artifacts are, below the root, and the digests of their manifests."""
        return {
            name: {
                "folder": folder.relative_to(self.root).as_posix(),
                "manifest": _digest_of((folder / MANIFEST).read_bytes()),
            }
            for name, folder in self.artifacts.items()
        }

    def _parameter_files(self) -> dict[str, Path]:
        parameters = self.outputs.get("parameters", {})
        return {name: Path(entry["outputFile"]) for name, entry in parameters.items()}

    def _write_outputs(self, record: Mapping[str, Any]) -> None:
        """Writes what kfp reads once a task has succeeded, with this run's own paths."""
        output = record["output"]
        for name, entry in output.get("artifacts", {}).items():
            own = self.outputs["artifacts"][name]["artifacts"][0]
            entry["artifacts"][0] |= {"name": own["name"], "uri": own["uri"]}
        for name, path in self._parameter_files().items():
            if name in record["parameters"]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(record["parameters"][name], encoding="utf-8")
        path = Path(self.outputs["outputFile"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(output), encoding="utf-8")

    def _write_record(self, record: Mapping[str, Any]) -> None:
        """Writes the record; a disk that is full, or a root that may only be read, stops no run."""
        with suppress(OSError):
            self.record_path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.record_path, json_bytes(record))
            remove_oldest(str(self.record_path.parent), MAX_BYTES)


def cached_task(command: Sequence[str], root: Path, cache_key: str) -> CachedTask | None:
    """Returns a task by its command, or None if its outputs cannot be cached here.

    Args:
        command: The full command of a Python component.
        root: The folder of all runs.
        cache_key: The run's own key of the cache, which is no input of its tasks: what a run with
            `--no-cache` makes is taken by later runs without it.
    """
    index = list(command).index(_INPUT) + 1
    document = json.loads(command[index])
    inputs, outputs = document.get("inputs", {}), document["outputs"]
    if inputs.get("artifacts") or not outputs.get("artifacts"):
        return None
    parameters = inputs.get("parameterValues", {})
    parts = {
        "version": VERSION,
        "component": [*command[:index], *command[index + 1 :]],
        "inputs": {n: "" if v == cache_key else v for n, v in parameters.items()},
        "code": [_digests_of_code(package) for package in (components, trainer)],
        "versions": [sys.version, platform.machine(), *map(metadata.version, LIBRARIES)],
    }
    key = hashlib.sha256(canonical_json(parts).encode()).hexdigest()
    return CachedTask(root, key, outputs)


def _copy_artifact(
    root: Path, entry: Mapping[str, str], folder: Path, tick: Callable[[], object]
) -> None:
    """Copies a recorded artifact, whose manifest is written last.

    Raises:
        FileNotFoundError: The artifact is gone.
        ArtifactError: A file of it is gone or altered, or its manifest names one outside of it.
        ValueError: The record names a folder that is not below the root.
    """
    if name_outside([entry["folder"]]):
        raise ValueError(f"{entry['folder']!r} is outside of {root}")
    source = root / entry["folder"]
    if not source.exists():
        raise FileNotFoundError(source)
    try:
        manifest = (source / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(f"{source / MANIFEST} is gone") from error
    _check(source / MANIFEST, hashlib.sha256(manifest).hexdigest(), entry["manifest"])
    files = json.loads(manifest)["files"]
    if outside := name_outside(files):
        raise ArtifactError(f"{source / MANIFEST} names {outside!r}, outside of the folder")
    with commit(folder, MANIFEST) as out:
        for name, sha256 in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(source / name, target)
            except FileNotFoundError as error:
                raise ArtifactError(f"{source / name} is gone") from error
            _check(source / name, sha256_of(target), sha256)
            tick()
        out.write(MANIFEST, manifest)


def _check(path: Path, sha256: str, recorded: str) -> None:
    if sha256 != recorded:
        raise ArtifactError(f"{path} was altered after it was written")


def _digest_of(manifest: bytes) -> str:
    """Returns the digest of a manifest that lists the files of its artifact."""
    json.loads(manifest)["files"].items()
    return hashlib.sha256(manifest).hexdigest()


def _digests_of_code(package: ModuleType) -> dict[str, str]:
    """Returns the sha256 of every source of an installed package, by its path in the package."""
    [folder] = map(Path, package.__path__)
    files = (p for p in folder.rglob("*") if p.suffix != ".pyc" and p.is_file())
    return {p.relative_to(folder).as_posix(): sha256_of(p) for p in files}
