"""The bootstrap runs the published package and nothing else."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from quatrain.components.errors import PackageError
from quatrain.components.train import bootstrap
from quatrain.trainer.job import VARIABLES

TASK = """
import json, os, signal, sys, time
importable = {}
for name in ("quatrain", "numpy"):
    try:
        __import__(name)
        importable[name] = True
    except ModuleNotFoundError:
        importable[name] = False
import trainer
report = {"argv": sys.argv[1:], "file": trainer.__file__, "cwd": os.listdir()}
report["importable"] = importable
print(json.dumps(report), flush=True)
if "--sleep" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    time.sleep(60)
if "--die" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(3 if "--fail" in sys.argv else 0)
"""
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "quatrain-trainer"
version = "1.0"
[tool.setuptools]
packages = ["trainer"]
package-dir = {"trainer" = "."}
"""
FILES = {"pyproject.toml": PYPROJECT, "__init__.py": "", "task.py": TASK, "model.py": ""}


def pack(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "quatrain_trainer-1.0.tar.gz"
    members = [(tarfile.TarInfo(f"t-1.0/{name}"), text.encode()) for name, text in FILES.items()]
    return path, pack(path, members)


def command(package, *arguments):
    path, sha256 = package
    module = [sys.executable, "-m", "quatrain.components.train.bootstrap"]
    return [*module, "--package", str(path), "--sha256", sha256, "--", *arguments]


@pytest.fixture(scope="module")
def finished(package):
    arguments = command(package, "--epochs", "3", "--fail")
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def report(finished):
    return json.loads(finished.stdout.splitlines()[-1])


def test_a_package_from_elsewhere_is_copied_byte_for_byte(package, tmp_path):
    path, sha256 = package
    copy = bootstrap.fetch(path.as_uri(), tmp_path)
    assert copy == tmp_path / path.name
    bootstrap.verify(copy, sha256, "gs://b/package.tar.gz")


def test_the_trainer_comes_from_the_package_and_the_repository_is_out_of_reach(report):
    assert Path(report["file"]).parts[-3:] == ("site", "trainer", "__init__.py")
    assert "quatrain-" in report["file"]
    assert report["importable"] == {"quatrain": False, "numpy": True}
    assert report["cwd"] == []


def test_arguments_digest_and_exit_code_pass_through(finished, report, package):
    assert report["argv"] == ["--epochs", "3", "--fail", "--package-sha256", package[1]]
    assert package[1] in finished.stdout.splitlines()[0]
    assert finished.returncode == 3


def test_the_fresh_folder_is_gone_afterwards(report):
    assert not Path(report["file"]).exists()


def test_a_signal_reaches_the_trainer_and_its_exit_code_returns(package):
    child = subprocess.Popen(command(package, "--sleep"), stdout=subprocess.PIPE, text=True)
    lines = iter(child.stdout.readline, "")
    assert any(line.startswith("{") for line in lines)
    time.sleep(0.1)
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(timeout=20) == 7


def test_a_trainer_that_is_killed_leaves_its_failure(package, tmp_path):
    places = {n: f"{tmp_path}/{n}/" for n in VARIABLES.values()}
    completed = subprocess.run(command(package, "--die"), env={**os.environ, **places}, check=False)
    assert completed.returncode == 137
    assert json.loads((tmp_path / "failure.json").read_text()) == {
        "phase": "train",
        "reason": "the trainer was killed by SIGKILL",
        "hint": "often for want of memory: lower batch_size, or take a tier with more memory",
        "exit_code": 137,
    }


def test_another_digest_runs_nothing(package):
    with pytest.raises(PackageError, match=r"gs://b/p.tar.gz has .* altered or cut short"):
        bootstrap.verify(package[0], "0" * 64, "gs://b/p.tar.gz")


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(PackageError, match=r"gone\.tar\.gz is not a file"):
        bootstrap.fetch(str(tmp_path / "gone.tar.gz"), tmp_path)
