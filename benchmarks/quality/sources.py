"""The sources that a result depends on, as a digest."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from benchmarks.quality.places import ROOT

DRAFT = ROOT / "quatrain/draft"
PRODUCT = tuple(
    ROOT / name
    for name in (
        "trainer",
        "components/preprocess",
        "components/specification",
        "components/table",
        "quatrain/draft",
    )
)
"""What decides the predictions of the product."""


def digest_of(*paths: Path) -> str:
    """Returns a digest of files, and of the Python and data files in folders."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in (f for f in files if "__pycache__" not in f.parts):
            digest.update(f"{file.relative_to(path.parent)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def version() -> str:
    """Returns the last commit that changed the product, with a `+` if its sources differ."""
    git = ["git", "-C", str(ROOT)]
    commit = _output([*git, "log", "-1", "--format=%h", "--abbrev=8", "--", *map(str, PRODUCT)])
    changed = _output([*git, "status", "--porcelain", "--", *map(str, PRODUCT)])
    return commit + ("+" if changed else "")


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
