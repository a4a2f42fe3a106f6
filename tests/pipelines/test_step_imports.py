"""A step whose work is small imports none of the libraries that take seconds."""

import ast
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from quatrain.components.evaluate.component import gate
from quatrain.components.package.component import package
from quatrain.components.prediction.component import compare_inputs, find_inputs
from quatrain.components.preprocess.component import find_files
from quatrain.components.preprocess.drift.component import compare
from quatrain.components.release.component import release
from quatrain.components.train.component import choose, plan

SLOW = ("tensorflow", "keras", "lightgbm", "apache_beam", "pandas", "google.cloud.aiplatform")


def imports_of(step) -> str:
    """Returns the imports of a step's doorway, as a program."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(step.python_func)))
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    return "\n".join(map(ast.unparse, found))


small_steps = pytest.mark.parametrize(
    "step",
    [find_files, compare, package, plan, choose, gate, find_inputs, compare_inputs, release],
    ids=lambda step: step.name,
)


@small_steps
def test_a_small_step_is_imported_without_the_collector(step):
    """It would take a fifth of the step's time."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(step.python_func)))
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.With)]
    [block] = [b for b in blocks if ast.unparse(b.items[0]) == "uncollected()"]
    assert "\n".join(map(ast.unparse, block.body)) == imports_of(step).partition("\n")[2]


@small_steps
def test_a_small_step_imports_no_slow_library(step):
    program = imports_of(step)
    assert "quatrain.components" in program
    program += f"\nimport sys\nprint([name for name in {SLOW} if name in sys.modules])"
    completed = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout == "[]\n"
