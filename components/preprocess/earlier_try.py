"""Ends a retry at once when an error of the data ended the try before it.

KFP retries a task whatever its error was: it knows no exit code that says "do not". The same rows
fail again, at the price of another pass over them, or of another Dataflow job. So the first try
leaves its error beside its artifact, where a retry of the same task looks first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict

from quatrain.components import storage
from quatrain.components.artifacts import canonical_json, json_bytes
from quatrain.components.errors import DataError, ErrorRecord, QuatrainError, SpecError
from quatrain.components.preprocess.output_folder import Folder

SUFFIX = ".failed"
"""Behind the artifact's uri: the folder of the record, since a failed try clears the artifact."""
RECORD = "error.json"


@contextmanager
def earlier_try(out: str, inputs: Sequence[str]) -> Iterator[None]:
    """Raises the error of an earlier try of the same inputs; records an error of this one.

    On this machine every try has a folder of its own, so there is nothing to find or to leave.

    Args:
        out: The artifact, a path or gs:// uri.
        inputs: What decides the result: with other inputs the step runs.

    Raises:
        DataError: An earlier try of these inputs ended with it.
        SpecError: Likewise.
    """
    if not storage.is_remote(out):
        yield
        return
    folder = Folder(out.rstrip("/") + SUFFIX)
    digest = hashlib.sha256(canonical_json(list(inputs)).encode()).hexdigest()
    if error := _recorded(folder, digest):
        print("preprocess: the try before failed on the same data: nothing is read", flush=True)
        raise error
    try:
        yield
    except (DataError, SpecError) as error:
        with suppress(OSError):  # the retry then reads the data again; the error is what counts
            record = {**asdict(ErrorRecord.of(error)), "inputs": digest}
            folder.write(RECORD, json_bytes(record))
        raise


def _recorded(folder: Folder, digest: str) -> QuatrainError | None:
    """Returns the error of an earlier try of the inputs with this digest, if it left one."""
    if (text := folder.read(RECORD)) is None:
        return None
    try:
        record = json.loads(text)
        return ErrorRecord(**record).error if record.pop("inputs") == digest else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        place = folder.path(RECORD)
        print(f"preprocess: {place} is damaged, so the data are read again", flush=True)
        return None
