"""Which models are known: those that a run below the root has evaluated or made its champion.

A SavedModel is a program: TensorFlow runs what its graph says, with the rights of its user. A run
records the sha256 of its model's metadata.json, which names the sha256 of every other file. So a
model is known by its digest, wherever a copy of it lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from quatrain.components import history, versions
from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError
from quatrain.components.serve.served_model import METADATA
from quatrain.components.storage import exists, is_remote, list_folders, read_file
from quatrain.components.uris import SCHEME, check_uri
from quatrain.trainer.failure import Failure

EVALUATION = "measure", "evaluation/metrics.json"
"""How the folder of the task that evaluates a model begins, and where its metrics are in it."""


def check_known(folder: Path, model: str, root: str) -> None:
    """Checks that a record of a run names a model, before anything of it is loaded.

    Args:
        folder: The model, or a copy of it on this machine.
        model: Where it is, by its path or uri.
        root: The folder of all runs, local or gs://.

    Raises:
        ArtifactError: No record below the root names it.
        SourceError: The root is neither a path nor a gs:// uri.
    """
    check_uri(root)
    root = root.rstrip("/") or root[:1] or "."
    digest = sha256_of(folder / METADATA)
    try:
        if any(_names(record, digest) for record in _records(model, root)):
            return
        why = _why_unknown(model, root)
    except OSError as error:
        raise ArtifactError(f"the records of runs cannot be read: {Failure.of(error)}") from error
    raise ArtifactError(
        f"{model} was evaluated by no run below {root}{why}; a model is a program that runs with "
        f"your rights, so name the folder of the runs that it came from by --root DIR, or add "
        f"--trust if you trust whoever made it (in Python root=DIR and trust=True)"
    )


def own_evaluations(model: str) -> list[str]:
    """Returns the metrics.json that the run of a model wrote; none if the model was moved.

    The copy of a promoted model has it beside it.
    Tasks have their folders side by side, here and on Vertex AI: the model is in
    `<job>/plan_<id>/model/model`, the metrics are in `<job>/measure_<id>/evaluation/metrics.json`.
    """
    above = model.rstrip("/").rpartition("/")[0]
    if exists(f"{above}/{versions.MANIFEST}"):
        return [f"{above}/metrics.json"]
    job = _job_of(model)
    begin, inside = EVALUATION
    tasks = [task for task in list_folders(job) if task.startswith(begin)] if job else []
    return [uri for task in tasks if exists(uri := f"{job}/{task}/{inside}")]


def _job_of(model: str) -> str:
    """Returns the folder of the tasks of a job; an empty text if a model's lies in no such one."""
    scheme = SCHEME if is_remote(model) else "/"
    place = model.rstrip("/") if is_remote(model) else str(Path(model).resolve())
    parts = place.removeprefix(scheme).split("/")
    return scheme + "/".join(parts[:-3]) if len(parts) > 4 else ""


def _records(model: str, root: str) -> Iterator[str]:
    """Yields the records that may name a model, the likeliest first.

    Of a bucket, only the records of the model's own run and of the last runs that passed their gate
    are read: a call takes 0.1 s, and a bucket may hold thousands of runs.
    """
    if _is_below(model, root):
        yield from own_evaluations(model)
    names = list_folders(root)
    for name in names:
        for role in history.ROLES:
            yield history.record_uri(root, name, role)
    if not is_remote(root):
        for name in names:
            for run in list_folders(f"{root}/{name}"):
                yield f"{root}/{name}/{run}/metrics.json"


def _is_below(model: str, root: str) -> bool:
    if is_remote(model) or is_remote(root):
        return model.startswith(f"{root}/")
    return Path(model).resolve().is_relative_to(Path(root).resolve())


def _names(record: str, digest: str) -> bool:
    """Returns whether a record is that of a model whose metadata.json has this sha256."""
    try:
        data = read_file(record)
        if digest.encode() not in data:  # metrics.json may have megabytes
            return False
        document = json.loads(data)
        return digest in (document.get("metadata"), document.get("made_by", {}).get("metadata"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return False  # an absent or damaged record names nothing


def _why_unknown(model: str, root: str) -> str:
    """Returns, in brackets, why no record names a model, if more can be said."""
    if not exists(root):
        return " (there is no such folder)"
    if exists(f"{root}/statistics"):
        return " (that is the folder of one model's runs; --root takes the folder above it)"
    if not (_is_below(model, root) and _is_of_a_run(model)):
        return ""
    if own := own_evaluations(model):
        return f" ({own[0]} names another {METADATA}, so the model was altered since)"
    return " (its own run ended before it wrote metrics.json)"


def _is_of_a_run(model: str) -> bool:
    """Returns whether a model lies where the plan step of a run puts it."""
    return any(task.startswith("plan") for task in list_folders(_job_of(model) or "."))
