"""Where a model is: its own folder, or a place in the folder of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quatrain.components.errors import ArtifactError
from quatrain.components.storage import (
    exists,
)
from quatrain.trainer.failure import Failure

MODEL_PLACES = ("model", "model/model", "champion/model")
"""Where the model is in the folder of a run, of a training job and of all runs of a model."""
SHOWN_MODELS = 20
"""The number of models that an error message lists at most."""


def find_model(place: str) -> str:
    """Returns the folder of a model: the folder itself, or the first of `MODEL_PLACES` in it.

    Raises:
        ArtifactError: No such folder has metadata.json, which the training job writes last.
    """
    root = place.rstrip("/")
    try:
        for candidate in (root, *(f"{root}/{inside}" for inside in MODEL_PLACES)):
            if exists(f"{candidate}/metadata.json"):
                return candidate
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
    if "://" in place:
        raise ArtifactError(
            f"{place} holds no complete model: there is no metadata.json, which training writes "
            f"last, in it or in its {', '.join(MODEL_PLACES)}; name the folder of the plan step's "
            f"artifact `model`"
        )
    folder = Path(place)
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder; name a model, a run, or <root>/<name>")
    below = {folder / p.relative_to(folder).parts[0] for p in _metadata_below(folder)}
    if below:
        more = ", ..." if len(below) > SHOWN_MODELS else ""
        names = ", ".join(map(str, sorted(below)[:SHOWN_MODELS]))
        why = f"{folder} is no model, but folders in it are; name one"
        if folder / "latest" in below:
            why = f"{folder} has no champion, since no run passed its gate; name a run"
        raise ArtifactError(f"{why}: {names}{more}")
    raise ArtifactError(
        f"{folder} holds no complete model: there is no metadata.json, which training writes last; "
        "name a run that reached it, as <root>/<name>/champion"
    )


def _metadata_below(folder: Path) -> Iterator[Path]:
    for inside in MODEL_PLACES:
        yield from folder.glob(f"*/{inside}/metadata.json")
