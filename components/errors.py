"""The errors that a user can mend; the command line prints them without a traceback."""


class QuatrainError(Exception):
    """What was wrong, the value seen, what is allowed and the way out, in one message."""


class SpecError(QuatrainError):
    """The spec is wrong; the message lists every problem with its place."""


class SourceError(QuatrainError):
    """The source cannot be read as the spec says."""


class SourceDenied(SourceError):
    """These credentials may not read or list the source; another account may."""


class BucketError(QuatrainError):
    """A bucket of the run is not regional in the job's region, or cannot be asked."""


class RunnerError(QuatrainError):
    """The engine of the preprocess step is refused, set wrongly, or did not end well."""


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


class GateFailed(QuatrainError):
    """The model missed a bound of the gate; it is kept, not promoted."""
