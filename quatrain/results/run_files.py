"""Where the artifacts of a run are: in links of its folder here, or in the record of its gate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from quatrain.components import history
from quatrain.components.artifacts import ANOTHER_RUN
from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.folder import MISSHAPEN, in_shape, read_manifest
from quatrain.components.storage import is_remote
from quatrain.components.wording import first_line
from quatrain.local.runs import LATEST, find_run
from quatrain.results.folders import of_run_json
from quatrain.results.records import read_record
from quatrain.results.summary import RunSummary
from quatrain.trainer.failure import Failure

Artifact = Literal["examples", "evaluation", "model"]
STEPS: Mapping[Artifact, str] = {
    "examples": "preprocess",
    "evaluation": "evaluate",
    "model": "train",
}
"""The step that writes each artifact."""
LEAST_SLASHES = 3
"""A uri of a bucket with a model below it has these."""


class RunFiles(Protocol):
    """Where one run is, and what it left there."""

    @property
    def place(self) -> str:
        """Its folder, or `gs://ROOT/NAME/RUN`."""

    def summary(self) -> RunSummary:
        """Returns what is known of it now."""

    def artifact(self, name: Artifact) -> str:
        """Returns the path or uri of an artifact.

        Raises:
            ArtifactError: The run did not get so far; the message says how far it got.
        """

    def spec(self) -> dict[str, Any]:
        """Returns the spec with which it ran."""


@dataclass(frozen=True)
class LocalRun:
    """A run in a folder on this machine."""

    place: str

    @property
    def _folder(self) -> Path:
        return Path(self.place)

    def summary(self) -> RunSummary:
        """Returns what run.json says."""
        document = read_manifest(self.place, "run.json", "run")
        with in_shape(self._folder / "run.json", ANOTHER_RUN):
            return of_run_json(self._folder, document)

    def artifact(self, name: Artifact) -> str:
        """Returns the folder to which the run's link points."""
        links = {"evaluation": "metrics.json"}
        link = self._folder / links.get(name, name)
        if not link.exists():
            raise ArtifactError(_not_reached(self.summary(), STEPS[name]))
        return str(link.resolve().parent if name in links else link)

    def spec(self) -> dict[str, Any]:
        """Returns spec.yaml."""
        import yaml

        path = self._folder / "spec.yaml"
        try:
            return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ArtifactError(str(Failure.of(error))) from error
        except (yaml.YAMLError, *MISSHAPEN) as error:
            raise ArtifactError(
                f"{path} is cut short or altered ({first_line(error)}); {ANOTHER_RUN}"
            ) from error


@dataclass(frozen=True)
class RecordedRun:
    """A measured run in a bucket, by the record that its gate left below the root."""

    root: str
    name: str
    run: str

    @property
    def place(self) -> str:
        """Its name below the root; its artifacts are elsewhere."""
        return f"{self.root}/{self.name}/{self.run}"

    @cached_property
    def _recorded(self) -> RunSummary:
        match read_record(self.root, self.name, self.run):
            case RunSummary() as recorded:
                return recorded
            case str(problem):
                raise ArtifactError(problem)
        raise ArtifactError(
            f"{self.place} is no run that was measured: it has no record below "
            f"{self.root}/{self.name}; choose another run"
        )

    def summary(self) -> RunSummary:
        """Returns what the record says, which never changes."""
        return self._recorded

    def artifact(self, name: Artifact) -> str:
        """Returns the uri of an artifact."""
        return str(self._measured["artifacts"][name])

    def spec(self) -> dict[str, Any]:
        """Returns the spec of the record."""
        return dict(self._measured["spec"])

    @property
    def _measured(self) -> Mapping[str, Any]:
        return self._recorded.measured or {}


def files_of_run(place: str | os.PathLike[str]) -> RunFiles:
    """Returns where a run is.

    Args:
        place: The folder of a run, or `gs://ROOT/NAME/RUN`. For the folder of a model's runs, or
            `gs://ROOT/NAME`, it is the last run that was measured.

    Raises:
        QuatrainError: There is no run.
    """
    text = os.fspath(place)
    if not is_remote(text):
        folder = find_run(Path(text))
        # A link will lead to another run one day, a relative path to nothing in another folder.
        folder = folder.parent / folder.readlink() if folder.is_symlink() else folder
        return LocalRun(str(folder.absolute()))
    text = text.rstrip("/").removesuffix(f"/{LATEST}")
    if text.count("/") < LEAST_SLASHES:
        raise QuatrainError(f"{place} is no run; name one as gs://BUCKET/ROOT/NAME/RUN")
    root, _, name = text.rpartition("/")
    if last := history.last_run(root, name):
        return RecordedRun(root, name, str(last["run"]))
    root, _, model = root.rpartition("/")
    return RecordedRun(root, model, name)


def _not_reached(run: RunSummary, step: str) -> str:
    """Returns why a run has not what a step writes."""
    if run.status == "running":
        return f"{run.place} is still running, and {step} has not ended; wait for it"
    was = "was " if run.status in ("interrupted", "killed") else ""
    why = f": {first_line(Exception(run.error))}" if run.error else ""
    return f"{run.place} {was}{run.status} before the end of {step}{why}; {ANOTHER_RUN}"
