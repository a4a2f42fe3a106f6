"""The model that is being served, with what it is called; another one may take its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from quatrain.components.artifacts import sha256_of
from quatrain.components.serve.online.instances import read_rows
from quatrain.components.serve.online.known_values import KnownValues
from quatrain.components.serve.served_model import (
    METADATA,
    ServedModel,
    on_this_machine,
    read_metadata,
)
from quatrain.trainer.features import raw_inputs


@dataclass(frozen=True)
class Version:
    """A loaded model.

    Attributes:
        model: The model.
        place: Its folder, by path or uri.
        run: The run that trained it; empty where nothing says it.
        metadata: The sha256 of its metadata.json, which lists those of its other files.
    """

    model: ServedModel
    place: str = ""
    run: str = ""
    metadata: str = ""

    @cached_property
    def values(self) -> KnownValues:
        """The values that its transform knows."""
        return KnownValues.of(self.model.transform)


class Slot:
    """Holds the version that answers requests; None until the first one is loaded.

    A request reads it once, so all of its rows are answered by one version. A version that has been
    replaced is freed after its last request.
    """

    def __init__(self, version: Version | None = None) -> None:
        self.version = version


def load_version(place: str, run: str = "", check: Callable[[Path], None] | None = None) -> Version:
    """Loads a model, local or `gs://`, once its files and its golden rows are verified.

    Args:
        place: The folder of a model.
        run: The run that trained it.
        check: Is called with the folder, or a copy of it, before TensorFlow loads anything.

    Raises:
        QuatrainError: The folder is not a complete model, cannot be read, or fails the check.
    """
    with on_this_machine(place) as folder:
        read_metadata(folder)
        if check is not None:
            check(folder)
        model = ServedModel.load(folder)
        digest = sha256_of(folder / METADATA)
    # One row of missing values, so that no client waits while the graph is prepared.
    missing = read_rows([{i.name: None for i in model.transform.inputs}], model.transform.inputs)
    predictions(model, raw_inputs(missing, model.transform.inputs))
    return Version(model, place, run, digest)


def predictions(model: ServedModel, columns: Any) -> list[dict[str, Any]]:
    """Returns the answer to each row: probabilities with their classes, or a prediction.

    Args:
        model: The model.
        columns: The raw inputs of `N` rows, by name.
    """
    answers = model.answer(columns)
    if not model.classes:
        return [{"prediction": float(answer)} for answer in answers]
    classes = list(model.classes)
    return [
        {
            "predicted_class": classes[best],
            "classes": classes,
            "probabilities": row,
        }
        for best, row in zip(np.argmax(answers, axis=1).tolist(), answers.tolist(), strict=True)
    ]
