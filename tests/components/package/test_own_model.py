"""A model.py of the user's takes the place of the trainer's."""

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from quatrain.components.errors import PackageError
from quatrain.components.package.publishing import check_trainer, default_trainer_dir, sources_of

OWN = Path(__file__).parents[3] / "examples/own-model/model.py"


def test_a_file_takes_the_place_of_model_py_and_all_else_stays() -> None:
    with sources_of(str(OWN)) as folder:
        assert (folder / "model.py").read_bytes() == OWN.read_bytes()
        names = {p.name for p in folder.glob("*.py")}
    assert names == {p.name for p in default_trainer_dir().glob("*.py")}
    assert not folder.exists()


def test_the_example_is_a_package_that_may_be_built() -> None:
    check_trainer(str(OWN))


def test_the_example_is_imported_by_the_name_that_ships() -> None:
    code = "import sys, trainer.model; sys.exit('quatrain' in sys.modules)"
    with sources_of(str(OWN)) as folder:
        environment = {**os.environ, "PYTHONPATH": str(folder.parent)}
        command = [sys.executable, "-P", "-c", code]
        assert subprocess.run(command, env=environment, check=False).returncode == 0


def test_a_model_that_imports_what_the_image_lacks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import torch\n")
    with pytest.raises(PackageError, match=r"model\.py:1: imports torch"):
        check_trainer(str(tmp_path / "mine.py"))


def test_a_missing_trainer_is_named(tmp_path: Path) -> None:
    expected = (
        r"train\.trainer: .*mine does not exist; give a \.py file with `train`, or a folder with "
        r"pyproject\.toml, __init__\.py, task\.py and model\.py$"
    )
    with pytest.raises(PackageError, match=expected):
        check_trainer(str(tmp_path / "mine"))


def test_every_name_that_the_page_promises_can_be_imported() -> None:
    page = (OWN.parents[2] / "docs/own-model.md").read_text()
    names = set(re.findall(r"`trainer\.(\w+)\.(\w+)`", page))
    assert ("examples", "read_examples") in names
    for module, name in names:
        assert hasattr(import_module(f"quatrain.trainer.{module}"), name)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def fit(job): pass\n", r"model\.py has no `train`"),
        ("", r"model\.py has no `train`"),
        ("class A:\n    def train(self): pass\n", r"model\.py has no `train`"),
        ("def train(job:\n", r"model\.py:1: '\(' was never closed"),
        ("x = 1\0", r"model\.py:?\d*: .*null bytes"),
    ],
)
def test_a_file_that_cannot_train_is_refused_by_its_own_name(
    tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(PackageError, match=rf"(?s)train\.trainer: .*mine\.py .*{problem}"):
        check_trainer(str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    "text",
    [
        "def train(job): pass\n",
        "def _fit(job): pass\ntrain = _fit\n",
        "from json import loads as train\n",
        "try:\n    train = 1\nexcept ImportError:\n    pass\n",
    ],
)
def test_train_may_be_defined_imported_or_assigned(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    check_trainer(str(tmp_path / "mine.py"))


def test_a_link_in_a_trainer_that_leads_in_a_circle_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(default_trainer_dir(), folder)
    (folder / "loop.py").symlink_to("loop.py")
    with pytest.raises(PackageError, match=r"loop\.py points outside the folder"):
        check_trainer(str(folder))
