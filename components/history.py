"""The record of a model's earlier runs, for its later ones: `<root>/<name>/statistics/`.

A run that was promoted leaves the place of its model there, and a copy of its statistics, so that
they outlive its artifacts. Every run that was measured leaves what made it, for the next one
and, below `runs/`, for good. The folder follows from the pipeline's parameters, which a schedule
never changes. In a bucket it is read and written through the API: a mount shows what another run
has replaced for a minute more, or fails to open it (ESTALE).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quatrain.components import versions
from quatrain.components.artifacts import json_bytes
from quatrain.components.errors import ArtifactError
from quatrain.components.exchange import Overtaken, read_content, replace_content
from quatrain.components.folder import read_manifest
from quatrain.components.storage import list_names, read_file, write_file
from quatrain.trainer.failure import Failure

VERSION = 1
ROLES = {
    "previous": "the last successful run",
    "champion": "the champion's training data",
}
"""The roles of an earlier run, each the name of its file.

A run that passes its gate takes the first; one that is promoted takes both.
"""
LOST = "lost"
"""The name of the record of examples that were deleted, but may still be in the cache."""
LAST = "last"
"""The name of the record of the last run that was measured, whether it passed its gate or not."""
MOVES = "moves"
"""The folder of a record for each time that a model took the champion's place."""
RIVAL = ("run", "made", "model", "metadata", "split", "window")
"""What the record of a champion keeps of the best earlier model, to compare later ones with it."""
GATE = "gate"
"""Who promotes a model without a person's word."""
RUNS = "runs"
"""The folder of a record for each run that was measured, named by its run."""
_RECORDS = {role: f"the statistics of {whose}" for role, whose in ROLES.items()} | {
    LOST: "the record of deleted examples",
    LAST: "the record of the last run",
    RUNS: "the record of a run",
    MOVES: "the record of a champion's promotion",
}
_RUN = {"run": str, "made": str, "split": dict, "statistics": dict}
_MEASURED = {"run": str, "made": str} | dict.fromkeys(
    ("spec", "rows", "data", "code", "metrics"), dict
)
_FIELDS: Mapping[str, Mapping[str, type]] = {
    **dict.fromkeys(ROLES, _RUN),
    LOST: {"examples": str},
    LAST: _MEASURED,
    RUNS: {**_MEASURED, "artifacts": dict},
    MOVES: dict.fromkeys(("run", "before", "at", "by", "reason"), str),
}
"""What each record has, with its type; a run may have more."""


def record_run(
    root: str,
    name: str,
    run: str,
    created: str,
    examples: Path | str,
    model: str = "",
    split: Mapping[str, Any] | None = None,
    metadata: str = "",
    roles: Iterable[str] = tuple(ROLES),
    by: str = GATE,
    reason: str = "",
    best: Mapping[str, Any] | None = None,
    over: str | None = None,
    evaluation: str = "",
    is_rollback: bool = False,
) -> None:
    """Records a run that passed its gate, or that a person promotes; each file is replaced whole.

    The model of a champion is copied first, so that the record names a model which no rule about
    the artifacts of runs deletes.

    Args:
        root: The folder of all runs, local or gs://; if empty, nothing is recorded.
        name: The name of the model.
        run: The name of the run.
        created: When the run was created.
        examples: The artifact of its preprocess step.
        model: The artifact of its train step, by its path or uri.
        split: The settings that decided the split of its rows.
        metadata: The sha256 of its model's metadata.json, which lists those of the other files.
        roles: The roles that it takes: without being promoted, only that of the last run.
        by: Who promotes it.
        reason: Why; the gate's reasons are in metrics.json.
        best: The record, with the keys of `RIVAL`, of the best earlier model, which later runs are
            compared with beside the champion; None if the champion is the best.
        over: The run in whose place it is to be the champion, empty for none; None for whichever
            has the place.
        evaluation: The artifact of its evaluate step, the proof of a copied model; if empty, the
            champion's model stays where it is.
        is_rollback: Whether it takes the place back.

    Raises:
        ArtifactError: The model of a champion is gone or was altered.
        Overtaken: Another run has taken the place meanwhile, and keeps it.
    """
    if not root:
        return
    record = run_record(run, created, examples, model, split or {}, metadata)
    for role in roles:
        if role != "champion":
            write_file(record_uri(root, name, role), json_bytes(record))
            continue
        place = versions.keep_version(root, name, record, evaluation) if evaluation else model
        champion = {**record, "model": place, "best": best}
        _take_place(root, name, champion, by, reason, over, is_rollback)


def run_record(
    run: str,
    created: str,
    examples: Path | str,
    model: str,
    split: Mapping[str, Any],
    metadata: str,
) -> dict[str, Any]:
    """Returns what is recorded of a run; the arguments are those of `record_run`.

    Raises:
        ArtifactError: Its examples are not complete.
    """
    manifest = read_manifest(examples, "manifest.json", "preprocess")
    statistics = _statistics_of(examples, manifest)
    window = manifest.get("window")  # the days that the run has read
    return {
        "version": VERSION,
        "run": run,
        "made": created,
        "model": model,
        "metadata": metadata,
        "split": dict(split),
        "window": dict(window) if window else None,
        "statistics": {key: statistics[key] for key in ("version", "kept")},
    }


def record_version(
    root: str,
    name: str,
    version: Mapping[str, Any],
    by: str,
    reason: str,
    over: str | None = None,
    is_rollback: bool = False,
) -> None:
    """Makes a version the champion, of whose run nothing else need be left.

    Args:
        root: The folder of all runs, local or gs://.
        name: The name of the model.
        version: Its manifest.
        by: Who promotes it.
        reason: Why.
        over: The run in whose place; None for whichever has it.
        is_rollback: Whether it takes the place back.

    Raises:
        ArtifactError: Its model was altered.
        Overtaken: Another run has taken the place meanwhile, and keeps it.
    """
    run = str(version["run"])
    place = versions.place_of(root, name, run)
    versions.read_metadata(place, run, str(version["metadata"]))
    record = {"version": VERSION, **{key: version.get(key) for key in versions.RECORD}}
    champion = {**record, "model": place, "best": None}
    _take_place(root, name, champion, by, reason, over, is_rollback)


def _take_place(
    root: str,
    name: str,
    record: Mapping[str, Any],
    by: str,
    reason: str,
    over: str | None,
    is_rollback: bool,
) -> None:
    """Makes a run the champion, unless another has taken the place since it was looked at.

    The move is written before the champion's own record: without that, it has not taken place. So a
    crash between the two, or a rival that was faster, leaves a move that nothing follows.
    """
    run, uri = record["run"], record_uri(root, name, "champion")
    former = read_content(uri)
    champion = _parsed(uri, "champion", former.data) if former.data is not None else None
    holder = str(champion["run"]) if champion else ""
    if over is not None and holder not in (over, run):
        raise _overtaken(name, run, holder)
    moved = _move(champion, run, by, reason)
    if is_rollback:
        moved["rollback"] = True
    file = f"{MOVES}/{moved['at'].replace(':', '')}-{run}"
    write_file(record_uri(root, name, file), json_bytes(moved))
    if versions.is_version(name, record):
        versions.require_version(root, name, run)  # whoever deletes versions heeds the move
    try:
        replace_content(uri, json_bytes({**record, "promoted": moved}), former)
    except Overtaken as error:
        raise _overtaken(name, run, str((champion_of(root, name) or {}).get("run"))) from error


def _overtaken(name: str, run: str, holder: str) -> Overtaken:
    return Overtaken(
        f"run {run} was not promoted: run {holder} has become the champion of {name} meanwhile; "
        f"look at `quatrain models {name}`, then promote again"
    )


def _move(champion: Mapping[str, Any] | None, run: str, by: str, reason: str) -> dict[str, Any]:
    """Returns how a run takes the place; one that has it already, by the same, keeps its record."""
    kept = champion.get("promoted") if champion and champion["run"] == run else None
    if kept and (kept["by"], kept["reason"]) == (by, reason):
        return dict(kept)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    before = str(champion["run"]) if champion else ""
    after = (champion or {}).get("promoted", {}).get("at", "")
    return {"run": run, "before": before, "after": after, "at": now, "by": by, "reason": reason}


def moves(root: str, name: str) -> list[dict[str, Any]]:
    """Returns each time that a model took the champion's place, the oldest first.

    They are the moves that led to the champion. One that was interrupted before it had written the
    champion's record, or that another overtook, is not among them.

    Raises:
        ArtifactError: A record cannot be read.
    """
    champion = champion_of(root, name)
    move = champion.get("promoted") if champion else None
    if not move:
        return []
    folder = record_uri(root, name, MOVES).removesuffix(".json")
    files = sorted(list_names(folder), reverse=True)
    read = (_read(root, name, f"{MOVES}/{f.removesuffix('.json')}", MOVES) for f in files)
    found = [dict(move)]
    for earlier in read:
        if earlier and _led_to(earlier, found[-1]):
            found.append(earlier)
    return found[::-1]


def _led_to(earlier: Mapping[str, Any], move: Mapping[str, Any]) -> bool:
    """Returns whether a move is the one before another; an older one names only its run."""
    of_run = earlier["run"] == move["before"] and earlier["at"] < move["at"]
    return of_run and move.get("after", earlier["at"]) == earlier["at"]


def read_statistics(examples: Path | str) -> dict[str, Any]:
    """Reads the statistics of complete examples.

    Raises:
        ArtifactError: The examples are not complete.
    """
    return _statistics_of(examples, read_manifest(examples, "manifest.json", "preprocess"))


def _statistics_of(examples: Path | str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    sha256 = manifest["files"]["statistics.json"]
    return read_manifest(examples, "statistics.json", "preprocess", sha256)


def earlier_runs(root: str, name: str) -> dict[str, dict[str, Any]]:
    """Returns the recorded runs by role; empty before the first run has passed its gate.

    Raises:
        ArtifactError: A record exists but cannot be read.
    """
    records = {role: _read(root, name, role) for role in (ROLES if root else ())}
    return {role: record for role, record in records.items() if record is not None}


def champion_of(root: str, name: str) -> dict[str, Any] | None:
    """Returns the record of a model's champion; None before a run has passed its gate.

    Raises:
        ArtifactError: The record exists but cannot be read.
    """
    return _read(root, name, "champion")


def record_loss(root: str, name: str, examples: str) -> str:
    """Records that examples were deleted, and returns the path or uri of the record."""
    uri = record_uri(root, name, LOST)
    write_file(uri, json_bytes({"version": VERSION, "examples": examples}))
    return uri


def lost_examples(root: str, name: str) -> str:
    """Returns the examples of a model that were found deleted last, or an empty text.

    Raises:
        ArtifactError: The record exists but cannot be read.
    """
    record = _read(root, name, LOST) if root else None
    return str(record["examples"]) if record else ""


def record_last(root: str, name: str, record: Mapping[str, Any]) -> None:
    """Records what made a run that was measured; without a root, nothing is recorded."""
    if root:
        write_file(record_uri(root, name, LAST), json_bytes({"version": VERSION, **record}))


def record_measured(root: str, name: str, record: Mapping[str, Any]) -> None:
    """Records a run that was measured, for good; without a root or an id, nothing is recorded."""
    if root and record["run"]:
        uri = record_uri(root, name, f"{RUNS}/{record['run']}")
        write_file(uri, json_bytes({"version": VERSION, **record}))


def measured_run(root: str, name: str, run: str) -> dict[str, Any] | None:
    """Returns the record of a run that was measured; None without one.

    Raises:
        ArtifactError: The record exists but cannot be read.
    """
    return _read(root, name, f"{RUNS}/{run}", RUNS)


def last_run(root: str, name: str) -> dict[str, Any] | None:
    """Returns the record of the last run of a model that was measured; None before the first.

    Raises:
        ArtifactError: The record exists but cannot be read.
    """
    return _read(root, name, LAST) if root else None


def _read(root: str, name: str, record: str, kind: str = "") -> dict[str, Any] | None:
    """Reads a record, if there is one; `kind` is its folder, if it has one."""
    kind = kind or record
    uri = record_uri(root, name, record)
    try:
        data = read_file(uri)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"{_RECORDS[kind]} cannot be read: {Failure.of(error)}") from error
    return _parsed(uri, kind, data)


def _parsed(uri: str, kind: str, data: bytes) -> dict[str, Any]:
    """Returns a record of a kind.

    Raises:
        ArtifactError: It is damaged.
    """
    try:
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError(f"it is {type(found).__name__}, not an object")
        if wrong := [k for k, t in _FIELDS[kind].items() if not isinstance(found.get(k), t)]:
            raise ValueError(f"{wrong[0]!r} is absent or of another type")
        best = found.get("best") if kind == "champion" else None
        if best is not None and not (isinstance(best, dict) and set(RIVAL) <= set(best)):
            raise ValueError("'best' is of another type, or incomplete")
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{uri}, {_RECORDS[kind]}, is damaged ({error}); remove it to go on without it"
        ) from error
    return found


def record_uri(root: str, name: str, record: str) -> str:
    """Returns the path or uri of a record of a model.

    Args:
        root: The folder of all runs.
        name: The name of the model.
        record: One of `ROLES`, `LOST` or `LAST`, or the name of a run below `RUNS`.
    """
    return f"{root.rstrip('/')}/{name}/statistics/{record}.json"
