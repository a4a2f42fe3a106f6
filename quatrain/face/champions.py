"""Who is the champion, who was, and how a person changes that."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quatrain.calls import public
from quatrain.components import history
from quatrain.components.buckets import check_buckets, check_same_region
from quatrain.components.errors import QuatrainError, ReleaseError
from quatrain.components.evaluate import ledger
from quatrain.components.evaluate.transfer import transfer_run
from quatrain.components.notify.notice import PROMOTED, ROLLED_BACK, of_move
from quatrain.components.notify.sending import check_webhook, send
from quatrain.components.release.candidate import run_label
from quatrain.components.storage import is_remote
from quatrain.components.wording import near
from quatrain.local.runs import follow_champion
from quatrain.results.find import find_place
from quatrain.results.listing import Root, RunsNotFound, list_models, open_root
from quatrain.results.records import read_record
from quatrain.results.run_files import files_of_run
from quatrain.results.summary import RunSummary
from quatrain.vertex.cloud_file import Cloud, load_cloud
from quatrain.vertex.releases import plan_back, roll_back, shares


@public
def promote(
    run: str | os.PathLike[str],
    reason: str = "",
    *,
    to: str | os.PathLike[str] = "",
    root: str | os.PathLike[str] = "",
    cloud: str | os.PathLike[str] = "",
    notify: str = "",
) -> dict[str, Any]:
    """Makes the model of a measured run the champion, whatever its gate decided.

    With `to`, it is copied with its proof to the root of other cloud settings, and made the
    champion there.

    Args:
        run: The run: its folder, gs://ROOT/NAME/RUN, or an id below the root.
        reason: Why; it is recorded with the name of the user. A run that was promoted before needs
            none to be copied.
        to: The cloud settings of the root that gets it, whose `notify` then hears of it.
        root: The folder of all runs, a path or a gs:// uri; if empty, that of the cloud settings,
            or `runs`.
        cloud: A file of cloud settings, whose `notify` hears of it.
        notify: The address of a webhook that hears of it, instead.

    Returns:
        The move: `run`, the run `before` it, `at`, `by` and `reason`.

    Raises:
        QuatrainError: There is no such run, it was not measured, or its artifacts are gone; or it
            cannot be copied.
    """
    addresses = _addresses(os.fspath(to or cloud), notify)
    where = open_root(os.fspath(root), os.fspath(cloud), check=False)
    place = files_of_run(find_place(os.fspath(run), where)).place.rstrip("/")
    if not is_remote(place):
        place = str(Path(place).resolve())
    of_model, _, id_ = place.rpartition("/")
    of_all, _, name = of_model.rpartition("/")
    if to:
        move = _transfer(of_all, name, id_, load_cloud(os.fspath(to), allow_tag=True), reason)
    else:
        move = _move(of_all, name, id_, reason)
    _send(name, move, PROMOTED, addresses)
    return move


@public
def rollback(
    name: str,
    reason: str,
    *,
    to: str = "",
    root: str | os.PathLike[str] = "",
    cloud: str | os.PathLike[str] = "",
    notify: str = "",
) -> dict[str, Any]:
    """Gives the place back to the champion before, or to the model of another run.

    With `cloud`, that model gets all traffic of the endpoints that releases gave to `name`, too. A
    repeated call changes nothing, and goes on with one that was cut off.

    Args:
        name: The model.
        reason: Why; it is recorded with the name of the user.
        to: The id of a run; if empty, the champion before the one that is it now.
        root: The folder of all runs, a path or a gs:// uri; if empty, that of the cloud settings,
            or `runs`.
        cloud: A file of cloud settings, whose `notify` hears of it.
        notify: The address of a webhook that hears of it, instead.

    Returns:
        The move: `run`, the run `before` it, `at`, `by` and `reason`; `changed`, whether it was
        made by this call; and `traffic`, a sentence for each endpoint.

    Raises:
        QuatrainError: There is no champion before, its artifacts are gone, or it has the place by
            now and an endpoint could not be changed.
    """
    addresses = _addresses(os.fspath(cloud), notify)
    where = open_root(os.fspath(root), os.fspath(cloud))
    over, run = _run_back(where, name, to)
    champion = history.champion_of(where.uri, name)
    if changed := champion is None or champion["run"] != run:
        move = _move(_full(where), name, run, reason, over, is_rollback=True)
        _send(name, move, ROLLED_BACK, addresses)
    else:
        move = (champion or {}).get("promoted") or {"run": run, "before": ""}
        if where.is_here:  # the call before may have been cut off before the link followed
            follow_champion(Path(_full(where), name))
    traffic: list[str] = []
    if where.vertex is not None and not where.is_here:
        digest = (history.champion_of(where.uri, name) or {}).get("metadata", "")
        try:
            traffic = roll_back(where.vertex.cloud, name, run, digest, _say)
        except QuatrainError as error:
            raise ReleaseError(
                f"run {run} is the champion of {name}, but not all traffic is moved to it: "
                f"{error}; then `quatrain rollback {name} --to {run} --reason TEXT --cloud "
                f"{os.fspath(cloud)}` moves it"
            ) from error
    return {**move, "changed": changed, "traffic": traffic}


def plan_rollback(
    name: str,
    *,
    to: str = "",
    root: str | os.PathLike[str] = "",
    cloud: str | os.PathLike[str] = "",
) -> list[str]:
    """Returns in words what `rollback` would do; empty if nothing.

    Raises:
        QuatrainError: As `rollback`.
    """
    where = open_root(os.fspath(root), os.fspath(cloud))
    _, run = _run_back(where, name, to)
    digest = ledger.measured_digest(where.uri, name, run)
    champion = history.champion_of(where.uri, name)
    words = []
    if champion is None or champion["run"] != run:
        before = f", in place of run {champion['run']}" if champion else ""
        words.append(f"make run {run} the champion{before}")
    if where.vertex is not None and not where.is_here:
        words += plan_back(where.vertex.cloud, name, run, digest)
    return words


def _run_back(where: Root, name: str, to: str) -> tuple[str | None, str]:
    """Returns the run whose place a rollback takes, None for any, and the one that gets it."""
    return (None, to) if to else ledger.last_move(where.uri, name)


@public
def models(
    name: str = "",
    *,
    root: str | os.PathLike[str] = "",
    cloud: str | os.PathLike[str] = "",
) -> list[dict[str, Any]]:
    """Lists who has held the champion's place of a model, or the champion of each model.

    Args:
        name: The model; if empty, each one with its champion.
        root: The folder of all runs, a path or a gs:// uri; if empty, that of the cloud settings,
            or `runs`.
        cloud: A file of cloud settings, whose endpoints are looked at.

    Returns:
        For each time that a model took the place, the newest first: `name`, `run`, `before` (the
        run in whose place), `at`, `by`, `reason`, `champion` (whether it has the place now),
        `metadata` (the sha256 of its metadata.json) and `window` (the days of its rows) of the
        champion, and of each `metric`, `decision`, `test_rows`, `code` and `digests` (of its
        `spec`, `data`, `trainer` and `image`), None where unknown. With `cloud`, `serves`: the
        share of the traffic that its run has of each endpoint, in percent; None where unknown.

    Raises:
        QuatrainError: The root cannot be read, or has no such model.
    """
    where = open_root(os.fspath(root), os.fspath(cloud))
    names = list_models(where)
    if name and name not in names:
        raise RunsNotFound(f"{where.uri} has no model {name!r}{near(name, names)}")
    if name:
        return _with_shares(where, _holders(where.uri, name))
    holders = (_holders(where.uri, each) for each in names)
    return _with_shares(where, [e for each in holders for e in each if e["champion"]])


def _with_shares(where: Root, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds to each entry what its run serves; a service that does not answer is no reason to fail.

    Without a cloud's settings, the entries stay as they are.
    """
    if where.vertex is None:
        return entries
    known: dict[str, dict[str, dict[str, int]] | None] = {}
    for name in dict.fromkeys(entry["name"] for entry in entries):
        try:
            known[name] = shares(where.vertex.cloud, name)
        except ReleaseError as error:
            _say(f"what {name} serves is not known: {error}")
            known[name] = None
    for entry in entries:
        of_runs = known[entry["name"]]
        run = run_label(entry["run"])
        entry["serves"] = None if of_runs is None else of_runs.get(run, {})
    return entries


def _holders(root: str, name: str) -> list[dict[str, Any]]:
    """Returns each time that a model took the place, the newest first."""
    moves, now = history.moves(root, name), history.champion_of(root, name)
    # One of an earlier version was promoted without a record of the move.
    if first := moves[0]["before"] if moves else now and now["run"]:
        moves.insert(0, {"run": first, "before": "", "at": "", "by": "", "reason": ""})
    entries: list[dict[str, Any]] = []
    for move in reversed(moves):
        is_now = now is not None and not entries
        summary = read_record(root, name, move["run"])
        measured = (summary.measured if isinstance(summary, RunSummary) else None) or {}
        entries.append(
            {
                "name": name,
                **move,
                "champion": is_now,
                "metadata": now["metadata"] if now and is_now else None,
                "window": now.get("window") if now and is_now else None,
                "metric": summary.metric if isinstance(summary, RunSummary) else None,
                "decision": measured.get("gate", {}).get("decision"),
                "test_rows": measured.get("test_rows"),
                "code": measured.get("code"),
                "digests": measured.get("digests"),
            }
        )
    return entries


def _full(root: Root) -> str:
    return str(Path(root.uri).resolve()) if root.is_here else root.uri


def _move(
    root: str, name: str, run: str, reason: str, over: str | None = None, is_rollback: bool = False
) -> dict[str, Any]:
    if not reason.strip():
        raise QuatrainError(
            f"no reason for run {run}; add a few words that say why, by --reason TEXT"
        )
    move = ledger.promote_run(root, name, run, _user(), reason, over, is_rollback)
    if not is_remote(root):
        follow_champion(Path(root, name))
    return move


def _transfer(root: str, name: str, run: str, cloud: Cloud, reason: str) -> dict[str, Any]:
    target = cloud.root.rstrip("/")
    if target == root:
        raise QuatrainError(
            f"run {run} is in {root} already; name the settings of another root by --to, or "
            f"promote it without --to"
        )
    check_buckets([target], cloud.location, cloud.project)
    check_same_region(root, cloud.location)
    return transfer_run(root, name, run, target, _user(), reason.strip())


def _addresses(cloud: str, notify: str) -> dict[str, str]:
    """Returns who hears of a move: the webhook, or else those of the cloud's settings."""
    if notify:
        check_webhook(notify)
        return {"webhook": notify}
    settings = load_cloud(cloud, allow_tag=True).notify if cloud else None
    return settings.addresses if settings else {}


def _send(name: str, move: Mapping[str, Any], event: str, addresses: Mapping[str, str]) -> None:
    """Sends a notice of a move, which has been made whatever becomes of the notice."""
    if addresses:
        for line in send(of_move(name, move, event), addresses):
            _say(line)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _user() -> str:
    """Returns the name of the user, or the number of one without a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"
