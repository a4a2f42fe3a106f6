"""failure.json: why a job failed, where its outputs would have been, for who waits for it."""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from .job import Outputs
from .settings import TrainerError

if TYPE_CHECKING:
    from pyarrow import fs

NAME = "failure.json"
REFUSED, EXHAUSTED, BROKEN = 3, 4, 1
"""Exit codes: the rows or the settings cannot train a model, memory or disk ran out, a bug."""

_PHASES = {"examples": "read", "transform": "read", "export": "export", "checkpoints": "checkpoint"}
_EXHAUSTED = ("MemoryError", "ResourceExhaustedError")
MORE_MEMORY = "lower batch_size, or take a tier with more memory"
MORE_DISK = "free some, or take a tier with a larger disk"
_NO_SPACE = 28  # errno.ENOSPC


@dataclass(frozen=True)
class Failure:
    """What failure.json holds.

    Attributes:
        phase: read, train, checkpoint or export.
        reason: What was wrong, and the value seen.
        hint: The way out; empty when nobody knows one.
        exit_code: Of the process: 3 refused, 4 out of memory or disk, 1 a bug.
    """

    phase: str
    reason: str
    hint: str
    exit_code: int

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describes an error by its kind and by the module that raised it."""
        phase = phase_of(error)
        if isinstance(error, TrainerError):
            reason, _, hint = str(error).partition("; ")
            return cls(phase, reason, hint, REFUSED)
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        if type(error).__name__ in _EXHAUSTED:
            return cls(phase, f"memory ran out: {told}", MORE_MEMORY, EXHAUSTED)
        if isinstance(error, OSError) and error.errno == _NO_SPACE:
            return cls(phase, f"the disk is full: {told}", MORE_DISK, EXHAUSTED)
        return cls(phase, told, "", BROKEN)

    def __str__(self) -> str:
        return f"{self.reason}; {self.hint}" if self.hint else self.reason


def phase_of(error: BaseException) -> str:
    """Returns the phase of the deepest module of this package that an error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    modules = [PurePosixPath(f.filename).stem for f in frames]
    return next((_PHASES[m] for m in reversed(modules) if m in _PHASES), "train")


def record(failure: Failure, outputs: Outputs) -> None:
    """Writes failure.json beside the folder of the model; says so when even that fails."""
    try:
        files, path = _place(outputs)
        files.create_dir(str(PurePosixPath(path).parent), recursive=True)
        with files.open_output_stream(path) as stream:
            stream.write((json.dumps(asdict(failure), indent=1) + "\n").encode())
    except OSError as error:
        print(f"{NAME} could not be written: {error}", file=sys.stderr)


def forget(outputs: Outputs) -> None:
    """Removes the failure.json of an earlier attempt of the same job."""
    files, path = _place(outputs)
    with contextlib.suppress(FileNotFoundError):
        files.delete_file(path)


def _place(outputs: Outputs) -> tuple[fs.FileSystem, str]:
    from .storage import open_folder

    files, folder = open_folder(outputs.model.rstrip("/").rpartition("/")[0] or ".")
    return files, f"{folder}/{NAME}"
