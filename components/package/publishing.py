"""Publishes a package: builds it, proves it and writes its record last."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from quatrain.components.artifacts import CACHED
from quatrain.components.errors import PackageError
from quatrain.components.folder import commit
from quatrain.components.package.proof import WAYS_OUT, prove
from quatrain.components.package.proof_record import Proof, proof_key, read_proof, write_proof
from quatrain.components.package.sdist import build_sdist
from quatrain.components.package.sources import IGNORED, PACKAGE, check_sources
from quatrain.components.storage import mounted
from quatrain.trainer.failure import full_disk

NEEDED_MB = 5
"""The disk space that building and proving the shipped trainer takes for a while: 2.9 MB here."""


def publish(
    examples: Path | str,
    out: Path | str,
    trainer: str = "",
    model: str = "auto",
    *,
    root: str = "",
    run: str = "",
    created: str = "",
    cached: bool = True,
    proves: bool = True,
) -> str:
    """Builds and proves the trainer package, and writes the package artifact.

    Args:
        examples: The folder of engineered rows, a path or gs:// uri; a handful of them trains the
            proof.
        out: The package artifact, a path or gs:// uri; it counts once it has `package.json`.
        trainer: A folder that replaces the trainer, or a file that replaces its `model.py`; a
            gs:// uri is read through its mount. By default the trainer beside this code.
        model: The kind of model that the proof trains, a value of `train.model`.
        root: The folder of all runs, local or gs://, where proofs are recorded; if empty, they are
            not.
        run: The name of the run.
        created: When the run was created.
        cached: Whether the proof of an earlier run may be taken.
        proves: Whether the package must pass its checks; `package.json` says so.

    Returns:
        The sha256 of the package.

    Raises:
        PackageError: The sources are refused or a check failed; nothing was published.
    """
    with (
        _explained_disk(),
        commit(out, "package.json") as folder,
        sources_of(trainer) as sources,
        tempfile.TemporaryDirectory(prefix="quatrain-package-") as place,
    ):
        own = Path(mounted(trainer)) if trainer else None
        built = build_sdist(sources, Path(place))
        proof: dict[str, Any] = {"checks": []}
        if proves:
            key = proof_key(built.sha256, str(examples), model) if root else ""
            proof = (key and cached and _recorded(root, key)) or {}
            if not proof:
                checks = prove(sources, str(examples), built, model, own)
                proof = _record(made := Proof(run, created, checks))
                if key:
                    write_proof(root, key, made)
        folder.write(built.path.name, built.path.read_bytes())
        record = {
            "version": 1,
            "file": built.path.name,
            "sha256": built.sha256,
            "proved": proves,
            **proof,
        }
        folder.write_json("package.json", record)
    without = "" if proves else ", not proved"
    print(f"package: published {built.path.name}{without}", flush=True)
    return built.sha256


def _recorded(root: str, key: str) -> dict[str, Any]:
    """Returns the part of `package.json` about the proof of an earlier run, if there is one."""
    proof = read_proof(root, key, [*WAYS_OUT])
    if proof is None:
        return {}
    print(f"package: proved by run {proof.run} of {proof.created}", flush=True)
    return {**_record(proof), CACHED: {"proof": proof.run}}


def _record(proof: Proof) -> dict[str, Any]:
    return {"checks": proof.checks, "proof": {"run": proof.run, "created": proof.created}}


@contextmanager
def _explained_disk() -> Iterator[None]:
    """Names the full disk in place of the check that met it first."""
    try:
        yield
    except Exception as error:
        if full := full_disk(error):
            raise PackageError(
                f"{full}; to build and prove a package takes about {NEEDED_MB} MB there, and more "
                f"for a large trainer: make room, or set TMPDIR to a larger disk; nothing was "
                f"published"
            ) from error
        raise


def check_trainer(trainer: str) -> None:
    """Checks the sources of a user's own trainer, before anything is run.

    Raises:
        PackageError: There is no such trainer, or it cannot become a package.
    """
    if trainer:
        own = Path(mounted(trainer))
        with sources_of(trainer) as folder:
            check_sources(folder, own if own.is_file() else None)


@contextmanager
def sources_of(trainer: str) -> Iterator[Path]:
    """Yields the folder that the package is built from.

    Args:
        trainer: As in `publish`.

    Raises:
        PackageError: There is no such folder or file.
    """
    if not trainer:
        yield default_trainer_dir()
        return
    own = Path(mounted(trainer))
    if not own.is_file():
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="quatrain-trainer-") as folder:
        copy = Path(folder, PACKAGE)
        shutil.copytree(default_trainer_dir(), copy, ignore=shutil.ignore_patterns(*IGNORED))
        shutil.copyfile(own, copy / "model.py")
        yield copy


def default_trainer_dir() -> Path:
    """Returns the folder of this installation's trainer, without importing it.

    Raises:
        PackageError: No trainer is installed.
    """
    spec = find_spec("quatrain.trainer")
    if spec is None or spec.origin is None:
        raise PackageError("no trainer is installed with quatrain; give train.trainer")
    return Path(os.path.abspath(spec.origin)).parent
