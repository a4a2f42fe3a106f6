"""Turns a table into a trained, evaluated and served TensorFlow model."""

# This file imports nothing: for `python -m quatrain`, it runs before __main__.py has made the path
# safe, and a user's folder may hold a typing.py. Type checkers take this name for typing's.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from quatrain.components.errors import (
        ArtifactError,
        DataError,
        DriftFailed,
        FrameError,
        GateFailed,
        PackageError,
        QuatrainError,
        RunnerError,
        SourceError,
        SpecError,
        TierError,
        TrainingFailed,
    )
    from quatrain.draft.propose import Proposal
    from quatrain.face.champions import models, promote, rollback
    from quatrain.face.check import CheckedSpec, check
    from quatrain.face.init import init
    from quatrain.face.run import run
    from quatrain.face.runs import Runs, runs
    from quatrain.local.run import GateStepFailed, RunInterrupted, StepFailed
    from quatrain.results.measured import UnknownMetric
    from quatrain.results.model import Model, load_model
    from quatrain.results.run import Run

__all__ = [
    "ArtifactError",
    "CheckedSpec",
    "DataError",
    "DriftFailed",
    "FrameError",
    "GateFailed",
    "GateStepFailed",
    "Model",
    "PackageError",
    "Proposal",
    "QuatrainError",
    "Run",
    "RunInterrupted",
    "RunnerError",
    "Runs",
    "SourceError",
    "SpecError",
    "StepFailed",
    "TierError",
    "TrainingFailed",
    "UnknownMetric",
    "__version__",
    "check",
    "init",
    "load_model",
    "models",
    "promote",
    "rollback",
    "run",
    "runs",
]
__version__: str

_HOMES = {
    "init": "face.init",
    "check": "face.check",
    "CheckedSpec": "face.check",
    "models": "face.champions",
    "promote": "face.champions",
    "rollback": "face.champions",
    "run": "face.run",
    "runs": "face.runs",
    "Runs": "face.runs",
    "Proposal": "draft.propose",
    "GateStepFailed": "local.run",
    "RunInterrupted": "local.run",
    "StepFailed": "local.run",
    "UnknownMetric": "results.measured",
    "Run": "results.run",
    "Model": "results.model",
    "load_model": "results.model",
}
"""The module of each public name; errors come from `quatrain.components.errors`."""


if not TYPE_CHECKING:  # else every misspelt name would pass a type checker

    def __getattr__(name: str) -> object:
        """Loads a public name when it is first used (PEP 562), so that the import is quick."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from quatrain.calls import USERS_MODULES_LAST

        with USERS_MODULES_LAST:
            if name == "__version__":
                from importlib.metadata import version

                return version("quatrain")
            from importlib import import_module

            value: object = getattr(
                import_module(f"quatrain.{_HOMES.get(name, 'components.errors')}"), name
            )
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
