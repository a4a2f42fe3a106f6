"""Explains what ends a run: a full disk, a lost worker or server, an error in a step's own code."""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import grpc

from quatrain.components import errors
from quatrain.components.errors import ArtifactError, QuatrainError, RunnerError, StepError
from quatrain.trainer.failure import full_disk
from quatrain.trainer.uris import in_bucket

LOST_WORKER = ("Channel closed prematurely", "SDK worker disconnected")
"""The messages of Beam's own runner, and of Prism, when a worker process has ended without an error
of its own."""
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(
    r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)'
    r"(?:\n +(?!File )(?P<code>\S.*))?",
    re.MULTILINE,
)
_STEP = re.compile(r" ?\[while running '(.*?)'\]")
"""What Beam appends to the message of an error."""
_MAX_CHARS = 2000
"""How much of another engine's own message is shown."""


@contextmanager
def explain_faults(out: str) -> Iterator[None]:
    """Turns a fault from outside into an error of one sentence; any other exception stays as it is.

    A worker's error reaches the driver as the text of its traceback, so the number of the system's
    error is looked up there. The error cannot travel as data, as others do: on a full disk there is
    nowhere to write it.

    Args:
        out: The folder that the run writes to.

    Raises:
        ArtifactError: The folder cannot be written.
        RunnerError: A worker process was lost.
    """
    try:
        yield
    except QuatrainError:
        raise
    except Exception as error:
        spilled = in_bucket(out)  # to the folder of temporary files
        if full := full_disk(error, "" if spilled else out):
            other = "set TMPDIR to a larger disk" if spilled else "name another place as the root"
            raise ArtifactError(
                f"{out} cannot be written: {full}; nothing was left there. Make room, or {other}"
            ) from error
        if any(text in str(error) for text in LOST_WORKER):
            raise RunnerError(
                "a worker process of Beam was lost; it was killed from outside, most often for "
                "want of memory. Nothing was written; run again, with fewer --workers if it recurs"
            ) from None
        raise


@contextmanager
def explain_engine() -> Iterator[None]:
    """Turns an exception that a Beam runner raises into an error of a few lines.

    Beam repeats an error's traceback through every layer of a runner, about 390 lines with those
    that it logs, of which a few are the step's own. Faults that `explain_faults` knows stay as they
    are.

    Raises:
        RunnerError: The job server is gone, or the engine ended the job for reasons of its own.
        StepError: A step's own code raised an error.
    """
    try:
        yield
    except QuatrainError:
        raise
    except grpc.FutureTimeoutError:
        raise RunnerError(
            "the job server takes the connection but does not answer; job_endpoint must be the "
            "address of a Beam job server that runs"
        ) from None
    except grpc.RpcError as error:
        details = str(error.details() if isinstance(error, grpc.Call) else error)
        raise RunnerError(
            f"the job server is gone, or refuses the job ({details[:_MAX_CHARS]}); nothing was "
            f"written. Start it again, and read its log"
        ) from None
    except Exception as error:
        text = str(error)
        if full_disk(error) or any(lost in text for lost in LOST_WORKER):
            raise
        if _TRACEBACK not in text and _STEP.search(text):  # raised in this process
            text = "".join(traceback.format_exception(error, chain=False))
        elif not isinstance(error, RuntimeError):  # a runner knows no other class
            raise
        raise _explained(text) from None


@contextmanager
def without_tracebacks() -> Iterator[None]:
    """Keeps the tracebacks that Beam prints and logs from the standard error.

    The last one is in the exception that Beam raises in the end.
    """
    logging.basicConfig()  # as Beam does itself, when there is a message
    handlers = list(logging.root.handlers)
    former = threading.excepthook
    threading.excepthook = lambda _: None  # of the threads that read a job's messages
    for handler in handlers:
        handler.addFilter(_is_no_traceback)
    try:
        with redirect_stderr(StreamWithoutTracebacks(sys.stderr)):
            yield
    finally:
        threading.excepthook = former
        for handler in handlers:
            handler.removeFilter(_is_no_traceback)


def _explained(text: str) -> QuatrainError:
    """Returns the error that the last traceback of a text describes."""
    last = text.rpartition(_TRACEBACK)[2]
    frames = list(_FRAME.finditer(last))
    n_outer = max((i for i, m in enumerate(frames, 1) if "apache_beam" in m["file"]), default=0)
    lines = last.strip().splitlines()
    n_indented = max((i for i, line in enumerate(lines, 1) if line.startswith(" ")), default=0)
    raised = "\n".join(lines[n_indented:]).strip()
    step = _STEP.search(raised)
    kind, _, message = _STEP.sub("", raised).partition(": ")
    known = getattr(errors, kind.rpartition(".")[2], None)
    if isinstance(known, type) and issubclass(known, QuatrainError):
        return known(message)
    if not frames[n_outer:] or not step:
        end = raised[:_MAX_CHARS] or text[-_MAX_CHARS:]
        return RunnerError(f"the engine ended the job; read its log, which ends so: {end}")
    own = [f"{m['file']}:{m['line']} in {m['function']}: {m['code']}" for m in frames[n_outer:]]
    return StepError(
        f"step {step[1]} raised {kind}: {message}; Quatrain does not expect that, so report it "
        f"with these lines:\n" + "\n".join(own)
    )


def _is_no_traceback(record: logging.LogRecord) -> bool:
    return not record.exc_info and _TRACEBACK not in record.getMessage()


class StreamWithoutTracebacks:
    """A stream that leaves out tracebacks which are printed in one piece, as Beam's workers do."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._end = stream, ""

    def write(self, text: str) -> int:
        """Writes a text, unless it is a traceback or the end of its line."""
        if text == self._end or _TRACEBACK in text:
            self._end = "\n" if text != self._end else ""
            return len(text)
        self._end = ""
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
