"""`import quatrain` is cheap, and offers what it lists."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import quatrain

HEAVY = {"apache_beam", "kfp", "tensorflow", "keras", "google.cloud"}


def modules_after(code: str) -> set[str]:
    """Returns the modules that a statement imports in a new process."""
    program = f"import sys; before = {{*sys.modules}}; {code}; print(*{{*sys.modules}} - before)"
    completed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return set(completed.stdout.split())


def test_importing_quatrain_imports_nothing_else():
    assert modules_after("import quatrain") == {"quatrain"}


def test_checking_a_spec_imports_no_library_of_the_steps():
    imported = modules_after("import quatrain; quatrain.init, quatrain.check, quatrain.SpecError")
    assert "quatrain.face.check" in imported
    assert not HEAVY & imported


def test_everything_that_is_listed_is_there():
    assert dir(quatrain) == sorted(quatrain.__all__)
    for name in quatrain.__all__:
        assert getattr(quatrain, name) is not None


def test_every_listed_error_is_a_quatrain_error():
    errors = [v for v in map(quatrain.__getattr__, quatrain.__all__) if isinstance(v, type)]
    errors = [error for error in errors if issubclass(error, BaseException)]
    assert len(errors) > 5
    assert all(issubclass(error, (quatrain.QuatrainError, KeyboardInterrupt)) for error in errors)


def test_every_error_that_a_call_may_end_with_is_listed():
    from quatrain.local.run import GateStepFailed, RunInterrupted

    assert quatrain.GateStepFailed is GateStepFailed
    assert quatrain.RunInterrupted is RunInterrupted


def test_the_version_is_the_distribution_s():
    assert quatrain.__version__ == version("quatrain")
    assert "__version__" in dir(quatrain)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'quatrain' has no attribute 'runn'"):
        quatrain.runn  # noqa: B018
