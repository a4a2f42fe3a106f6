"""Fixtures of the trainer's tests; training costs seconds, so trained models are shared."""

from pathlib import Path

import pytest

from tests.trainer.small import write_examples


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Examples of a binary task."""
    return write_examples(tmp_path_factory.mktemp("binary") / "examples")
