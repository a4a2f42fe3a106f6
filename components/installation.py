"""What a step runs with: Python, the machine, and every distribution that is installed."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from typing import Any


def describe_installation() -> dict[str, Any]:
    """Returns what may change a result although code and inputs are the same."""
    return {
        "python": [sys.version, sys.platform, platform.machine()],
        "distributions": installed_distributions(sys.path),
    }


def installed_distributions(path: Sequence[str]) -> list[str]:
    """Returns the name and version of each installed distribution, sorted: `numpy-2.3.5`.

    A trainer of one's own may import any of them. The folders' names say it
    (https://packaging.python.org/en/latest/specifications/recording-installed-packages/), so
    their metadata need not be read.
    """
    suffix = ".dist-info"
    folders = [folder for folder in path if os.path.isdir(folder)]
    return sorted(
        name.removesuffix(suffix)
        for folder in folders
        for name in os.listdir(folder)
        if name.endswith(suffix)
    )
