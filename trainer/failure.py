"""failure.json: why a job failed, written where its model would be, for whoever waits for it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .job import Outputs
from .settings import TrainerError
from .uris import BUCKET, by_uri, in_bucket

if TYPE_CHECKING:
    from pyarrow import fs

NAME = "failure.json"
REFUSED, EXHAUSTED, BROKEN, LOST = 3, 4, 1, 138
"""Exit codes: the rows, settings or rights cannot train a model; memory or disk ran out; a bug;
another replica was lost. Vertex AI ends a job at a code up to 127, and starts a replica again at
one above (https://cloud.google.com/vertex-ai/docs/training/understanding-training-service). Of
these, Kubeflow's TFJob leaves 138 (128 + SIGUSR1) to the user for a fault that is worth a retry."""

STOPPED = 143
"""128 + SIGTERM: the service ended the replica, for a reason that lies elsewhere."""

MORE_MEMORY = "lower batch_size, or take a tier with more memory"
MORE_DISK = "make room there, or set TMPDIR to a folder of a larger disk"
NO_SPACE = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "has no quota left",
    errno.EFBIG: "takes no larger file",
}
"""What is wrong with a disk, by the number of the system's error that ends a write."""

_PHASES = {"examples": "read", "transform": "read", "export": "export", "checkpoints": "checkpoint"}
_EXHAUSTED = ("MemoryError", "ResourceExhaustedError")
_LOSSES = ("UnavailableError", "AbortedError")
_LOSS = re.compile(
    r"Socket closed|Connection reset|Connection refused|failed to connect|heartbeat"
    r"|coordination service|Collective ops is aborted|barrier",
    re.IGNORECASE,
)
"""What TensorFlow reports when a replica that it trains with is gone."""
_NUMBERS = {"PermissionDeniedError": errno.EACCES, "NotFoundError": errno.ENOENT}
_OF_STORAGE = re.compile(r"gs://[^\s'\"]+")
_PATIENCE_S = 5.0
"""How long a replica that lost another one waits for that one's cause, before it writes its own."""
_STARTED = time.time()


@dataclass(frozen=True)
class Failure:
    """The contents of failure.json.

    Attributes:
        phase: read, train, checkpoint or export; arguments if they are wrong.
        reason: What was wrong, with the value.
        hint: The way out; empty if there is none to name.
        exit_code: Exit code of the process: 3 refused, 4 out of memory or disk, 1 a bug, 2 wrong
            arguments, 138 another replica was lost, or 128 and the signal that killed it.
    """

    phase: str
    reason: str
    hint: str
    exit_code: int

    @classmethod
    def of(cls, error: BaseException, *, alone: bool = True) -> Failure:
        """Describes an error by its class and by the module that raised it.

        The sentence of a TrainerError is the reason up to its first semicolon, and the hint after.

        Args:
            error: What ended the training.
            alone: Whether this is the only replica, so that it cannot have lost another one.
        """
        phase = phase_of(error)
        if isinstance(error, TrainerError):
            reason, _, hint = by_uri(str(error)).partition("; ")
            return cls(phase, reason, hint, REFUSED)
        # TensorFlow begins with the node of its graph, in braces.
        text = re.sub(r"^\{\{.*?\}\} ", "", by_uri(str(error)))
        line = f"{type(error).__name__}: {text}".splitlines()[0]
        if not alone and _is_loss(error):
            reason = f"another replica of this job was lost: {line}"
            return cls(
                phase, reason, "its own log says why; the job may go on once it is back", LOST
            )
        if full := full_disk(error):
            return cls(phase, full, MORE_DISK, EXHAUSTED)
        if type(error).__name__ in _EXHAUSTED:  # by name: TensorFlow's may not be imported yet
            return cls(phase, f"memory ran out: {line}", MORE_MEMORY, EXHAUSTED)
        if isinstance(error, OSError) and error.filename is not None:
            return cls(phase, *_of_file(error), REFUSED)
        if _is_tensorflows(error) and (uri := _OF_STORAGE.search(text)):
            number = _NUMBERS.get(type(error).__name__, errno.EIO)
            return cls(phase, *_of_file(OSError(number, line, uri[0])), REFUSED)
        return cls(phase, line, "", BROKEN)

    def __str__(self) -> str:
        return f"{self.reason}; {self.hint}" if self.hint else self.reason

    @property
    def is_consequence(self) -> bool:
        """Whether the cause lies elsewhere: with another replica, or with the service."""
        return self.exit_code in (LOST, STOPPED)


def full_disk(error: BaseException, folder: str = "") -> str:
    """Returns which disk is full, if that is what an error is about; else an empty text.

    Args:
        error: Any error: a child process, a worker of Beam and TensorFlow report the system's error
            in a text only.
        folder: A folder on the disk that was written to; by default that of the error's file, or
            that of temporary files, where what goes to a bucket waits.
    """
    text, name = str(error), getattr(error, "filename", None)
    number = getattr(error, "errno", None)
    if found := re.search(r"\[Errno (\d+)\]", text):
        number = number or int(found[1])
    if os.strerror(errno.ENOSPC) in text:
        number = errno.ENOSPC
    if number not in NO_SPACE:
        return ""
    if not folder and isinstance(name, str) and not in_bucket(name):
        folder = os.path.dirname(os.path.abspath(name))
    folder = os.path.abspath(folder or tempfile.gettempdir())
    place = next(p for p in (Path(folder), *Path(folder).parents) if p.exists())
    size_mb = shutil.disk_usage(place).total / 1e6
    why = f"{NO_SPACE[number]} ({os.strerror(number)})"
    return f"the disk of {folder}, with {size_mb:,.0f} MB in all, {why}"


def _of_file(error: OSError) -> tuple[str, str]:
    """Returns the reason and the hint of an error that names its file or object."""
    uri = by_uri(str(error.filename))
    if error.errno == errno.ENOENT:
        return f"{uri} does not exist", "run the step that writes it again"
    if error.errno in (errno.EACCES, errno.EPERM):
        bucket = uri.removeprefix(BUCKET).partition("/")[0]
        allow = (
            f"give the account of the run roles/storage.objectUser on {BUCKET}{bucket}"
            if uri.startswith(BUCKET)
            else "give this account the right to"
        )
        return f"{uri} may not be used by this account ({error.strerror})", allow
    return f"{uri} cannot be used: {error.strerror}", "try again when its storage answers"


def _is_loss(error: BaseException) -> bool:
    """Whether an error of TensorFlow is about another replica, and not about storage."""
    text = str(error)
    if "gs://" in text or "HTTP" in text:
        return False
    if type(error).__name__ in _LOSSES:
        return True
    return _is_tensorflows(error) and _LOSS.search(text) is not None


def _is_tensorflows(error: BaseException) -> bool:
    return type(error).__module__.startswith("tensorflow")


def phase_of(error: BaseException) -> str:
    """Returns the phase of the innermost module of this package in an error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    modules = [PurePosixPath(f.filename).stem for f in frames]
    return next((_PHASES[m] for m in reversed(modules) if m in _PHASES), "train")


def record(failure: Failure, outputs: Outputs, patience_s: float = _PATIENCE_S) -> None:
    """Writes failure.json beside the model's folder; prints a line if even that fails.

    The replicas of a job write the same file, and the first cause stays: a consequence replaces
    nothing, and a cause only a consequence or the record of an earlier attempt.

    Args:
        failure: Why this replica ends.
        outputs: The places of the job's outputs.
        patience_s: How long a consequence waits for its cause, which a dying replica writes at the
            same time: a bucket has no lock, and Arrow no preconditions.
    """
    try:
        if failure.is_consequence:
            time.sleep(patience_s)
        files, path = _place(outputs)
        former, written_at = _read(files, path)
        if former is not None and (
            failure.is_consequence or (not former.is_consequence and written_at >= _STARTED)
        ):
            print(f"{NAME} already names the cause: {former}", file=sys.stderr)
            return
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


def _read(files: fs.FileSystem, path: str) -> tuple[Failure | None, float]:
    """Returns the failure that is recorded and when it was; None if there is none to be read."""
    try:
        with files.open_input_stream(path, compression=None) as stream:
            former = Failure(**json.loads(stream.read()))
        return former, files.get_file_info(path).mtime_ns / 1e9
    except (OSError, ValueError, TypeError):
        return None, 0.0


def _place(outputs: Outputs) -> tuple[fs.FileSystem, str]:
    """Returns the file system and the path of failure.json."""
    from .storage import open_folder  # and pyarrow, which --help does not need

    files, folder = open_folder(outputs.model.rstrip("/").rpartition("/")[0] or ".")
    return files, f"{folder}/{NAME}"
