"""What the records of a model keep from being deleted: its champion, and what that leads to."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from quatrain.components import history
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import MISSHAPEN
from quatrain.components.storage import list_times, read_file
from quatrain.components.versions import place_of
from quatrain.trainer.failure import Failure

CLAIM_S = 3600.0
"""How long a move that was written holds its version: the champion's record follows at once."""


@dataclass(frozen=True)
class Protection:
    """Why runs of a model stay, by their ids.

    Attributes:
        runs: The champion's run, and those that its record and its lineage name.
        versions: The same, and those that a rollback or a promotion under way goes to.
    """

    runs: dict[str, str]
    versions: dict[str, str]


def protection_of(root: str, name: str, keep_versions: int) -> Protection:
    """Returns what the records of a model name as of now.

    Args:
        root: The folder of all runs, local or gs://.
        name: The model.
        keep_versions: How many champions before the present one can be gone back to.

    Raises:
        ArtifactError: A record cannot be read, so that nothing of the model may be deleted.
    """
    champion = history.champion_of(root, name)
    runs: dict[str, str] = {}
    moves = history.moves(root, name)
    if champion:
        runs[str(champion["run"])] = "the champion"
        if best := champion.get("best"):
            runs.setdefault(str(best["run"]), "the best earlier model, which the champion's names")
        for run in _lineage(root, name, str(champion["run"])):
            runs.setdefault(run, "the champion was compared with it")
    versions = dict(runs)
    former = [str(move["run"]) for move in reversed(moves)]
    former += [str(moves[0]["before"])] if moves else []
    distinct = [run for run in dict.fromkeys(former) if run and run != (champion or {}).get("run")]
    for run in distinct[:keep_versions]:
        versions.setdefault(run, "a rollback may go back to it")
    for run in _claims(root, name):
        versions.setdefault(run, "a move to it was written within the hour")
    return Protection(runs, versions)


def _lineage(root: str, name: str, run: str) -> list[str]:
    """Returns the runs that the champion was compared with, as its lineage.json names them."""
    measured = history.measured_run(root, name, run)
    places = [place_of(root, name, run)]
    places += [str(measured["artifacts"].get("evaluation", ""))] if measured else []
    for place in filter(None, places):
        try:
            lineage = json.loads(read_file(f"{place}/lineage.json"))
            rivals = (lineage.get("champion"), lineage.get("best"))
            return [str(rival["run"]) for rival in rivals if rival]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ArtifactError(str(Failure.of(error))) from error
        except MISSHAPEN as error:
            raise ArtifactError(
                f"{place}/lineage.json is cut short or altered ({error}); put it back, or promote "
                f"another run"
            ) from error
    return []


def _claims(root: str, name: str) -> list[str]:
    """Returns the runs to which a move was written lately, whether or not it took place."""
    folder = history.record_uri(root, name, history.MOVES).removesuffix(".json")
    try:
        times = list_times(folder)
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
    recent = (file for file, written_s in times.items() if time.time() - written_s < CLAIM_S)
    # A file is named by its time, as 2026-12-01T060000.000+0000, a hyphen and its run.
    return [file.removesuffix(".json").partition("+0000-")[2] for file in recent]
