"""The end of the step: the manifest, written last, or the error that stopped the run."""

from __future__ import annotations

import json
from collections.abc import Mapping

from quatrain.components import storage
from quatrain.components.errors import ErrorRecord, RunnerError
from quatrain.components.preprocess.job import ERROR, PENDING
from quatrain.components.preprocess.output_folder import MANIFEST, SPILL, Folder


def finish(folder: Folder, versions: Mapping[str, str] = {}) -> int:
    """Raises the error that stopped the run, or writes the manifest and returns the rows read.

    Args:
        folder: The folder of this attempt.
        versions: The version of each file that was read; by default none is listed.
    """
    if record := folder.scratch.read(ERROR):
        raise ErrorRecord(**json.loads(record)).error
    pending = folder.scratch.read(PENDING)
    if pending is None:
        raise RunnerError(
            f"the engine says that all is done, but there is no {SPILL}/{PENDING}, which it writes "
            "last: it lost work; run again with --runner local"
        )
    if not folder.scratch_path:
        storage.remove_folder(folder.path(SPILL))
    manifest = {**json.loads(pending), "source": dict(versions)}
    folder.write_json(MANIFEST, manifest)
    print(f"preprocess: files written: {len(manifest['files']):,}", flush=True)
    return int(manifest["rows"]["read"])
