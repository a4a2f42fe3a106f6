"""Takes the traffic of an endpoint back: to the model before, or to the version of a run.

A version that is still deployed gets all traffic by one write of the endpoint. One that is not is
deployed beside what serves first, as a release does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quatrain.components.errors import ReleaseError
from quatrain.components.release.applier import MAX_SURPRISES, Applier
from quatrain.components.release.candidate import ALIAS, Candidate
from quatrain.components.release.changes import give_alias, update
from quatrain.components.release.plan import kept_labels
from quatrain.components.release.service import Conflict, NoAnswer, Service
from quatrain.components.release.state import (
    BACK,
    LEFT,
    PREVIOUS,
    RETIRED,
    VERSION,
    Endpoint,
    find_endpoint,
    list_versions,
)
from quatrain.components.specification.release import Release

DONE, MOVE, END, DEPLOY = "done", "move", "end", "deploy"


def go_back(service: Service, endpoint: Endpoint) -> str:
    """Moves all traffic back to the version before, in one call, and returns a sentence.

    Repeating it changes nothing, since the answer to the first call may have been lost.

    Raises:
        ReleaseError: None is deployed that it could go back to.
    """
    labels = endpoint.labels
    if VERSION in labels:
        target = endpoint.before
        if not target:
            raise ReleaseError(
                f"endpoint {endpoint.id} had no version before this release; `quatrain undeploy` "
                f"ends it"
            )
        how = f"; the release of version {labels[VERSION]} is over"
    else:
        if endpoint.split.get(labels.get(BACK, "")) == 100:
            return (
                f"{labels[BACK]} has all traffic already, since it was gone back to; `quatrain "
                f"deploy SPEC` goes forward"
            )
        target = labels.get(PREVIOUS, "")
        how = f", in place of {endpoint.leading}"
    if target not in endpoint.deployed:
        raise ReleaseError(
            f"endpoint {endpoint.id} has no version before that is still deployed; deploy one by "
            f"`quatrain deploy SPEC --run RUN`, and set release.keep_previous to keep one ready"
        )
    update(service, endpoint, "move the traffic back", {target: 100}, labels_back(endpoint, target))
    return f"{target} has all traffic again{how}"


def labels_back(endpoint: Endpoint, target: str) -> dict[str, str]:
    """Returns the labels of an endpoint after all its traffic went back to a deployed model."""
    kept = labels_ended(endpoint)
    former = endpoint.before if VERSION in endpoint.labels else endpoint.leading
    if former not in ("", target):
        kept[PREVIOUS] = former
        if VERSION not in endpoint.labels:
            kept[LEFT] = str(endpoint.deployed.get(former, {}).get("modelVersionId", ""))
    return kept | {BACK: target}


def labels_ended(endpoint: Endpoint) -> dict[str, str]:
    """Returns the labels of an endpoint once the release under way, if any, was ended."""
    kept, version = kept_labels(endpoint), endpoint.labels.get(VERSION)
    return kept | {RETIRED: endpoint.new_id(version), LEFT: version} if version else kept


@dataclass(frozen=True)
class Rollback:
    """Gives all traffic of endpoints to the model of an earlier run.

    Attributes:
        service: Vertex AI.
        name: The name of the model.
        run: The run.
        label: The value of the label `metadata` of its versions.
        image: The image that serves the model if the registry has no version of it any more.
        read: Reads the model, to be served by an image.
        report: Receives each action in words.
    """

    service: Service
    name: str
    run: str
    label: str
    image: str
    read: Callable[[str], Candidate]
    report: Callable[[str], None]

    def plan(self, endpoint: Endpoint) -> str:
        """Returns in words what the rollback would do at an endpoint; empty if nothing."""
        verb, target = self._next(endpoint, self._versions())
        if verb == DONE:
            return ""
        if verb == MOVE:
            return f"give {target} all traffic of endpoint {endpoint.id}, by one call"
        machine = settings_of(endpoint)
        return (
            f"deploy run {self.run} at endpoint {endpoint.id} on {machine.min_replicas} x "
            f"{machine.machine_type}, beside what serves, then give it all traffic"
        )

    def apply(self, endpoint: Endpoint) -> str:
        """Rolls an endpoint back, and returns a sentence. Repeating it changes nothing.

        Raises:
            ReleaseError: It failed.
        """
        how = "already"
        for _ in range(MAX_SURPRISES):
            versions = self._versions()
            verb, target = self._next(endpoint, versions)
            if verb == DONE:
                self._give_alias(endpoint, versions, target)
                return f"run {self.run} has all traffic of endpoint {endpoint.id} {how}"
            try:
                if verb == DEPLOY:
                    self._deploy(endpoint, versions)
                elif verb == END:
                    words = f"end the release of version {endpoint.labels[VERSION]}"
                    self.report(words)
                    split = {endpoint.before: 100} if endpoint.before else endpoint.split
                    update(self.service, endpoint, words, split, labels_ended(endpoint))
                else:
                    words = f"give {target} all traffic of endpoint {endpoint.id}"
                    self.report(words)
                    labels = labels_back(endpoint, target)
                    update(self.service, endpoint, words, {target: 100}, labels)
                how = "again"
            except (Conflict, NoAnswer) as error:
                self.report(f"looking again: {error}")
                self.service.sleep(1.0)
            endpoint = self._found(endpoint.id)
        raise ReleaseError(
            f"endpoint {endpoint.id} is not as it was read, {MAX_SURPRISES} times in a row: "
            f"someone else changes it; look at it, then call again"
        )

    def share_in_words(self, endpoint: str) -> str:
        """Returns what share of an endpoint's traffic the run has, as far as it can be read."""
        try:
            found = find_endpoint(self.service, endpoint)
            ids = {str(v["versionId"]) for v in self._versions()}
        except ReleaseError:
            return f"whether endpoint {endpoint} gives it traffic is not known"
        if found is None:
            return f"endpoint {endpoint} is gone"
        ours = (i for i in found.split if found.version_of(i, self.name) in ids)
        return f"endpoint {endpoint} gives it {sum(found.split[i] for i in ours)} % of its traffic"

    def _found(self, id_: str) -> Endpoint:
        endpoint = find_endpoint(self.service, id_)
        if endpoint is None:
            raise ReleaseError(
                f"endpoint {id_} was deleted meanwhile; `quatrain deploy SPEC` makes it again"
            )
        return endpoint

    def _versions(self) -> list[Mapping[str, Any]]:
        """Returns the versions of the run in the registry, the oldest first."""
        versions = list_versions(self.service, self.name)
        return [v for v in versions if v.get("labels", {}).get("metadata") == self.label]

    def _next(self, endpoint: Endpoint, versions: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        """Returns what is to be done next, and the deployed model that is to have all traffic."""
        ids = {str(v["versionId"]) for v in versions}
        there = [i for i in endpoint.deployed if endpoint.version_of(i, self.name) in ids]
        target = max(there, key=lambda i: (endpoint.split.get(i, 0), i), default="")
        claim = endpoint.labels.get(VERSION)
        if claim in ids:
            return DEPLOY, ""  # by an earlier call, or the run's own release
        if target:
            return (MOVE if claim or endpoint.split != {target: 100} else DONE), target
        return (END if claim else DEPLOY), ""

    def _deploy(self, endpoint: Endpoint, versions: Sequence[Mapping[str, Any]]) -> None:
        """Releases the run beside what serves, with all traffic in one step.

        It serves in the image of its newest version, and on the machines of what serves.
        """
        claim = endpoint.labels.get(VERSION)
        newest = next((v for v in versions if v["versionId"] == claim), None) or (
            versions[-1] if versions else {}
        )
        image = newest.get("containerSpec", {}).get("imageUri", self.image)
        settings = settings_of(endpoint)
        Applier(self.service, self.read(image), settings, self.report).apply()

    def _give_alias(
        self, endpoint: Endpoint, versions: Sequence[Mapping[str, Any]], target: str
    ) -> None:
        """Gives the version that serves the alias of the champion, unless it has it."""
        serving = endpoint.version_of(target, self.name)
        aliases = next(v.get("versionAliases", []) for v in versions if v["versionId"] == serving)
        if ALIAS not in aliases:
            words = f"give the alias {ALIAS} to {self.name}@{serving}"
            self.report(words)
            give_alias(self.service, self.name, serving, words)


def settings_of(endpoint: Endpoint) -> Release:
    """Returns how a version is deployed that goes back: at once, on the machines of what serves."""
    resources = endpoint.deployed.get(endpoint.leading, {}).get("dedicatedResources", {})
    machine = resources.get("machineSpec", {}).get("machineType")
    settings = Release(
        endpoint=endpoint.id,
        min_requests=0,
        **({"machine_type": machine} if machine else {}),
        min_replicas=resources.get("minReplicaCount", 1),
        max_replicas=resources.get("maxReplicaCount"),
    )
    return settings.model_copy(update={"traffic": (100,), "hold_s": 0})
