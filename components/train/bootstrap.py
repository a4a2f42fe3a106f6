"""Installs the trainer package by its digest and runs it, alone, on a training replica.

    python -m quatrain.components.train.bootstrap --package URI --sha256 HEX -- ARGUMENTS

Nothing of the package runs before its digest has matched. It is installed into a fresh folder
without an index, and `python -m trainer.task ARGUMENTS --package-sha256 HEX` runs from an empty
working directory with that folder first on the path. `quatrain` cannot be imported there, so the
code that trains is the code in the package.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import FrameType

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import PackageError
from quatrain.components.package import isolation
from quatrain.components.termination import exit_on_termination
from quatrain.trainer import failure
from quatrain.trainer.job import Outputs
from quatrain.trainer.settings import TrainerError
from quatrain.trainer.uris import by_uri


def fetch(uri: str, folder: Path) -> Path:
    """Returns a local copy of the package; a local path is returned as it is.

    Raises:
        PackageError: There is no such file, or it cannot be read.
    """
    if "://" not in uri:
        if not Path(uri).is_file():
            raise PackageError(f"package {uri} is not a file; run the package step again")
        return Path(uri)
    from quatrain.components.storage import open_stream

    copy = folder / PurePosixPath(uri).name
    try:
        with open_stream(uri) as source, copy.open("wb") as target:
            while block := source.read(1 << 20):
                target.write(block)
    except FileNotFoundError as error:
        raise PackageError(f"package {uri} does not exist; run the package step again") from error
    return copy


def verify(archive: Path, sha256: str, uri: str) -> None:
    """Checks the digest of the package, whose uri is for the message.

    Raises:
        PackageError: The bytes are not the ones that the package step published.
    """
    digest = sha256_of(archive)
    if digest != sha256:
        raise PackageError(
            f"{uri} has sha256 {digest}, but {sha256} was published; it was altered or "
            f"cut short: nothing of it was run, run the package step again"
        )


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> int:
    """Runs a command, passes signals on to it and returns its exit code, or minus its signal."""
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _: FrameType | None) -> None:
        if child is None:
            raise KeyboardInterrupt(signal.Signals(number).name)
        child.send_signal(number)

    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, forward)
    child = subprocess.Popen(list(command), env=dict(env), cwd=cwd)
    return child.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the trainer of a package and returns its exit code.

    If the trainer cannot write failure.json, because it is killed or cannot be started, it is
    written here.
    """
    parser = argparse.ArgumentParser(prog="bootstrap", description=main.__doc__)
    parser.add_argument("--package", required=True, help="path or gs:// URI of the sdist")
    parser.add_argument("--sha256", required=True, help="its published digest")
    parser.add_argument("arguments", nargs="*", help="arguments of trainer.task, after --")
    options = parser.parse_args(argv)
    try:
        code = _run_package(options)
    except (PackageError, OSError) as error:
        return _refuse(error)
    if code < 0:  # the signal that killed it, which shells show as 128 + signal
        _record_kill(-code)
        code = 128 - code
    return code


def _run_package(options: argparse.Namespace) -> int:
    """Installs the package and runs it."""
    with exit_on_termination(), tempfile.TemporaryDirectory(prefix="quatrain-") as folder:
        work = Path(folder)
        cwd = work / "cwd"
        cwd.mkdir()
        archive = fetch(options.package, work)
        verify(archive, options.sha256, options.package)
        site = isolation.install(archive, work)
        env = isolation.environment(site)
        origin = isolation.prove(site, env, cwd)
        print(f"bootstrap: sha256 {options.sha256} matches {archive.name}", flush=True)
        print(f"bootstrap: running {origin}", flush=True)
        command = [sys.executable, "-m", "trainer.task", *options.arguments]
        return run([*command, "--package-sha256", options.sha256], env, cwd)


def _refuse(error: PackageError | OSError) -> int:
    """Writes failure.json for a package that cannot be started, and returns the exit code."""
    cause = failure.Failure.of(error)
    if isinstance(error, PackageError) and cause.exit_code == failure.BROKEN:
        reason, _, hint = by_uri(str(error)).partition("; ")
        cause = failure.Failure("package", reason, hint, failure.REFUSED)
    print(f"error: {cause}", file=sys.stderr, flush=True)
    _record(dataclasses.replace(cause, phase="package"))
    return cause.exit_code


def _record_kill(number: int) -> None:
    """Writes failure.json for a trainer that was killed and could not write its own."""
    sentence = f"the trainer was killed by {signal.Signals(number).name}"
    hint = "often for want of memory: " + failure.MORE_MEMORY
    _record(
        failure.Failure("train", sentence, hint if number == signal.SIGKILL else "", 128 + number)
    )


def _record(cause: failure.Failure) -> None:
    with contextlib.suppress(TrainerError):  # no variable names the folder of outputs
        failure.record(cause, Outputs.of(None, os.environ))


if __name__ == "__main__":
    sys.exit(main())
