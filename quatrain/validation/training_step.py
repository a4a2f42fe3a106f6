"""Trains a step on a sample of the rows, as the package step of a run would do it."""

from __future__ import annotations

import datetime
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from quatrain.components.package.publishing import publish
from quatrain.components.preprocess.sample_run import preprocess_sample
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.table.files import find_files
from quatrain.components.wording import counted


@dataclass(frozen=True)
class TrainedStep:
    """A training of one step that has succeeded, and whose model has answered.

    Attributes:
        rows: The rows that were read.
        trainer: The trainer's file or folder; empty for the shipped one.
    """

    rows: int
    trainer: str

    def __str__(self) -> str:
        whose = Path(self.trainer).name or "the shipped trainer"
        rows = counted(self.rows, "row")
        return f"{whose} trains a step on a few of {rows}, and the exported model answers"


def train_step(spec: ModelSpec, at: datetime.datetime | None = None) -> TrainedStep:
    """Preprocesses a sample, builds and proves the package with it, and keeps nothing.

    Args:
        spec: The model.
        at: The time of the run, at which a window of the source ends; by default now.

    Raises:
        SourceError: The source cannot be read as the spec says.
        DataError: The rows of the sample cannot train a model.
        PackageError: The trainer failed a check; the message names the line of the user's code.
    """
    files = find_files(spec.source, at or datetime.datetime.now(datetime.UTC))
    trainer = spec.train.trainer or ""
    with tempfile.TemporaryDirectory(prefix="quatrain-check-") as folder:
        examples = f"{folder}/examples"
        with redirect_stdout(StringIO()):  # what the steps log
            rows = preprocess_sample(spec, files.listing, examples)
            publish(examples, f"{folder}/package", trainer, spec.train.settings.model)
    return TrainedStep(rows, trainer)
