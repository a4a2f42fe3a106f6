"""One import name: the wheel holds `quatrain` alone, and a user's modules are never imported."""

import os
import random
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.csv as pacsv
import pytest

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[1]
MODULE = [sys.executable, "-m", "quatrain"]
PACKAGES = ("components", "pipelines", "trainer")
MODULES = ("queue", "statistics", "yaml", "random", "click", "numpy")
RAISES = "raise RuntimeError(f'{__file__} of the user was imported')\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from the sdist as an index would get both."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    for checker in ("check-wheel-contents", "twine check --strict"):
        words = checker.split()
        words[0] = str(Path(sys.executable).with_name(words[0]))
        files = [str(p) for p in out.iterdir() if p.suffix == ".whl" or "twine" in checker]
        completed = subprocess.run([*words, *files], capture_output=True, text=True)
        assert completed.returncode == 0, completed.stdout + completed.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


def test_the_wheel_installs_quatrain_and_nothing_beside_it(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"quatrain"}
    (listed,) = [name for name in wheel.namelist() if name.endswith("top_level.txt")]
    assert wheel.read(listed) == b"quatrain\n"


def test_the_wheel_holds_every_file_of_the_four_folders(wheel: zipfile.ZipFile) -> None:
    expected = set()
    for folder in ("quatrain", *PACKAGES):
        inside = "quatrain" if folder == "quatrain" else f"quatrain/{folder}"
        for parent, _, names in os.walk(ROOT / folder):  # does not follow the links
            below = Path(inside, Path(parent).relative_to(ROOT / folder))
            expected |= {(below / name).as_posix() for name in names if below.name != "__pycache__"}
    assert {n for n in wheel.namelist() if n.startswith("quatrain/")} == expected
    assert "quatrain/py.typed" in expected


def test_everything_that_names_the_version_names_the_same_one() -> None:
    versions = {
        "pyproject.toml": r'^version = "(.*)"$',
        "trainer/pyproject.toml": r'^version = "(.*)"$',
        "Dockerfile": r'image\.version="(.*)"',
        "CHANGELOG.md": r"\A# Changelog\n\n## (.*), 20\d\d-\d\d-\d\d$",
        "docs/operations.md": r"docker push \S+:(.*)-cpu$",
    }
    named = {
        file: re.findall(pattern, (ROOT / file).read_text(), re.M)
        for file, pattern in versions.items()
    }
    assert all(len(versions) == 1 for versions in named.values()), named
    assert len({version for (version,) in named.values()}) == 1, named


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: a table, and modules of the names that a Kubeflow repository has."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(RAISES)
    for name in MODULES:
        (folder / f"{name}.py").write_text(RAISES)
    draw = random.Random(7)  # noqa: S311 - test data
    rows = ["id,size,colour,big"]
    for i in range(300):
        size = draw.uniform(0, 10)
        big = "yes" if size + draw.uniform(0, 2) > 6 else "no"
        rows.append(f"t{i},{size:.3f},{draw.choice(['red', 'green'])},{big}")
    (folder / "toys.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command `quatrain`, as pip writes it from pyproject.toml, in a folder of its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["quatrain"].split(":")
    path = tmp_path_factory.mktemp("bin") / "quatrain"
    path.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    return [sys.executable, str(path)]


def call(command: list[str], folder: Path, *words: str) -> None:
    """Calls Quatrain in the folder."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    completed = subprocess.run(
        [*command, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_init_check_run_and_predict_import_nothing_of_the_user_s_folder(
    hostile: Path, script: list[str]
) -> None:
    call(script, hostile, "init", "toys.csv", "--target", "big", "-o", "toys.yaml")
    call(script, hostile, "check", "toys.yaml")
    settings = ("train.model=linear", "train.epochs=2", "evaluate.gate={}")
    call(script, hostile, "run", "toys.yaml", *[word for s in settings for word in ("--set", s)])
    call(script, hostile, "predict", "runs/toys/latest/model", "toys.csv", "-o", "answers.csv")
    answers = pacsv.read_csv(hostile / "answers.csv")
    assert answers.num_rows == 300
    assert set(answers.column("predicted_class").to_pylist()) <= {"yes", "no"}


def test_python_m_quatrain_imports_nothing_of_the_user_s_folder(hostile: Path) -> None:
    call(MODULE, hostile, "init", "toys.csv", "--target", "big", "-o", "mine.yaml")
    call(MODULE, hostile, "check", "mine.yaml")


FROM_PYTHON = """
import quatrain

proposal = quatrain.init("toys.csv", "big", output="ours.yaml")
quatrain.check(proposal)
settings = {"train.model": "linear", "train.epochs": 2, "evaluate.gate": {}}
run = quatrain.run(proposal, set=settings)
answers = quatrain.load_model(run.place).predict([{"size": 9.5, "colour": "red"}])
print(answers.to_pylist()[0]["predicted_class"])
"""


def test_a_script_beside_such_modules_imports_none_of_them(hostile: Path) -> None:
    (hostile / "script.py").write_text(FROM_PYTHON)
    call([sys.executable], hostile, "script.py")
