"""The data and rules of `tiers.yaml`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any


@functools.cache
def load() -> dict[str, Any]:
    """Returns the content of the file."""
    import yaml

    path = Path(__file__).with_name("tiers.yaml")
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data
