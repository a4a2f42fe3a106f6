"""A person's word on the champion: another measured model takes its place, or the one before."""

from __future__ import annotations

from typing import Any

from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import read_manifest
from quatrain.components.versions import read_version


def promote_run(
    root: str, name: str, run: str, by: str, reason: str, over: str | None = None
) -> dict[str, Any]:
    """Makes the model of a measured run the champion, whatever its gate decided.

    Args:
        root: The folder of all runs, local or gs://.
        name: The name of the model.
        run: The run.
        by: Who promotes it.
        reason: Why.
        over: The run in whose place; None for whichever has it.

    Returns:
        The move, as `history.moves` lists it.

    Raises:
        ArtifactError: The run was not measured, or its model is gone or was altered.
        Overtaken: Another run has taken the place meanwhile, and keeps it.
    """
    version = read_version(root, name, run)
    if version is not None:
        history.record_version(root, name, version, by, reason, over)
        return history.moves(root, name)[-1]
    record = history.measured_run(root, name, run)
    if record is None:
        raise ArtifactError(
            f"{root}/{name} has no record of a run {run!r} that was measured; `quatrain list "
            f"{name}` shows those that were, and a quick run is never promoted"
        )
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
    )
    return history.moves(root, name)[-1]


def last_move(root: str, name: str) -> tuple[str, str]:
    """Returns the run whose model is the champion, and the one whose model was it before.

    Raises:
        ArtifactError: There is no champion, or none before it is known.
    """
    champion = history.champion_of(root, name)
    if champion is None:
        raise ArtifactError(
            f"{root}/{name} has no champion to take back; name a run by `quatrain promote`"
        )
    before = champion.get("promoted", {}).get("before", "")
    if not before:
        raise ArtifactError(
            f"{root}/{name} has no champion before run {champion['run']}; name a run by --to RUN"
        )
    return str(champion["run"]), str(before)
