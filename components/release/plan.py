"""Decides the next call of a release from what exists; pure, so that it can be printed first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from quatrain.components.errors import ReleaseError
from quatrain.components.release.candidate import Candidate
from quatrain.components.release.state import (
    BACK,
    BEFORE,
    CLAIMED,
    HELD,
    LEFT,
    NONE,
    OWNER,
    PREVIOUS,
    PROVED,
    RETIRED,
    SHARE,
    SINCE,
    VERSION,
    Actual,
    Endpoint,
)
from quatrain.components.specification.release import Release, RequestLog

STALE_S = 3_600
"""A release whose traffic has not moved for this long beyond its hold was killed."""


@dataclass(frozen=True)
class Action:
    """The next thing to do.

    Attributes:
        verb: What to do.
        words: The same for people.
        id: The deployed model, version or operation that it is about.
        split: The traffic afterwards, where it changes.
        labels: The endpoint's labels afterwards, where they change.
        until: For a wait: when it ends, in seconds since 1970.
    """

    verb: str
    words: str
    id: str = ""
    split: Mapping[str, int] | None = None
    labels: Mapping[str, str] | None = None
    until: float = 0.0
    operation: Mapping[str, Any] = field(default_factory=dict)


def next_action(
    candidate: Candidate, settings: Release, actual: Actual, now: float
) -> Action | None:
    """Returns the next action of a release, or None when nothing is left to do.

    Raises:
        ReleaseError: Someone else releases, or the endpoint is not as a release could have left it.
    """
    if action := _of_registry(candidate, actual):
        return action
    if settings.endpoint is None:
        return _alias(candidate, actual)
    if actual.endpoint is None:
        if settings.endpoint.isdigit():
            raise ReleaseError(
                f"endpoint {settings.endpoint} does not exist; name one that does, or a name of "
                f"letters, and it is made"
            )
        return Action("create", f"create endpoint {settings.endpoint}", settings.endpoint)
    if actual.running:
        operation = actual.running[0]
        words = f"wait for operation {str(operation['name']).rpartition('/')[2]} of the endpoint"
        return Action("finish", words, operation=operation)
    endpoint = actual.endpoint
    claim = endpoint.labels.get(VERSION)
    if claim == actual.version:
        return _under_way(candidate, settings, actual, endpoint, now)
    if claim:
        return _superseded(settings, actual, endpoint, claim, now)
    return _settled(candidate, settings, actual, endpoint, now)


def _log(settings: Release, endpoint: Endpoint) -> Action | None:
    """Returns the change of where the requests are logged, if the spec says so and it is not so."""
    log = settings.endpoint_log
    if log is None or endpoint.log == log.as_config():
        return None
    return Action("log", _log_words(log), endpoint.id)


def _log_words(log: RequestLog) -> str:
    return f"log {log.share} of the endpoint's requests to {log.uri}"


def _of_registry(candidate: Candidate, actual: Actual) -> Action | None:
    """Returns what the registry lacks."""
    name = candidate.name
    if actual.is_foreign:
        raise ReleaseError(
            f"model {name} in the registry was not made by Quatrain (no version has the label "
            f"{OWNER}={name}); delete it there, or rename the model in the spec"
        )
    if not actual.version:
        return Action("register", f"register run {candidate.run} as a version of model {name}")
    if not actual.is_evaluated:
        words = f"import the metrics of run {candidate.run} into {name}@{actual.version}"
        return Action("evaluate", words, actual.version)
    return None


def _alias(candidate: Candidate, actual: Actual) -> Action | None:
    """Returns the move of the champion's alias, if another version has it."""
    if actual.is_alias:
        return None
    words = f"give the alias champion to {candidate.name}@{actual.version}"
    return Action("alias", words, actual.version)


def kept_labels(endpoint: Endpoint, **changes: str) -> dict[str, str]:
    """Returns the labels of an endpoint without those of the release under way, with changes."""
    gone = (VERSION, CLAIMED, SINCE, SHARE, PROVED, HELD, BEFORE, BACK)
    labels = {key: value for key, value in endpoint.labels.items() if key not in gone}
    for key, value in changes.items():
        labels[key.replace("_", "-")] = value
    return labels


def returned(endpoint: Endpoint, new: str) -> tuple[dict[str, int], dict[str, str]]:
    """Returns the traffic and labels that give everything back to the model before."""
    before = endpoint.before
    split = {before: 100} if before else {}
    return split, kept_labels(endpoint, release_retired=new)


def _superseded(
    settings: Release, actual: Actual, endpoint: Endpoint, claim: str, now: float
) -> Action:
    """Returns the end of a release that was held or killed.

    Raises:
        ReleaseError: It is under way.
    """
    labels = endpoint.labels
    since = float(labels.get(SINCE, "0"))
    is_stale = HELD in labels or now > since + settings.hold_s + STALE_S
    if not is_stale and claim in actual.others:
        raise ReleaseError(
            f"endpoint {endpoint.id} is being given version {claim} by another release, whose "
            f"traffic moved {now - since:,.0f} s ago; wait for its end, or end it by `quatrain "
            f"traffic SPEC --back`"
        )
    split, kept = returned(endpoint, endpoint.new_id(claim))
    words = f"give the traffic of version {claim} back, whose release was held or killed"
    return Action("move", words, split=split, labels=kept)


def _settled(
    candidate: Candidate, settings: Release, actual: Actual, endpoint: Endpoint, now: float
) -> Action | None:
    """Returns what is left to do where no release is under way."""
    full = [id_ for id_, share in endpoint.split.items() if share == 100]
    serving = full[0] if full else ""
    if serving and endpoint.version_of(serving, candidate.name) == actual.version:
        if gone := next(_leftovers(endpoint, candidate.name, {serving}), ""):
            return _undeploy(endpoint, gone)
        return _log(settings, endpoint) or _alias(candidate, actual)
    if endpoint.split and not full:
        shares = ", ".join(f"{id_}: {share} %" for id_, share in endpoint.split.items())
        raise ReleaseError(
            f"endpoint {endpoint.id} has not the expected traffic: no deployed model has all of it "
            f"({shares}); give it to one by `gcloud ai endpoints update {endpoint.id} "
            f"--traffic-split=ID=100`"
        )
    if endpoint.deployed and not full:
        ids = ", ".join(endpoint.deployed)
        if next(_leftovers(endpoint, candidate.name, set()), "") == "":
            raise ReleaseError(
                f"endpoint {endpoint.id} has deployed models without any traffic ({ids}); give "
                f"one of them all traffic, or undeploy them"
            )
    if action := _log(settings, endpoint):
        return action
    stamp = str(int(now))
    claimed = kept_labels(endpoint) | {
        OWNER: candidate.name,
        VERSION: actual.version,
        CLAIMED: stamp,
        SINCE: stamp,
        BEFORE: serving or NONE,
    }
    if claimed.get(LEFT) == actual.version:
        del claimed[LEFT]
    words = f"claim endpoint {endpoint.id} for version {actual.version}"
    return Action("move", words, labels=claimed)


def _leftovers(endpoint: Endpoint, model: str, needed: set[str]) -> Iterator[str]:
    """Yields deployed models of earlier releases that have no traffic and are not needed."""
    labels = endpoint.labels
    needed = needed | {labels.get(PREVIOUS, "")}
    for id_ in endpoint.deployed:
        ours = id_ == labels.get(RETIRED) or endpoint.version_of(id_, model)
        if ours and id_ not in needed and id_ not in endpoint.split:
            yield id_


def _undeploy(endpoint: Endpoint, id_: str) -> Action:
    name = endpoint.deployed[id_].get("displayName", id_)
    return Action("undeploy", f"undeploy {name} ({id_}), which has no traffic", id_)


def _under_way(
    candidate: Candidate, settings: Release, actual: Actual, endpoint: Endpoint, now: float
) -> Action:
    """Returns the next step of the release of this version."""
    labels, before, version = endpoint.labels, endpoint.before, actual.version
    new = endpoint.new_id(version)
    share = int(labels.get(SHARE, "0"))
    rest = {before: 100 - share} if before and share < 100 else {}
    expected = rest | ({new: share} if share else {})
    if endpoint.split != expected or (before and before not in endpoint.deployed and share < 100):
        raise ReleaseError(
            f"endpoint {endpoint.id} has not the expected traffic: {endpoint.split} in place of "
            f"{expected}; someone else has moved it: end this release by `quatrain traffic SPEC "
            f"--back`, then release again"
        )
    if action := _log(settings, endpoint):
        return action
    if gone := next(_leftovers(endpoint, candidate.name, {new, before}), ""):
        return _undeploy(endpoint, gone)
    if new not in endpoint.deployed:
        beside = f"beside {before}" if before else "as the first"
        words = f"deploy {candidate.name}@{version} {beside}, without traffic, as {new}"
        return Action("deploy", words, new)
    steps = settings.traffic if before else (100,)
    if not share:
        return _move(endpoint, new, before, steps[0], now)
    if PROVED not in labels:
        words = f"send golden rows until {settings.golden_answers} answers come from {new}"
        return Action("prove", words, new, labels=labels | {PROVED: "1"})
    until = float(labels[SINCE]) + settings.hold_s
    if before and now < until:
        return Action("hold", f"watch {share} % for {settings.hold_s} s", new, until=until)
    if share < 100:
        following = next(step for step in steps if step > share)
        return _judged(_move(endpoint, new, before, following, now))
    role = PREVIOUS if settings.keep_previous else RETIRED
    done = {key: v for key, v in kept_labels(endpoint).items() if key not in (PREVIOUS, RETIRED)}
    done |= {role: before} if before else {}
    action = Action("move", f"settle on version {version}", new, labels=done)
    return _judged(action) if before else action


def _judged(action: Action) -> Action:
    """Returns a move that is made only if what was watched is good."""
    return Action("judge", action.words, action.id, action.split, action.labels)


def _move(endpoint: Endpoint, new: str, before: str, share: int, now: float) -> Action:
    split = {new: share} | ({before: 100 - share} if before and share < 100 else {})
    labels = {k: v for k, v in endpoint.labels.items() if k != HELD} | {
        SINCE: str(int(now)),
        SHARE: str(share),
    }
    return Action("move", f"move {share} % of the traffic to {new}", new, split, labels)


Report = Callable[[str], None]


def outline(candidate: Candidate, settings: Release, actual: Actual, now: float) -> list[str]:
    """Returns in words what a release would do, without doing it.

    Raises:
        ReleaseError: As `next_action`.
    """
    words = []
    action = _of_registry(candidate, actual)
    if action:
        words.append(action.words)
        version = str(max(map(int, (*actual.versions, *actual.others)), default=0) + 1)
        actual = Actual(
            actual.versions or (version,),
            actual.others,
            False,
            False,
            True,
            True,
            actual.endpoint,
            actual.running,
        )
    action = next_action(candidate, settings, actual, now)
    if action is None:
        return words
    words.append(action.words)
    if actual.endpoint and settings.endpoint_log and action.verb == "log":
        logged = actual.endpoint.with_log(settings.endpoint_log.as_config())
        return words + outline(candidate, settings, replace(actual, endpoint=logged), now)
    if settings.endpoint and action.verb != "alias" and action.verb != "undeploy":
        words += _rest(settings, actual.endpoint)
    return words


def _rest(settings: Release, endpoint: Endpoint | None) -> list[str]:
    """Returns in words the steps that follow the first call to an endpoint."""
    is_first = endpoint is None or not endpoint.split
    steps = (100,) if is_first else settings.traffic
    replicas = f"{settings.min_replicas} x {settings.machine_type}"
    log = settings.endpoint_log if endpoint is None else None
    words = [_log_words(log)] if log else []
    words += [f"deploy it without traffic on {replicas}, once its golden rows match"]
    bounds = f"at most {settings.max_errors:.1%} errors"
    if settings.max_p95_ms:
        bounds += f", p95 at most {settings.max_p95_ms:g} ms"
    for step in steps:
        watched = "" if is_first else f", watch {settings.hold_s} s ({bounds})"
        words.append(f"give it {step} % of the traffic{watched}")
    if not is_first:
        kept = (
            "keep the one before, without traffic"
            if settings.keep_previous
            else "undeploy the one before"
        )
        words.append(kept)
    return words
