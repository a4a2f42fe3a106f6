"""A quick run: its examples are a sample of the rows, so nothing of it counts for later runs.

The manifest of the examples says that they are a sample. Every later step reads it there, so no
model that was trained on a sample can be promoted, however the run was started.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quatrain.components.wording import counted

ROWS = 20_000
"""The rows that a quick run reads, of a table with more."""
NOT_COMPARED = "a quick run is not compared with others"


def is_quick(document: Mapping[str, Any]) -> bool:
    """Whether manifest.json of the examples, or metrics.json, is of a quick run."""
    return bool(document.get("sample"))


def sample_in_words(sample: Mapping[str, Any], read: int) -> str:
    """Returns how many rows a quick run has read, and of how many.

    Args:
        sample: The section `sample` of manifest.json.
        read: The number of rows that were read.
    """
    whole = sample["of"]
    if whole is None:
        return f"{counted(read, 'row')}, of how many is not known"
    if whole <= read:
        return f"all {counted(read, 'row')}"
    return f"{read:,} of about {counted(int(float(f'{whole:.3g}')), 'row')}"


def sentence(sample: Mapping[str, Any], read: int) -> str:
    """Returns what a quick run says of itself."""
    return f"quick run: {sample_in_words(sample, read)}; not a result to rely on"
