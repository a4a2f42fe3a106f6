"""Publishes a package: built, proved, and committed with its record written last."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from components.artifacts import commit, write_json
from components.errors import PackageError
from components.package.proof import prove
from components.package.sdist import build_sdist


def publish(examples: Path, out: Path, trainer_dir: str = "") -> str:
    """Builds and proves the trainer package, and writes the package artifact.

    Args:
        examples: The folder of engineered rows; a handful of them trains the proof.
        out: The package artifact; it is there with `package.json`, or not at all.
        trainer_dir: The trainer's sources; by default those beside this code.

    Returns:
        The sha256 of the package.

    Raises:
        PackageError: The sources are refused or a check failed; nothing was published.
    """
    sources = Path(trainer_dir) if trainer_dir else default_trainer_dir()
    with commit(out) as folder:
        built = build_sdist(sources, folder)
        checks = prove(sources, examples, built)
        record = {"version": 1, "file": built.path.name, "sha256": built.sha256, "checks": checks}
        write_json(folder / "package.json", record)
    print(f"package: published {built.path.name}", flush=True)
    return built.sha256


def default_trainer_dir() -> Path:
    """Returns the folder of this installation's trainer, without importing it."""
    spec = find_spec("trainer")
    if spec is None or spec.origin is None:
        raise PackageError("no trainer is installed beside components; give trainer_dir")
    return Path(os.path.abspath(spec.origin)).parent
