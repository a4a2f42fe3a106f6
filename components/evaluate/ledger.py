"""A person's word on the champion: another measured model takes its place, or the one before."""

from __future__ import annotations

from typing import Any

from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import read_manifest
from quatrain.components.versions import place_of, read_metadata, read_version


def promote_run(
    root: str,
    name: str,
    run: str,
    by: str,
    reason: str,
    over: str | None = None,
    is_rollback: bool = False,
) -> dict[str, Any]:
    """Makes the model of a measured run the champion, whatever its gate decided.

    Args:
        root: The folder of all runs, local or gs://.
        name: The name of the model.
        run: The run.
        by: Who promotes it.
        reason: Why.
        over: The run in whose place; None for whichever has it.
        is_rollback: Whether it takes the place back.

    Returns:
        The move, as `history.moves` lists it.

    Raises:
        ArtifactError: The run was not measured, or its model is gone or was altered.
        Overtaken: Another run has taken the place meanwhile, and keeps it.
    """
    version = read_version(root, name, run)
    if version is not None:
        history.record_version(root, name, version, by, reason, over, is_rollback)
        return history.moves(root, name)[-1]
    record = _measured_run(root, name, run)
    places = record["artifacts"]
    metrics = read_manifest(places["evaluation"], "metrics.json", "evaluate")
    history.record_run(
        root,
        name,
        run,
        str(record["made"]),
        places["examples"],
        model=places["model"],
        split=metrics["made_by"]["split"],
        metadata=metrics["made_by"]["metadata"],
        roles=("champion",),
        by=by,
        reason=reason,
        over=over,
        evaluation=places["evaluation"],
        is_rollback=is_rollback,
    )
    return history.moves(root, name)[-1]


def measured_digest(root: str, name: str, run: str) -> str:
    """Returns the sha256 of the metadata.json of a model that may be promoted.

    Raises:
        ArtifactError: The run was not measured, or its model is gone or was altered.
    """
    if version := read_version(root, name, run):
        place, digest = place_of(root, name, run), str(version["metadata"])
    else:
        places = _measured_run(root, name, run)["artifacts"]
        metrics = read_manifest(places["evaluation"], "metrics.json", "evaluate")
        place, digest = str(places["model"]), str(metrics["made_by"]["metadata"])
    read_metadata(place, run, digest)
    return digest


def _measured_run(root: str, name: str, run: str) -> dict[str, Any]:
    record = history.measured_run(root, name, run)
    if record is None:
        raise ArtifactError(
            f"{root}/{name} has no record of a run {run!r} that was measured; `quatrain list "
            f"{name}` shows those that were, and a quick run is never promoted"
        )
    return record


def last_move(root: str, name: str) -> tuple[str, str]:
    """Returns the run whose model is the champion, and the one that a rollback gives the place to.

    That is the champion before, or the champion itself once it was gone back to, so that repeating
    a rollback changes nothing.

    Raises:
        ArtifactError: There is no champion, or none before it is known.
    """
    champion = history.champion_of(root, name)
    if champion is None:
        raise ArtifactError(
            f"{root}/{name} has no champion to take back; name a run by `quatrain promote`"
        )
    move = champion.get("promoted", {})
    before = champion["run"] if move.get("rollback") else move.get("before", "")
    if not before:
        raise ArtifactError(
            f"{root}/{name} has no champion before run {champion['run']}; name a run by --to RUN"
        )
    return str(champion["run"]), str(before)
