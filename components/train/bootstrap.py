"""Installs the trainer package by its digest and runs it, alone, on a training replica.

    python -m components.train.bootstrap --package URI --sha256 HEX -- ARGUMENTS

Nothing of the package runs before its digest has matched. It is installed into a fresh folder
without an index, and `python -m trainer.task ARGUMENTS --package-sha256 HEX` runs from an empty
working directory with that folder first on the path. `components` and `pipelines` of this
repository cannot be imported there, so the code that trains is the code in the package.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import BinaryIO

from components.errors import PackageError

MAX_UNPACKED_BYTES = 64 << 20
"""A trainer is source code; an archive that unpacks to more is refused."""
MAX_MEMBERS = 2_000

HIDDEN = ("components", "pipelines")
"""This repository's packages that the trainer must not reach."""

_PROVE = """
import importlib.util, sys
print(importlib.util.find_spec("trainer").origin)
for name in sys.argv[1:]:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} can be imported beside the trainer")
"""


class _Bounded:
    """Reads a stream up to a number of bytes, so that an archive cannot unpack without end."""

    def __init__(self, stream: BinaryIO, limit: int, name: str) -> None:
        self._stream, self._left, self._limit, self._name = stream, limit, limit, name

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise PackageError(
                f"{self._name} unpacks to more than {self._limit:,} bytes; "
                f"a trainer package holds source code: leave data and weights out of it"
            )
        return data


def fetch(uri: str, folder: Path) -> Path:
    """Returns a local copy of the package; a local path is returned as it is.

    Raises:
        PackageError: There is no such file.
    """
    if "://" not in uri:
        if not Path(uri).is_file():
            raise PackageError(f"package {uri} is not a file; run the package step again")
        return Path(uri)
    from pyarrow import fs

    filesystem, path = fs.FileSystem.from_uri(uri)
    copy = folder / PurePosixPath(path).name
    try:
        with filesystem.open_input_stream(path) as source, copy.open("wb") as target:
            while block := source.read(1 << 20):
                target.write(block)
    except OSError as error:
        raise PackageError(f"package {uri} cannot be read: {error}") from error
    return copy


def verify(archive: Path, sha256: str) -> None:
    """Checks the digest of the package.

    Raises:
        PackageError: The bytes are not the ones that the package step published.
    """
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise PackageError(
            f"{archive.name} has sha256 {found}, but {sha256} was published; it was altered or "
            f"cut short: nothing of it was run, run the package step again"
        )


def extract(archive: Path, folder: Path) -> Path:
    """Unpacks an sdist and returns its one top folder.

    Raises:
        PackageError: A member would leave the folder, is neither file nor folder, or there is
            too much of them.
    """
    try:
        with gzip.open(archive, "rb") as stream:
            bounded = _Bounded(stream, MAX_UNPACKED_BYTES, archive.name)  # type: ignore[arg-type]
            with tarfile.open(fileobj=bounded, mode="r|") as tar:  # type: ignore[call-overload]
                for number, member in enumerate(tar):
                    _check_member(archive.name, member, number)
                    tar.extract(member, folder, filter="data")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise PackageError(f"{archive.name} is not a sound .tar.gz archive: {error}") from error
    tops = sorted(folder.iterdir()) if folder.is_dir() else []
    if len(tops) != 1 or not tops[0].is_dir():
        raise PackageError(
            f"{archive.name} holds {[top.name for top in tops]}; an sdist has one top folder"
        )
    return tops[0]


def _check_member(archive: str, member: tarfile.TarInfo, number: int) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise PackageError(f"{archive}: member {member.name!r} escapes the archive")
    if not (member.isreg() or member.isdir()):
        raise PackageError(
            f"{archive}: member {member.name!r} is a link or a device; only files are allowed"
        )
    if number >= MAX_MEMBERS:
        raise PackageError(f"{archive} has more than {MAX_MEMBERS:,} members")


def install(archive: Path, folder: Path) -> Path:
    """Installs a package, alone and without an index, below an empty folder.

    Returns:
        The folder to put first on the path.

    Raises:
        PackageError: The archive is unsafe or does not install.
    """
    site = folder / "site"
    source = extract(archive, folder / "source")
    command = [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--root-user-action", "ignore"]
    command += ["--target", str(site), str(source)]
    done = subprocess.run(
        command, cwd=folder, env=_clean_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise PackageError(f"{archive.name} does not install without an index:\n{tail}")
    return site


def environment(site: Path) -> dict[str, str]:
    """Returns the environment in which only the package and the image can be imported."""
    hidden = site.with_name("hidden")
    hidden.mkdir(exist_ok=True)
    for name in HIDDEN:
        reason = f"No module named {name!r}: the trainer package runs alone"
        (hidden / f"{name}.py").write_text(
            f"raise ModuleNotFoundError({reason!r}, name={name!r})\n", encoding="utf-8"
        )
    path = os.pathsep.join([str(site), str(hidden)])
    return {**_clean_environment(), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def prove_isolation(site: Path, env: Mapping[str, str], cwd: Path) -> str:
    """Returns the file that `import trainer` loads, after checking that it is the package's.

    Raises:
        PackageError: Another trainer, or this repository, could be imported.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PROVE, *HIDDEN],
        cwd=cwd,
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
    )
    origin = done.stdout.strip()
    if done.returncode != 0 or not Path(origin).is_relative_to(site):
        reason = done.stderr.strip().splitlines()[-1:] or [f"it would load {origin}"]
        raise PackageError(f"the package does not hold the trainer that runs: {reason[0]}")
    return origin


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> int:
    """Runs a command, passes signals on to it and returns its exit code."""
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _: FrameType | None) -> None:
        if child is None:
            raise SystemExit(128 + number)
        child.send_signal(number)

    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, forward)
    child = subprocess.Popen(list(command), env=dict(env), cwd=cwd)
    code = child.wait()
    return code if code >= 0 else 128 - code


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the trainer of a package and returns its exit code."""
    parser = argparse.ArgumentParser(prog="bootstrap", description=main.__doc__)
    parser.add_argument("--package", required=True, help="path or gs:// URI of the sdist")
    parser.add_argument("--sha256", required=True, help="its published digest")
    parser.add_argument("arguments", nargs="*", help="arguments of trainer.task, after --")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="quatrain-") as folder:
        work = Path(folder)
        cwd = work / "cwd"
        cwd.mkdir()
        archive = fetch(options.package, work)
        verify(archive, options.sha256)
        site = install(archive, work)
        env = environment(site)
        origin = prove_isolation(site, env, cwd)
        print(f"bootstrap: sha256 {options.sha256} matches {archive.name}", flush=True)
        print(f"bootstrap: running {origin}", flush=True)
        command = [sys.executable, "-m", "trainer.task", *options.arguments]
        return run([*command, "--package-sha256", options.sha256], env, cwd)


def _clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSTARTUP")}


if __name__ == "__main__":
    sys.exit(main())
