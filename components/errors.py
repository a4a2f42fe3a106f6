"""The errors that a user can fix; the command line prints them without a traceback."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from itertools import takewhile
from types import FrameType

_FULL = "import sys, traceback; traceback.print_exception(sys.last_value)"
_SHELL = ("IPython.", "ipykernel.")


class QuatrainError(Exception):
    """What was wrong, the value seen, what is allowed and the way out, in one message."""

    def _render_traceback_(self) -> list[str]:
        """Returns the lines that IPython shows; it looks for this name."""
        return short_traceback(self)


class SpecError(QuatrainError):
    """The spec is wrong; the message lists every problem with its place."""


class SourceError(QuatrainError):
    """The source cannot be read as the spec says."""


class SourceDenied(SourceError):
    """These credentials may not read or list the source; another account may."""


class FrameError(QuatrainError):
    """What was passed for a table in memory is none, or has a column that no file could hold."""


class BucketError(QuatrainError):
    """A bucket of the run is not regional in the job's region, or its region is unknown."""


class RunnerError(QuatrainError):
    """The engine of a step is refused, has a wrong option, or failed."""


class StepError(QuatrainError):
    """The code of a step raised an error that Quatrain does not expect."""


class DataError(QuatrainError):
    """The rows were read but cannot train a model."""


class DriftFailed(QuatrainError):
    """The rows differ from an earlier run's by more than the spec allows; nothing was trained."""


class PackageError(QuatrainError):
    """The trainer package failed one of its proofs."""


class TierError(QuatrainError):
    """The tier is unknown or asks for hardware that Vertex would refuse."""


class TrainingFailed(QuatrainError):
    """The training job ended without a model."""


class ArtifactError(QuatrainError):
    """An artifact between steps is absent, incomplete or altered."""


class PortError(QuatrainError):
    """The server cannot listen on the port of its environment."""


class GateFailed(QuatrainError):
    """The model missed a bound of the gate; it is kept, not promoted."""


class ReleaseError(QuatrainError):
    """A release failed or was refused; the version before serves as it did."""


class ServedError(QuatrainError):
    """The requests that a model serves cannot be logged, or read from their log."""


@dataclass(frozen=True)
class ErrorRecord:
    """An error as data, so that it reaches the driver of a Beam pipeline as it was raised.

    An exception would not: Beam may retry the worker up to four times, and then hands over the text
    of a traceback without the class of the exception.

    Attributes:
        kind: The name of the error's class.
        message: The error's message.
    """

    kind: str
    message: str

    @classmethod
    def of(cls, error: QuatrainError) -> ErrorRecord:
        """Returns the record of an error."""
        return cls(type(error).__name__, str(error))

    @property
    def error(self) -> QuatrainError:
        """The error, to be raised."""
        return _KINDS[self.kind](self.message)


def _kinds(kind: type[QuatrainError]) -> dict[str, type[QuatrainError]]:
    """Returns an error class and all classes below it, by name."""
    subclasses = (_kinds(subclass) for subclass in kind.__subclasses__())
    return {kind.__name__: kind, **{name: k for kinds in subclasses for name, k in kinds.items()}}


_KINDS = _kinds(QuatrainError)


def short_traceback(error: BaseException) -> list[str]:
    """Returns what a notebook shows: the message, and the calls that led into Quatrain.

    IPython shows what `_render_traceback_` of an exception returns, one text for each line:
    https://ipython.readthedocs.io/en/stable/config/integrating.html. Its own form of a missed gate
    has 194 lines, of which the sentence is the last.
    """
    calls = traceback.walk_tb(error.__traceback__)
    own = takewhile(lambda call: not _is_in(call[0], "quatrain."), calls)
    frames = [call for call in own if not _is_in(call[0], *_SHELL)]
    return [
        *f"{type(error).__name__}: {error}".splitlines(),
        "",
        *"".join(traceback.StackSummary.extract(iter(frames)).format()).splitlines(),
        f"The full traceback: {_FULL}",
    ]


def _is_in(frame: FrameType, *packages: str) -> bool:
    return f"{frame.f_globals.get('__name__')}.".startswith(packages)
