"""Copies a model with its proof to another folder of all runs, and makes it the champion there.

It is how a model goes from development to production: what was measured is what serves, without
being trained again. The copy is a version of its own, so nothing there depends on the source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quatrain.components import history, versions
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import read_manifest
from quatrain.components.storage import open_stream
from quatrain.trainer.failure import Failure

CHUNK_BYTES = 1 << 20
"""How much of a file is in memory at a time."""


@dataclass(frozen=True)
class Origin:
    """A model that is to be copied, as its own folder of all runs has it.

    Attributes:
        record: What a champion's record has of its run; its `model` is the folder that holds it.
        proof: The folder of metrics.json, lineage.json and report.html.
        files: The sha256 of each file below the model's folder that has one.
        measured: The record of the run; None if only its version is left.
    """

    record: Mapping[str, Any]
    proof: str
    files: Mapping[str, str]
    measured: Mapping[str, Any] | None


def transfer_run(
    source: str, name: str, run: str, target: str, by: str, reason: str = ""
) -> dict[str, Any]:
    """Copies the model of a run to another root, and makes it the champion there.

    The files are checked by their digests before anything is written, and once more where they are
    now. The copy is complete or absent, and then the champion's record is replaced, if the champion
    is still the one that was found: a call that was interrupted is ended by the next, and one that
    repeats it changes nothing.

    Args:
        source: The folder of all runs that has it, local or gs://.
        name: The name of the model.
        run: The run.
        target: The folder of all runs that gets it.
        by: Who promotes it.
        reason: Why; needed only for a run that was never promoted.

    Returns:
        The move there, as `history.moves` lists it.

    Raises:
        ArtifactError: The run was never promoted, and there is no reason; its model is gone or was
            altered; or the target has another run of that name.
        Overtaken: Another run has become the champion there meanwhile, and keeps the place.
    """
    holder = history.champion_of(target, name)
    origin = _origin_of(source, name, run, reason)
    _check_files(
        str(origin.record["model"]), origin.files, "name another run, whose model was not altered"
    )
    _require_no_namesake(target, name, run, origin)
    place = versions.keep_version(target, name, origin.record, origin.proof)
    version = versions.read_version(target, name, run) or {}
    again = f"remove {place}/{versions.MANIFEST}, so that it is copied again"
    _check_files(place, version["files"], again)
    if origin.measured:
        artifacts = {**origin.measured["artifacts"], "evaluation": place, "model": place}
        measured = {**origin.measured, "artifacts": artifacts}
        if history.measured_run(target, name, run) != measured:
            history.record_measured(target, name, measured)
    if holder is None or holder["run"] != run:
        over = str(holder["run"]) if holder else ""
        why = f"{reason or 'promoted there'}; copied from {source.rstrip('/')}/{name}/{run}"
        history.record_version(target, name, version, by, why, over)
    return history.moves(target, name)[-1]


def _origin_of(source: str, name: str, run: str, reason: str) -> Origin:
    """Returns the version of a run; for a person's reason, of one that never had any, its model.

    Raises:
        ArtifactError: There is no such run, it was never promoted, or its model is gone.
    """
    measured = history.measured_run(source, name, run)
    if version := versions.read_version(source, name, run):
        place = versions.place_of(source, name, run)
        return Origin({**version, "model": place}, place, version["files"], measured)
    if measured is None:
        raise ArtifactError(
            f"{source}/{name} has no record of a run {run!r} that was measured; `quatrain list "
            f"{name}` shows those that were, and a quick run is never promoted"
        )
    if not reason.strip():
        gate = measured["gate"]
        verdict = gate.get("decision") or ("passed" if gate["passed"] else "failed")
        raise ArtifactError(
            f"run {run} of {source}/{name} has no copy of a promoted model, and its gate says "
            f"{verdict!r}; say why you take it all the same, by --reason TEXT"
        )
    places = measured["artifacts"]
    made_by = read_manifest(places["evaluation"], "metrics.json", "evaluate")["made_by"]
    record = history.run_record(
        run,
        str(measured["made"]),
        places["examples"],
        places["model"],
        made_by["split"],
        made_by["metadata"],
    )
    metadata = versions.read_metadata(places["model"], run, made_by["metadata"])
    in_model = versions.files_of(places["model"], metadata)
    files = {f"model/{file}": sha256 for file, sha256 in in_model.items()}
    return Origin(record, places["evaluation"], files, measured)


def _require_no_namesake(target: str, name: str, run: str, origin: Origin) -> None:
    """Checks that a target has no other run of the same name, which the copy would replace.

    Raises:
        ArtifactError: It has one.
    """
    version = versions.read_version(target, name, run)
    measured = history.measured_run(target, name, run)
    is_other = version is not None and version["metadata"] != origin.record["metadata"]
    if is_other or (measured is not None and measured["made"] != origin.record["made"]):
        raise ArtifactError(
            f"{target}/{name} has another run {run!r} already, which is left as it is; copy a run "
            f"of another name"
        )


def _check_files(place: str, files: Mapping[str, str], advice: str) -> None:
    """Checks the content of files.

    Args:
        place: The folder that the names are relative to.
        files: The sha256 of each file by its name.
        advice: What to do about one that is another.

    Raises:
        ArtifactError: One is gone, cannot be read, or is another.
    """
    for name, sha256 in files.items():
        uri = f"{place}/{name}"
        try:
            digest = _digest_of(uri)
        except FileNotFoundError as error:
            raise ArtifactError(f"{uri} is gone; {advice}") from error
        except OSError as error:
            raise ArtifactError(str(Failure.of(error))) from error
        if digest != sha256:
            raise ArtifactError(
                f"{uri} is not the file that was measured: its sha256 is {digest[:12]}..., its "
                f"manifest says {sha256[:12]}...; {advice}"
            )


def _digest_of(uri: str) -> str:
    """Returns the sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open_stream(uri) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
