"""The exported models of the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.components.handmade import CLASSES, export_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An exported model of each task, in `<artifact>/model` as the training job leaves it."""
    root = tmp_path_factory.mktemp("models")
    return {task: export_model(root / task / "model", task) for task in CLASSES}
