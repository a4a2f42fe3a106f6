"""failure.json: why a job failed, written where its model would be, for whoever waits for it."""

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
"""Exit codes: the rows or settings cannot train a model; memory or disk ran out; a bug."""

_PHASES = {"examples": "read", "transform": "read", "export": "export", "checkpoints": "checkpoint"}
_EXHAUSTED = ("MemoryError", "ResourceExhaustedError")
MORE_MEMORY = "lower batch_size, or take a tier with more memory"
MORE_DISK = "free some, or take a tier with a larger disk"
_NO_SPACE = 28  # errno.ENOSPC


@dataclass(frozen=True)
class Failure:
    """The contents of failure.json.

    Attributes:
        phase: read, train, checkpoint or export; arguments if they are wrong.
        reason: What was wrong, with the value.
        hint: The way out; empty if there is none to name.
        exit_code: Exit code of the process: 3 refused, 4 out of memory or disk, 1 a bug, 2 wrong
            arguments.
    """

    phase: str
    reason: str
    hint: str
    exit_code: int

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describes an error by its class and by the module that raised it.

        The sentence of a TrainerError is the reason up to its first semicolon, and the hint after.
        """
        phase = phase_of(error)
        if isinstance(error, TrainerError):
            reason, _, hint = str(error).partition("; ")
            return cls(phase, reason, hint, REFUSED)
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        if type(error).__name__ in _EXHAUSTED:  # by name: TensorFlow's may not be imported yet
            return cls(phase, f"memory ran out: {line}", MORE_MEMORY, EXHAUSTED)
        if isinstance(error, OSError) and error.errno == _NO_SPACE:
            return cls(phase, f"the disk is full: {line}", MORE_DISK, EXHAUSTED)
        return cls(phase, line, "", BROKEN)

    def __str__(self) -> str:
        return f"{self.reason}; {self.hint}" if self.hint else self.reason


def phase_of(error: BaseException) -> str:
    """Returns the phase of the innermost module of this package in an error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    modules = [PurePosixPath(f.filename).stem for f in frames]
    return next((_PHASES[m] for m in reversed(modules) if m in _PHASES), "train")


def record(failure: Failure, outputs: Outputs) -> None:
    """Writes failure.json beside the model's folder; prints a line if even that fails."""
    try:
        files, path = _place(outputs)
        files.create_dir(str(PurePosixPath(path).parent), recursive=True)
        with files.open_output_stream(path) as stream:
            stream.write((json.dumps(asdict(failure), indent=1) + "\n").encode())
    except OSError as error:
        print(f"{NAME} could not be written: {error}", file=sys.stderr)


def forget(outputs: Outputs) -> None:
    """Removes the failure.json of an earlier attempt of the same job, if there is one."""
    files, path = _place(outputs)
    with contextlib.suppress(FileNotFoundError):
        files.delete_file(path)


def _place(outputs: Outputs) -> tuple[fs.FileSystem, str]:
    """Returns the file system and the path of failure.json."""
    from .storage import open_folder

    files, folder = open_folder(outputs.model.rstrip("/").rpartition("/")[0] or ".")
    return files, f"{folder}/{NAME}"
