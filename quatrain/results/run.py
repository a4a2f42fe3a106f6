"""A run in Python: its verdict, its rows, its report and its model, read where it left them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quatrain.calls import public
from quatrain.components.artifacts import ANOTHER_RUN
from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.folder import in_shape, read_manifest
from quatrain.components.specification.split import SPLITS
from quatrain.components.storage import is_remote, list_names
from quatrain.components.times import parse_utc
from quatrain.components.uris import DEFAULT_ROOT
from quatrain.components.wording import counted, near
from quatrain.results.measured import Gate, Metrics, html_table
from quatrain.results.report import Report
from quatrain.results.run_files import Artifact, files_of_run
from quatrain.results.tables import read_shards
from quatrain.terminal.console import rows_in_words
from quatrain.terminal.printouts import short_path
from quatrain.trainer.failure import Failure

if TYPE_CHECKING:
    import pyarrow as pa

    from quatrain.results.model import Model
    from quatrain.results.summary import RunSummary

SplitName = Literal["train", "validation", "test"]


class Run:
    """A run of a model, on this machine or in a bucket.

    What the run did not get to is an ArtifactError, which says how far it got. Files that a
    manifest lists are checked against their digests.

    Args:
        place: The folder of a run, or `gs://ROOT/NAME/RUN`. For the folder of a model's runs, or
            `gs://ROOT/NAME`, it is the last run that was measured.
        root: The folder of all runs, in which a record must name the model that is loaded.

    Raises:
        QuatrainError: There is no run.
    """

    @public
    def __init__(
        self, place: str | os.PathLike[str], *, root: str | os.PathLike[str] = DEFAULT_ROOT
    ) -> None:
        self._files = files_of_run(place)
        self._root = os.fspath(root)

    @property
    def place(self) -> str:
        """The run's folder, or `gs://ROOT/NAME/RUN`."""
        return self._files.place

    @property
    def id(self) -> str:
        """The id of the run: the time of its start here, or the name of its job on Vertex AI."""
        return self._now.run

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._now.name

    @property
    def started(self) -> datetime | None:
        """When the run started, in UTC; None if that is not known."""
        return parse_utc(self._now.started) if self._now.started else None

    @property
    def seconds(self) -> float | None:
        """How long it took by the clock, or has taken so far; None if that is not known."""
        return self._now.wall_s

    @property
    def status(self) -> str:
        """The status now: running, succeeded, failed, interrupted, or killed."""
        return self._now.status

    @property
    def error(self) -> str:
        """Why it failed; else an empty text."""
        return self._now.error

    @property
    @public
    def metrics(self) -> Metrics:
        """The metrics on the test rows by name, each with `value`, `low` and `high`."""
        with in_shape(self.place, ANOTHER_RUN):
            return Metrics(self._measured)

    @property
    @public
    def gate(self) -> Gate:
        """The verdict, with its checks and warnings."""
        with in_shape(self.place, ANOTHER_RUN):
            return Gate.of(self._measured)

    @property
    @public
    def rows(self) -> dict[str, int]:
        """How many rows were `read`, and how many of them each split and `rejected` got."""
        rows = self._manifest["rows"]
        with in_shape(self.place, ANOTHER_RUN):
            return {name: int(rows[name]) for name in ("read", *SPLITS, "rejected")}

    @property
    @public
    def spec(self) -> dict[str, Any]:
        """The spec with which it ran, which `quatrain.run` takes."""
        return self._files.spec()

    @property
    @public
    def report(self) -> Report:
        """The report, which shows itself in a notebook."""
        evaluation = self._artifact("evaluation")
        return Report(f"{evaluation if is_remote(evaluation) else self.place}/report.html")

    @cached_property
    @public
    def model(self) -> Model:
        """The model, loaded as by `quatrain.load_model`."""
        from quatrain.results.model import load_model

        return load_model(self._artifact("model"), root=self._root)

    @public
    def examples(self, split: SplitName, columns: Sequence[str] | None = None) -> pa.Table:
        """Returns the engineered rows of a split.

        They hold the engineered features, `label` and `weight`; those of validation and test hold
        the raw inputs too, as `raw_<column>`.

        Args:
            split: train, validation or test.
            columns: The columns to read; by default all.

        Raises:
            QuatrainError: There is no such split.
            ArtifactError: The run did not get so far, a file is not the one that was written, or
                there is no such column.
        """
        if split not in SPLITS:
            raise QuatrainError(f"there is no split {split!r}{near(split, SPLITS)}")
        return self._of_manifest(f"{split}-", columns)

    @public
    def rejected(self) -> pa.Table:
        """Returns every row that was not used: where it was, why, and as it was read, in bytes."""
        return self._of_manifest("rejected/", None)

    @public
    def predictions(self) -> pa.Table:
        """Returns the label and the prediction of each test row, in the order of `examples`.

        Raises:
            ArtifactError: The run did not get so far, or a file is absent or cut short.
        """
        folder = self._artifact("evaluation")
        n_rows = self.metrics.rows
        try:
            names = [n for n in list_names(folder) if n.startswith("predictions-")]
        except OSError as error:
            raise ArtifactError(str(Failure.of(error))) from error
        table = read_shards(folder, names, "evaluate") if names else None
        if table is None or table.num_rows != n_rows:
            found = 0 if table is None else table.num_rows
            raise ArtifactError(
                f"{folder} has predictions of {counted(found, 'test row')}, and not of {n_rows:,}; "
                f"{ANOTHER_RUN}"
            )
        return table

    def __repr__(self) -> str:
        return "\n".join([self._heading, *self._summary()])

    def _repr_html_(self) -> str:
        lines = list(self._summary(with_metrics=False))
        heading = html_table([(line,) for line in lines], self._heading)
        return heading + (self.metrics._repr_html_() if self._has("evaluation") else "")

    @property
    def _heading(self) -> str:
        now = self._now
        took = "" if now.wall_s is None else f" after {now.wall_s:.1f} s"
        return f"{now.name} {now.run}: {now.status}{took}"

    def _summary(self, with_metrics: bool = True) -> Iterator[str]:
        """Yields the rows, the metrics, the verdict and the error, as far as the run got."""
        if self._has("examples"):
            yield rows_in_words(self.rows)
        if self._has("evaluation"):
            yield from repr(self.metrics).splitlines() if with_metrics else ()
            yield f"gate {self.gate.verdict}"
        if self.error:
            yield f"error: {self.error.splitlines()[0]}"
        yield self.place if is_remote(self.place) else short_path(Path(self.place))

    @property
    @public
    def _now(self) -> RunSummary:
        return self._files.summary()

    def _artifact(self, name: Artifact) -> str:
        return self._files.artifact(name)

    def _has(self, name: Artifact) -> bool:
        try:
            self._artifact(name)
        except ArtifactError:
            return False
        return True

    @property
    def _manifest(self) -> dict[str, Any]:
        return read_manifest(self._artifact("examples"), "manifest.json", "preprocess")

    @property
    def _measured(self) -> dict[str, Any]:
        return read_manifest(self._artifact("evaluation"), "metrics.json", "evaluate")

    def _of_manifest(self, begin: str, columns: Sequence[str] | None) -> pa.Table:
        """Returns the shards of the examples whose names begin so, by the manifest alone."""
        manifest = self._manifest
        with in_shape(self.place, ANOTHER_RUN):
            digests = dict(manifest["files"])
            names = [name for name in digests if name.startswith(begin)]
        folder = self._artifact("examples")
        return read_shards(folder, names, "preprocess", digests=digests, columns=columns)
