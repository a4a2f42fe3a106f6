"""Releases a model: makes the first call of the plan, looks again, until nothing is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quatrain.components.errors import ReleaseError
from quatrain.components.release.candidate import ALIAS, Candidate
from quatrain.components.release.changes import OPERATION_S, give_alias, undeploy, update
from quatrain.components.release.plan import Action, next_action, outline, returned
from quatrain.components.release.service import Conflict, NoAnswer, NotFound, Service
from quatrain.components.release.state import (
    HELD,
    LEFT,
    LOG,
    OWNER,
    RETIRED,
    SINCE,
    VERSION,
    Actual,
    Endpoint,
    find_endpoint,
    observe,
)
from quatrain.components.release.watch import watch
from quatrain.components.specification.release import Release
from quatrain.components.wording import counted

MAX_ROUNDS = 100
"""Most actions of a release; one that needs more has a rival that changes the endpoint, too."""
MAX_SURPRISES = 8
"""How often in a row an action may meet something that was changed meanwhile."""
MAX_FAILED = 5
"""How many requests with golden rows may fail: the service restarts a replica now and then."""


class _Held(Exception):
    """There are too few requests to judge a step by."""


@dataclass(frozen=True)
class Applier:
    """Releases a candidate.

    Attributes:
        service: Vertex AI.
        candidate: The model.
        settings: The section `release` of the spec.
        report: Receives each action in words.
        anew: Whether a version is released that a person has gone back from.
    """

    service: Service
    candidate: Candidate
    settings: Release
    report: Callable[[str], None]
    anew: bool = True

    def observe(self) -> Actual:
        """Returns what exists."""
        return observe(self.service, self.candidate, self.settings.endpoint or "", ALIAS)

    def plan(self) -> list[str]:
        """Returns in words what a release would do; empty if nothing.

        Raises:
            ReleaseError: It could not be done.
        """
        return outline(self.candidate, self.settings, self.observe(), self.service.now())

    def apply(self) -> str:
        """Releases the candidate, and returns in a sentence how far that got.

        A release that fails gives the traffic back, and undeploys the new version.

        Raises:
            ReleaseError: It failed; the version before serves as it did.
        """
        surprises = 0
        claimed: set[str] = set()
        for _ in range(MAX_ROUNDS):
            actual = self.observe()
            self._require_claim(actual, claimed)
            action = next_action(self.candidate, self.settings, actual, self.service.now())
            if action is None:
                return self._done(actual)
            self.report(action.words)
            try:
                self._carry_out(action, actual)
                surprises = 0
            except _Held as held:
                return str(held)
            except (NotFound, Conflict, NoAnswer) as error:
                surprises += 1
                if surprises > MAX_SURPRISES:
                    self._give_back(error)
                self.report(f"looking again: {error}")
                self.service.sleep(1.0)
            except ReleaseError as error:
                self._give_back(error)
        raise ReleaseError(
            f"the release of {self.candidate.name} is not over after {MAX_ROUNDS} actions: someone "
            f"else changes the endpoint; look at it, then release again"
        )

    def _require_claim(self, actual: Actual, claimed: set[str]) -> None:
        """Ends a release whose claim someone has removed, in place of beginning it again.

        Args:
            actual: What exists.
            claimed: The versions that this release has been seen to give traffic to; it grows.

        Raises:
            ReleaseError: The release is over.
        """
        endpoint, version = actual.endpoint, actual.version
        if endpoint is None or not version:
            return
        if endpoint.labels.get(VERSION) == version:
            claimed.add(version)
            return
        has_left = endpoint.labels.get(LEFT) == version and not self.anew
        is_settled = endpoint.version_of(endpoint.leading, self.candidate.name) == version
        if has_left or (version in claimed and not is_settled):
            self._clear(endpoint, version, bool(actual.running))
            raise self._ended(endpoint, version)

    def _clear(self, endpoint: Endpoint, version: str, is_running: bool) -> None:
        """Undeploys the version that lost its traffic when a person went back from it."""
        gone = endpoint.labels.get(RETIRED, "")
        is_ours = endpoint.version_of(gone, self.candidate.name) == version
        if is_ours and gone not in endpoint.split and not is_running:
            words = f"undeploy version {version}"
            self.report(words)
            undeploy(self.service, endpoint.id, gone, words)

    def _ended(self, endpoint: Endpoint, version: str) -> ReleaseError:
        return ReleaseError(
            f"the release of version {version} of model {self.candidate.name} was ended by someone "
            f"who took the traffic of endpoint {endpoint.id} away from it, which is left as it is; "
            f"`quatrain deploy SPEC --run {self.candidate.run}` releases it anew"
        )

    def _done(self, actual: Actual) -> str:
        what = f"version {actual.version} of model {self.candidate.name}"
        if not self.settings.endpoint:
            return f"{what} is registered; the spec names no release.endpoint"
        return f"{what} has all the traffic of endpoint {self.settings.endpoint}"

    def _carry_out(self, action: Action, actual: Actual) -> None:
        verb = action.verb
        if verb == "finish":
            self.service.wait(action.operation, action.words, self.settings.deploy_timeout_s)
        elif verb == "hold":
            self.service.sleep(max(0.0, action.until - self.service.now()))
        elif verb in ("move", "prove", "judge"):
            self._move(action, actual)
        else:
            getattr(self, f"_{verb}")(action, actual)

    def _register(self, action: Action, actual: Actual) -> None:
        name = self.candidate.name
        self.candidate.write_schemata()
        parent = f"{self.service.parent}/models/{name}" if actual.exists else ""
        body = self.candidate.upload(parent)
        operation = self.service.send("POST", "models:upload", action.words, body)
        self.service.wait(operation, action.words, OPERATION_S)

    def _evaluate(self, action: Action, actual: Actual) -> None:
        path = f"models/{self.candidate.name}@{action.id}/evaluations:import"
        self.service.send("POST", path, action.words, self.candidate.evaluation)

    def _alias(self, action: Action, actual: Actual) -> None:
        give_alias(self.service, self.candidate.name, action.id, action.words)

    def _create(self, action: Action, actual: Actual) -> None:
        body: dict[str, Any] = {"displayName": action.id, "labels": {OWNER: self.candidate.name}}
        if log := self.settings.endpoint_log:
            body[LOG] = log.as_config()
        operation = self.service.send("POST", "endpoints", action.words, body, endpointId=action.id)
        self.service.wait(operation, action.words, OPERATION_S)

    def _log(self, action: Action, actual: Actual) -> None:
        endpoint, log = actual.endpoint, self.settings.endpoint_log
        if endpoint and log:
            update(self.service, endpoint, action.words, log=log.as_config())

    def _deploy(self, action: Action, actual: Actual) -> None:
        settings = self.settings
        deployed = {
            "id": action.id,
            "model": f"{self.service.parent}/models/{self.candidate.name}@{actual.version}",
            "displayName": self.candidate.deployed_name,
            "dedicatedResources": {
                "machineSpec": {"machineType": settings.machine_type},
                "minReplicaCount": settings.min_replicas,
                "maxReplicaCount": settings.max_replicas or settings.min_replicas,
            },
        }
        path = f"endpoints/{settings.endpoint}:deployModel"
        operation = self.service.send("POST", path, action.words, {"deployedModel": deployed})
        self.service.wait(operation, action.words, settings.deploy_timeout_s)

    def _undeploy(self, action: Action, actual: Actual) -> None:
        undeploy(self.service, self.settings.endpoint or "", action.id, action.words)

    def _move(self, action: Action, actual: Actual) -> None:
        """Changes the endpoint, once what the action asks for is proved or judged."""
        endpoint = actual.endpoint or Endpoint({})
        if action.verb == "prove":
            self._prove(action.id, endpoint)
        if action.verb == "judge":
            self._judge(action.id, endpoint)
        update(self.service, endpoint, action.words, action.split, action.labels)

    def _prove(self, new: str, endpoint: Endpoint) -> None:
        """Sends the golden rows until enough answers of the new version match.

        A request cannot choose the deployed model that answers it.
        """
        instances, needed = self.candidate.instances, self.settings.golden_answers
        if instances is None:
            self.report("the model's golden rows cannot be sent; its container has compared them")
            return
        matched, failed, share = 0, 0, endpoint.split[new]
        # Enough that too few answers by chance are rarer than one in a million releases.
        most = math.ceil((needed + 20) * 100 / share)
        for _ in range(most):
            try:
                answer = self.service.predict(endpoint.id, instances, "send the golden rows")
            except NoAnswer as error:
                failed += 1
                if failed > MAX_FAILED:
                    raise ReleaseError(
                        f"{failed} requests with golden rows failed ({error}); read the logs of "
                        f"the new version"
                    ) from error
                self.service.sleep(1.0)
                continue
            if answer.get("deployedModelId") != new:
                continue
            self.candidate.check_answers(answer["predictions"])
            matched += 1
            if matched == needed:
                return
        raise ReleaseError(
            f"endpoint {endpoint.id} has not the expected traffic: {counted(matched, 'answer')} of "
            f"{most:,} came from the new version, which should answer {share} %; look at its "
            f"traffic split, then release again"
        )

    def _judge(self, new: str, endpoint: Endpoint) -> None:
        """Checks what was watched.

        Raises:
            _Held: There were too few requests.
            ReleaseError: A bound is missed.
        """
        if not self.settings.hold_s:
            return  # nothing was watched
        watched = watch(self.service, endpoint.id, new, float(endpoint.labels[SINCE]))
        if watched.requests >= self.settings.min_requests:
            watched.check(self.settings)
            return
        share = endpoint.split[new]
        held = (
            f"the release is held at {share} %: the new version has answered "
            f"{counted(watched.requests, 'request')}, and release.min_requests is "
            f"{self.settings.min_requests:,}; `quatrain deploy SPEC` goes on later"
        )
        if HELD not in endpoint.labels:
            labels = endpoint.labels | {HELD: "1"}
            update(self.service, endpoint, "mark the release as held", None, labels)
        raise _Held(held)

    def _give_back(self, error: ReleaseError) -> None:
        """Gives the traffic back after a failure, undeploys the new version, and raises.

        An operation that never ends is left: nothing can be undeployed beside it.
        """
        endpoint = find_endpoint(self.service, self.settings.endpoint or NO_ENDPOINT)
        version = self.observe().version
        if endpoint is not None and version and endpoint.labels.get(LEFT) == version:
            raise self._ended(endpoint, version) from error
        if endpoint is None or not version or endpoint.labels.get(VERSION) != version:
            raise error
        new = endpoint.new_id(version)
        if new in endpoint.split:
            self.report("give the traffic back")
        split, labels = returned(endpoint, new)
        running = self.observe().running
        if running and new not in endpoint.split:
            raise error  # the claim stays: the next call waits for the operation again
        update(self.service, endpoint, "give the traffic back", split, labels)
        if new in endpoint.deployed and not running:
            words = f"undeploy version {version}"
            self.report(words)
            undeploy(self.service, endpoint.id, new, words)
        self.report(f"{endpoint.before or 'no version'} has all traffic, as before")
        raise error


NO_ENDPOINT = "0"
"""No endpoint has this id, so that a release without one finds none."""
