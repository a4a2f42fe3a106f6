"""The built wheel, alone in an empty environment, runs the flights example in another folder.

Not collected by `make test`: `make dist-test` builds dist/ and names this file. The environment is
made from requirements/runtime.txt below build/wheel, and made again when those change.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
REQUIREMENTS = ROOT / "requirements/runtime.txt"
WHERE = """
import importlib.util, json, quatrain, quatrain.components, quatrain.pipelines, quatrain.trainer
bare = [name for name in ("components", "pipelines", "trainer") if importlib.util.find_spec(name)]
files = [m.__file__ for m in (quatrain, quatrain.components, quatrain.pipelines, quatrain.trainer)]
print(json.dumps([bare, files]))
"""


def built(pattern: str, folder: Path = ROOT / "dist") -> Path:
    """Returns the one file of dist/, which `make dist` has just written."""
    (path,) = folder.glob(pattern)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def programs() -> Path:
    """The programs of an environment with the locked requirements and the wheel, and no more."""
    folder = ROOT / "build/wheel" / digest(REQUIREMENTS)[:12]
    python, uv = folder / "bin/python", str(TOOLS / "uv")
    install = [uv, "pip", "install", "-q", "--python", str(python)]
    if not (folder / "ready").exists():
        shutil.rmtree(folder.parent, ignore_errors=True)
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
        locked = ["--require-hashes", "--compile-bytecode", "-r", str(REQUIREMENTS)]
        subprocess.run([*install, *locked], check=True)
        (folder / "ready").touch()
    wheel = ["--no-deps", "--reinstall", "--compile-bytecode", str(built("*.whl"))]
    subprocess.run([*install, *wheel], check=True)
    return python.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the repository with the flights example in it."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(ROOT / "examples/flights", folder / "flights")
    return folder


def call(program: Path, *words: str, cwd: Path) -> str:
    """Calls a program of the environment, without this environment's paths."""
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONSAFEPATH")
    env = {k: v for k, v in os.environ.items() if k not in ours}
    env["PATH"] = f"{program.parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
    completed = subprocess.run(
        [str(program), *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=900
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def test_the_files_pass_the_checks_of_an_index() -> None:
    files = [str(built("*.whl")), str(built("*.tar.gz"))]
    for words in (["check-wheel-contents", files[0]], ["twine", "check", "--strict", *files]):
        call(TOOLS / words[0], *words[1:], cwd=ROOT)


def test_the_wheel_has_the_same_bytes_when_it_is_built_again(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "build", "-w", "--no-isolation", "-o", str(tmp_path)]
    source = tmp_path / "source"
    shutil.unpack_archive(built("*.tar.gz"), source)
    (inner,) = source.iterdir()
    subprocess.run([*command, str(inner)], check=True, capture_output=True)
    assert digest(built("*.whl", tmp_path)) == digest(built("*.whl"))


def test_the_installed_quatrain_imports_nothing_of_the_repository(
    programs: Path, folder: Path
) -> None:
    bare, files = json.loads(call(programs / "python", "-c", WHERE, cwd=folder))
    assert bare == []
    assert all(Path(file).is_relative_to(programs.parent) for file in files)


def test_the_installed_quatrain_runs_the_flights_example(programs: Path, folder: Path) -> None:
    call(programs / "quatrain", "check", "flights/flights.yaml", cwd=folder)
    call(programs / "quatrain", "run", "flights/flights.yaml", cwd=folder)
    metrics = json.loads((folder / "runs/flights/latest/metrics.json").read_text())
    assert metrics["rows"] == 37_383
    assert metrics["gate"]["passed"]
    assert metrics["metrics"]["auc"]["value"] == pytest.approx(0.9095, abs=0.003)
