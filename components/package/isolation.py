"""Installs a package where nothing else of this repository can be imported, without an index."""

from __future__ import annotations

import gzip
import os
import platform
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from quatrain.components.errors import PackageError
from quatrain.components.package.backend import build
from quatrain.components.package.child import run_python

MAX_UNPACKED_BYTES = 64 << 20
"""A trainer is source code; an archive that unpacks to more is refused."""
MAX_MEMBERS = 2_000

HIDDEN = ("quatrain",)
"""The package of this repository, which the trainer must not import."""

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
        self._stream, self._n_unread, self._limit, self._name = stream, limit, limit, name

    def read(self, size: int) -> bytes:
        """Returns the next bytes, at most `size`; raises PackageError past the limit."""
        # One byte more than the limit shows that the stream goes on.
        data = self._stream.read(min(size, self._n_unread + 1))
        self._n_unread -= len(data)
        if self._n_unread < 0:
            raise PackageError(
                f"{self._name} unpacks to more than {self._limit:,} bytes; "
                f"a trainer package holds source code: leave data and weights out of it"
            )
        return data


def extract(archive: Path, folder: Path) -> Path:
    """Unpacks an sdist and returns its one top folder.

    Raises:
        PackageError: A member would leave the folder or is neither file nor folder, or the archive
            holds too many members or bytes.
    """
    try:
        with gzip.open(archive, "rb") as stream:
            bounded = _Bounded(stream, MAX_UNPACKED_BYTES, archive.name)  # type: ignore[arg-type]
            with tarfile.open(fileobj=bounded, mode="r|") as tar:  # type: ignore[call-overload]
                for number, member in enumerate(tar):
                    _check_member(archive.name, member, number)
                    _write_member(tar, member, folder)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise PackageError(f"{archive.name} is not a sound .tar.gz archive: {error}") from error
    tops = sorted(folder.iterdir()) if folder.is_dir() else []
    if len(tops) != 1 or not tops[0].is_dir():
        raise PackageError(
            f"{archive.name} holds {[top.name for top in tops]}; an sdist has one top folder"
        )
    return tops[0]


def _check_member(archive: str, member: tarfile.TarInfo, number: int) -> None:
    """Refuses a member that would leave the folder, is a link or a device, or is one too many."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise PackageError(f"{archive}: member {member.name!r} escapes the archive")
    if not (member.isreg() or member.isdir()):
        raise PackageError(
            f"{archive}: member {member.name!r} is a link or a device; only files are allowed"
        )
    if number >= MAX_MEMBERS:
        raise PackageError(f"{archive} has more than {MAX_MEMBERS:,} members")


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Writes a checked member; tarfile has filters of its own only since Python 3.11.4."""
    target = folder / member.name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
    elif content := tar.extractfile(member):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.read())


def install(archive: Path, folder: Path) -> Path:
    """Installs a package, alone and without an index, below an empty folder.

    Its wheel is built once and unpacked. pip, which would start two more processes to build it and
    then do the same, installs only a wheel that needs more than that.

    Returns:
        The folder to put first on the path.

    Raises:
        PackageError: The archive is unsafe or does not install.
    """
    site = folder / "site"
    source = extract(archive, folder / "source")
    try:
        wheel = build("wheel", source, folder / "wheel", _clean_environment())
        if not _unpack(wheel, site):
            _install_by_pip(wheel, site)
    except PackageError as error:
        raise PackageError(f"{archive.name} does not install without an index: {error}") from error
    return site


def _unpack(wheel: Path, site: Path) -> bool:
    """Unpacks a wheel that holds Python modules alone; returns whether it is one.

    To install such a wheel is to unpack it
    (https://packaging.python.org/en/latest/specifications/binary-distribution-format/).

    Raises:
        PackageError: Its metadata is not valid, or does not allow this Python.
    """
    from packaging.metadata import InvalidMetadata, Metadata

    with zipfile.ZipFile(wheel) as archive:
        files = {PurePosixPath(name) for name in archive.namelist()}
        top = (file for file in files if len(file.parts) == 2)
        folder = next(file.parent for file in top if file.match("*.dist-info/METADATA"))
        elsewhere = any(file.parts[0].endswith(".data") for file in files)
        if elsewhere or folder / "entry_points.txt" in files or "-none-any" not in wheel.stem:
            return False
        try:
            metadata = Metadata.from_email(archive.read(f"{folder}/METADATA"))
        except (InvalidMetadata, ExceptionGroup) as error:
            reasons = getattr(error, "exceptions", [error])
            raise PackageError("; ".join(map(str, reasons))) from error
        needed, version = metadata.requires_python, platform.python_version()
        if needed is not None and not needed.contains(version, prereleases=True):
            raise PackageError(f"it needs Python {needed}, and this one is {version}")
        archive.extractall(site)  # noqa: S202 - zipfile lets no member leave the folder
    return True


def _install_by_pip(wheel: Path, site: Path) -> None:
    """Installs a wheel of any kind."""
    pip = ["-m", "pip", "--isolated", "install", "--quiet", "--no-index", "--no-deps"]
    pip += ["--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    pip += ["--root-user-action", "ignore", "--target", str(site), str(wheel)]
    run_python(*pip, cwd=wheel.parent, env=_clean_environment())


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


def prove(site: Path, env: Mapping[str, str], cwd: Path) -> str:
    """Returns the file that `import trainer` loads, after checking that it is the package's own.

    Raises:
        PackageError: Another trainer, or this repository, could be imported.
    """
    try:
        origin = run_python("-c", _PROVE, *HIDDEN, cwd=cwd, env=env).strip()
    except PackageError as error:
        raise PackageError(f"the package does not hold the trainer that runs: {error}") from error
    if not Path(origin).is_relative_to(site):
        raise PackageError(f"the package holds no trainer; {origin} would run in its place")
    return origin


def _clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSTARTUP")}
