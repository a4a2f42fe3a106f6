"""The environments of other systems, each made from the locked requirements beside this file."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.quality.places import CACHE, HERE


def requirements(name: str) -> Path:
    """Returns the locked requirements of an environment."""
    return HERE / "environments" / f"{name}.txt"


def python_of(name: str) -> str:
    """Returns the interpreter of an environment, which is made unless it is there as locked.

    Args:
        name: Its name; '' is the product's own environment.

    Raises:
        subprocess.CalledProcessError: uv failed; it has said why.
    """
    if not name:
        return sys.executable
    folder, wanted = CACHE / "environments" / name, requirements(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    python, installed = folder / "bin/python", folder / "requirements.txt"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
            print(f"installing {name} into {folder}", flush=True)
            uv = Path(sys.executable).with_name("uv")
            subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, folder], check=True)
            install = [uv, "pip", "install", "-q", "--require-hashes", "--python", python]
            subprocess.run([*install, "-r", wanted], check=True)
            shutil.copyfile(wanted, installed)
    return str(python)
