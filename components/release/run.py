"""The release of a run's own model, by a task of its pipeline."""

from __future__ import annotations

import json
from pathlib import Path

from quatrain.components import history
from quatrain.components.buckets import HERE
from quatrain.components.errors import ReleaseError
from quatrain.components.release.applier import Applier
from quatrain.components.release.of_run import candidate_of
from quatrain.components.release.service import Service
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.release import Release
from quatrain.components.storage import read_file
from quatrain.trainer.failure import NAME
from quatrain.trainer.uris import by_uri


def release_run(
    spec: str, root: str, run: str, project: str, location: str, image: str, released: str
) -> None:
    """Releases the champion if it is this run's, and prints and writes how far that got.

    On this machine, it prints what Vertex AI would get.

    Args:
        spec: The spec, as it travels through the pipeline.
        root: The folder of all runs.
        run: The name of the run.
        project: The project of the job.
        location: The region of the job.
        image: The image that serves the model.
        released: The file that gets the sentence.

    Raises:
        ReleaseError: It failed, now or at an earlier attempt; the version before serves as it did.
    """
    checked = read_parameter(spec)
    settings = checked.release or Release()
    if project == HERE:
        sentence = settings.in_words(checked.name)
    else:
        _require_no_failure(by_uri(str(Path(released).parent)))
        champion = history.champion_of(root, checked.name)
        if champion is None or champion["run"] != run:
            other = f"run {champion['run']}" if champion else "no run"
            sentence = f"{other} has the champion's place by now, so nothing is released"
        else:
            candidate = candidate_of(root, checked.name, run, image)
            applier = Applier(Service(project, location), candidate, settings, _report, anew=False)
            sentence = applier.apply()
    _report(sentence)
    path = Path(released)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sentence, encoding="utf-8")


def _report(words: str) -> None:
    print(f"release: {words}", flush=True)


def _require_no_failure(folder: str) -> None:
    """Ends an attempt that repeats one which has failed; one that was killed is gone on with.

    The model would be deployed, and given traffic, once more, and fail by the same cause.

    Raises:
        ReleaseError: An earlier attempt has left why it failed.
    """
    try:
        failure = json.loads(read_file(f"{folder}/{NAME}"))
    except FileNotFoundError:
        return
    if failure["kind"] == ReleaseError.__name__:
        raise ReleaseError("; ".join(filter(None, (failure["reason"], failure["advice"]))))
