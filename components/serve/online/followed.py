"""The champion of a model as it changes: loaded beside the one that answers, verified, swapped.

The pointer is the record `<root>/<name>/statistics/champion.json`. It holds the sha256 of the
metadata.json of the model that passed its gate, so whatever lies at the model's place now, no other
model is served.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from quatrain.components import history
from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError
from quatrain.components.faults import sentence_of
from quatrain.components.serve.known_models import check_known
from quatrain.components.serve.model_folder import find_model
from quatrain.components.serve.online.counters import Counters
from quatrain.components.serve.online.version import Slot, Version, load_version
from quatrain.components.serve.served_model import METADATA
from quatrain.components.storage import exists, is_remote
from quatrain.components.versions import model_of
from quatrain.components.wording import first_line

LONGEST_PAUSE_S = 60.0
"""The most seconds between two attempts to load a champion that was refused."""


@dataclass(frozen=True)
class FixedModel:
    """A model that never changes.

    Attributes:
        place: Its folder.
        root: The folder of all runs, in which a record must name it.
        trust: Whether to load it though no record names it.
    """

    place: str
    root: str
    trust: bool = False

    @property
    def name(self) -> str:
        """The name of the model, by its place below the root.

        Raises:
            ArtifactError: It lies elsewhere.
        """
        if is_remote(self.root):
            place, root = self.place, self.root.rstrip("/")
        else:
            place, root = os.path.abspath(self.place), os.path.abspath(self.root)
        name = place.removeprefix(f"{root}/").partition("/")[0]
        if place == name or not place.startswith(f"{root}/"):
            raise ArtifactError(
                f"{self.place} is not below {self.root}, so nothing says of which model its "
                f"requests are; name the folder of the runs by --root, or leave --log out"
            )
        return name

    def load(self) -> Version:
        """Loads the model.

        Raises:
            QuatrainError: It is incomplete or altered, or no record names it.
        """
        return load_version(self.place, check=self.check)

    def check(self, folder: Path) -> None:
        """Checks that a record names the model, or a copy of it in a folder.

        Raises:
            ArtifactError: No record below the root does.
        """
        if not self.trust:
            check_known(folder, self.place, self.root)


@dataclass(frozen=True)
class Pointer:
    """What the record of a champion says.

    Attributes:
        run: The run that trained it.
        metadata: The sha256 of its metadata.json.
        places: Where its model may be.
    """

    run: str
    metadata: str
    places: Sequence[str]


@dataclass(frozen=True)
class FollowedChampion:
    """The champion of a model, whichever it is.

    Attributes:
        runs: The folder of the model's runs, `<root>/<name>`.
        root: The folder of all runs, in which a record must name the model.
        trust: Whether to load a model though no record below `root` names it.
    """

    runs: str
    root: str
    trust: bool = False

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._place[1]

    @property
    def _place(self) -> tuple[str, str]:
        """The folder above that of the runs, and its name."""
        runs = self.runs if is_remote(self.runs) else os.path.abspath(self.runs)
        above, _, name = runs.rpartition("/")
        return above or "/", name

    def pointer(self) -> Pointer:
        """Reads the record.

        Raises:
            ArtifactError: It is absent, cannot be read, or does not say where the model is.
        """
        record = history.champion_of(*self._place)
        if record is None:
            raise ArtifactError(
                f"{self.runs} has no champion, since no run passed its gate; name a run"
            )
        run, metadata = (str(record.get(key) or "") for key in ("run", "metadata"))
        model = model_of(*self._place, record)
        if not (metadata and model):
            raise ArtifactError(
                f"{history.record_uri(*self._place, 'champion')} does not say which model run "
                f"{run} has, since an earlier version of Quatrain wrote it; name the run itself, "
                f"or run the pipeline again"
            )
        places = [f"{model.rstrip('/')}/model"]
        if not is_remote(self.runs):  # the folder of all runs may have been moved
            places.append(f"{self.runs}/{run}/model")
        return Pointer(run, metadata, places)

    def load(self) -> Version:
        """Loads the champion as of now.

        Raises:
            QuatrainError: There is none, or it is not the one that passed its gate.
        """
        return self.load_at(self.pointer())

    def load_at(self, pointer: Pointer) -> Version:
        """Loads the model that a record names.

        Raises:
            QuatrainError: It is gone, incomplete or altered.
        """
        complete = (place for place in pointer.places if exists(f"{place}/{METADATA}"))
        place = next(complete, None)
        if place is None:
            raise ArtifactError(
                f"the model of run {pointer.run} is not at {pointer.places[0]} any more; put it "
                f"back, or name another run"
            )

        def check(folder: Path) -> None:
            if (digest := sha256_of(folder / METADATA)) != pointer.metadata:
                raise ArtifactError(
                    f"{place}/{METADATA} is not the one that run {pointer.run} passed its gate "
                    f"with: its sha256 is {digest[:12]}..., champion.json says "
                    f"{pointer.metadata[:12]}...; put the run's own model back, or run again"
                )
            FixedModel(place, self.root, self.trust).check(folder)

        return load_version(place, pointer.run, check)


def source_of(place: str, root: str, trust: bool = False) -> FixedModel | FollowedChampion:
    """Returns the source that a place names: a model, a run, or the runs of a model.

    Args:
        place: The folder of a model or of a run; or `<root>/<name>`, whose champion is followed.
        root: The folder of all runs, in which a record must name the model.
        trust: Whether to load a model though no record names it.

    Raises:
        ArtifactError: The place is none of these.
    """
    runs = place.rstrip("/")
    if not exists(f"{runs}/{METADATA}") and exists(f"{runs}/statistics/champion.json"):
        return FollowedChampion(runs, root, trust)
    return FixedModel(find_model(place), root, trust)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Follower:
    """Keeps a slot at the champion.

    A champion that cannot be loaded is refused in a sentence, and the version in the slot goes on;
    it is tried again after pauses that double, in case a file or a bucket is back.

    Args:
        source: The champion.
        slot: Where the champion goes.
        counters: Counts swaps and refusals.
        poll_s: Seconds between two looks at the record.
        quiet: Returns a context for the time of a load, in which libraries write to stderr.
    """

    def __init__(
        self,
        source: FollowedChampion,
        slot: Slot,
        counters: Counters,
        poll_s: float,
        quiet: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._source, self._slot, self._counters = source, slot, counters
        self._poll_s, self._quiet = poll_s, quiet
        self._pause_s, self._refused_s, self._refused = poll_s, 0.0, ""

    def follow(self) -> None:
        """Looks at the record for as long as the process lives."""
        while True:
            time.sleep(self._poll_s)
            self.look()

    def look(self) -> None:
        """Looks at the record once, and swaps the version if it names another."""
        if time.monotonic() < self._refused_s:
            return
        former = self._slot.version
        try:
            pointer = self._source.pointer()
            if former and pointer.metadata == former.metadata:
                self._pause_s, self._refused = self._poll_s, ""
                return
            with self._quiet():
                version = self._source.load_at(pointer)
        except Exception as error:  # whatever it is, the version in the slot goes on
            self._refuse(error, former)
            return
        self._slot.version = version
        self._counters.swapped()
        self._pause_s, self._refused = self._poll_s, ""
        print(f"serving run {version.run} in place of {_run_of(former)}", flush=True)

    def _refuse(self, error: Exception, former: Version | None) -> None:
        """Prints why a champion is refused, unless it was refused so before."""
        self._counters.refused()
        self._refused_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        sentence = sentence_of(error) or f"{type(error).__name__}: {first_line(error)}"
        if sentence != self._refused:
            self._refused = sentence
            _warn(f"the champion is refused and run {_run_of(former)} goes on: {sentence}")


def _run_of(version: Version | None) -> str:
    return version.run if version else "none"
