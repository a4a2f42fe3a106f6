"""Where a model is: its own folder, or a place in the folder of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from quatrain.components import history, versions
from quatrain.components.errors import ArtifactError
from quatrain.components.storage import exists, is_remote
from quatrain.trainer.failure import Failure

MODEL_PLACES = ("model", "model/model", "champion/model")
"""Where the model is in the folder of a run, of a training job and of all runs of a model."""
SHOWN_MODELS = 20
"""The number of models that an error message lists at most."""


def find_model(place: str) -> str:
    """Returns the folder of a model: the folder itself, or the one in a run or of a champion.

    Raises:
        ArtifactError: No such folder has metadata.json, which the training job writes last.
    """
    root = place.rstrip("/")
    try:
        for candidate in _candidates(root):
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
    raise ArtifactError(_why_none(folder))


def _candidates(place: str) -> Iterator[str]:
    """Yields where a model may be, the champion's kept copy before the folder of its run."""
    yield place
    *of_run, of_champion = (f"{place}/{inside}" for inside in MODEL_PLACES)
    yield from of_run
    root, _, name = (place if is_remote(place) else os.path.abspath(place)).rpartition("/")
    record = history.champion_of(root, name)
    model = versions.model_of(root, name, record) if record else ""
    if record and model and (is_remote(place) or versions.is_version(name, record)):
        yield f"{model}/model"
    yield of_champion


def _why_none(folder: Path) -> str:
    """Returns why a folder has no model, by what else is in it."""
    if (folder / "run.json").is_file():
        return (
            f"{folder} is a run without a model, since its train step has not ended; `quatrain "
            f"report {folder}` shows how far it got"
        )
    if next(folder.glob("*/run.json"), None):
        return (
            f"{folder} has no run with a model: in none of them did the train step end; `quatrain "
            f"report {folder}` shows how far the last one got"
        )
    return (
        f"{folder} is neither a model nor a run (no metadata.json, no run.json), and holds no "
        f"runs; train a model by `quatrain run`, or name another folder, as <root>/<name>"
    )


def _metadata_below(folder: Path) -> Iterator[Path]:
    for inside in MODEL_PLACES:
        yield from folder.glob(f"*/{inside}/metadata.json")
