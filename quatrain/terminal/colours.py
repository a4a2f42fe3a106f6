"""A few colours for the lines of a terminal: verdicts, warnings, errors and ids.

The texts themselves are plain. A line gets its colours where it is written to the terminal, after
its control characters were written out, so that no text of a table can bring escapes of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

_RED, _GREEN, _YELLOW, _DIM = "31", "32", "33", "2"
"""The parameters of ECMA-48's Select Graphic Rendition."""
_GOOD = "passed|succeeded|active|ok"
_BAD = "failed|killed|error|critical|interrupted"
_DOUBTFUL = "warning|unchecked|held|cancelled|paused"

_COLOURS = (
    (r"^error:", _RED),
    (r"^warning:", _YELLOW),
    (r"^gate passed\b", _GREEN),
    (r"^gate failed\b", _RED),
    (r"^  ok(?=   )", _GREEN),
    (r"^  MISS(?= )", _RED),
    (r"^  (?:warn|!)(?= )", _YELLOW),
    # A cell of a table, between two blanks or more, or at an end of the line.
    (rf"(?:(?<=  )|^)(?:{_GOOD})(?=  |,|$)", _GREEN),
    (rf"(?:(?<=  )|^)(?:{_BAD})(?=  |,|$)", _RED),
    (rf"(?:(?<=  )|^)(?:{_DOUBTFUL})(?=  |,|$)", _YELLOW),
    # The id of a run, and a digest.
    (r"\b\d{8}T\d{6}-\d{6}\b|\bsha256[: ][0-9a-f]{12,64}\b", _DIM),
)
_PATTERN = re.compile("|".join(f"({pattern})" for pattern, _ in _COLOURS), re.MULTILINE)


def has_colours(stream: Any, environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether a stream gets colours.

    It does if it is a terminal. NO_COLOR (https://no-color.org) takes them away, and FORCE_COLOR
    (https://force-color.org) brings them to a pipe, such as the log of a CI job.
    """
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return bool(stream.isatty()) and environment.get("TERM") != "dumb"


def coloured(text: str) -> str:
    """Returns lines of plain text with the escapes of their colours."""
    return _PATTERN.sub(
        lambda match: f"\x1b[{_COLOURS[(match.lastindex or 1) - 1][1]}m{match[0]}\x1b[0m", text
    )
