"""Builds the trainer's source distribution; the same sources give the same bytes."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import PackageError
from quatrain.components.package.backend import build
from quatrain.components.package.sources import IGNORED, check_sources

NAME = "quatrain_trainer"


@dataclass(frozen=True)
class Sdist:
    """A built package, named by its content."""

    path: Path
    version: str
    sha256: str


def build_sdist(trainer_dir: Path, out: Path) -> Sdist:
    """Builds `quatrain_trainer-<version>-<sha256>.tar.gz` into a folder, without an index.

    Args:
        trainer_dir: The sources; they are copied first, so nothing is written there.
        out: An existing folder.

    Raises:
        PackageError: The sources cannot become a package, or the build fails.
    """
    check_sources(trainer_dir)
    with tempfile.TemporaryDirectory(prefix="quatrain-sdist-") as folder:
        copy = Path(folder) / "trainer"
        shutil.copytree(trainer_dir, copy, ignore=shutil.ignore_patterns(*IGNORED))
        built = _build(copy, Path(folder) / "dist")
        repacked = Path(folder) / "repacked.tar.gz"
        repack(built, repacked)
        version = built.name.removesuffix(".tar.gz").rpartition("-")[2]
        sha256 = sha256_of(repacked)
        path = out / f"{NAME}-{version}-{sha256}.tar.gz"
        shutil.copyfile(repacked, path)
    return Sdist(path, version, sha256)


def repack(source: Path, target: Path) -> None:
    """Writes a copy of an archive, without the parts that differ between builds.

    Members are sorted; times, owners and modes are fixed. Nothing is compressed, because the
    bytes of a compressed file depend on the version of zlib.
    """
    with tarfile.open(source, "r:gz") as tar:
        files = [(member, tar.extractfile(member)) for member in tar.getmembers()]
        contents = {m.name: stream.read() for m, stream in files if stream is not None}
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 0, raw, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in sorted(contents):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(contents[name]), 0o644
            tar.addfile(member, io.BytesIO(contents[name]))


def _build(source: Path, out: Path) -> Path:
    """Builds an sdist from a source folder."""
    try:
        return build("sdist", source, out, os.environ)
    except PackageError as error:
        raise PackageError(
            f"the trainer's sdist does not build: {error}\nmend its pyproject.toml; "
            f"`python -m build --sdist --no-isolation` there shows the whole output"
        ) from error
