"""The end of the step: the manifest, written last, or the error that stopped the run."""

from __future__ import annotations

import json

from quatrain.components import storage
from quatrain.components.errors import ErrorRecord, RunnerError
from quatrain.components.preprocess.job import ERROR, PENDING
from quatrain.components.preprocess.output_folder import MANIFEST, SPILL, Folder


def finish(folder: Folder) -> int:
    """Raises the error that stopped the run, or writes the manifest and returns the rows read."""
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
    folder.write(MANIFEST, pending)
    manifest = json.loads(pending)
    print(f"preprocess: files written: {len(manifest['files']):,}", flush=True)
    return int(manifest["rows"]["read"])
