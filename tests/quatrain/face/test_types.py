"""A script of a user that calls all of `import quatrain` passes the strictest type check."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
from pathlib import Path

import quatrain
from quatrain import Proposal, QuatrainError, Run

rows: list[dict[str, float]] = [{"x": 1.5, "y": 0.5}]
proposal: Proposal = quatrain.init(rows, "y", name="toys").write(Path("toys.yaml"))
checked = quatrain.check("toys.yaml", set={"train.epochs": 3}, data="new.csv")
reveal_type(checked.warnings)
try:
    run: Run = quatrain.run(proposal, tier="BASIC", set=["train.epochs=3"], workers=2)
    reveal_type(run.id)
except quatrain.GateFailed:
    pass
except quatrain.StepFailed as error:
    reveal_type(error.folder)
except QuatrainError as error:
    print(error)
for listed in quatrain.runs("runs", "toys"):
    reveal_type(listed.place)
model = quatrain.load_model("runs/toys")
reveal_type(quatrain.__version__)
"""
TYPES = ["list[str]", "str", "Path", "str", "str"]
WRONG = """
import quatrain

quatrain.init("toys.csv")
quatrain.check(7)
quatrain.run("toys.yaml", teir="BASIC")
quatrain.train("toys.yaml")
"""
CODES = ["call-arg", "arg-type", "call-arg", "attr-defined"]


STRICT = "# mypy: disallow-any-generics, disallow-subclassing-any, warn-return-any"
"""What the project's options, by which `make check` fills the cache, leave out of --strict."""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy prints of both scripts, without their folder."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "right.py").write_text(f"{STRICT}\n{SCRIPT}")
    (folder / "wrong.py").write_text(f"{STRICT}\n{WRONG}")
    command = [sys.executable, "-m", "mypy", "--no-error-summary"]
    files = [str(path) for path in sorted(folder.iterdir())]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True)
    assert not done.stderr
    return [line.rpartition("/")[2] for line in done.stdout.splitlines()]


def test_a_script_that_calls_everything_is_typed(printed: list[str]) -> None:
    notes = [line for line in printed if line.startswith("right.py")]
    assert all("note: Revealed type is" in note for note in notes), notes
    revealed = [note.split('"')[1] for note in notes]
    assert [re.sub(r"\b(?:builtins|pathlib)\.", "", type_) for type_ in revealed] == TYPES


def test_a_wrong_call_is_found_by_the_type_checker(printed: list[str]) -> None:
    errors = [line for line in printed if line.startswith("wrong.py") and ": error: " in line]
    assert [line.rpartition("[")[2].rstrip("]") for line in errors] == CODES
