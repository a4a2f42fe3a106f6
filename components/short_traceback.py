"""What a notebook shows of an error that a user can fix: its sentence, and the user's own lines.

IPython shows what `_render_traceback_` of an exception returns, one text for each line:
https://ipython.readthedocs.io/en/stable/config/integrating.html. Its own form of a missed gate has
194 lines, of which the sentence is the last.
"""

from __future__ import annotations

import traceback
from itertools import takewhile
from types import FrameType

_FULL = "import sys, traceback; traceback.print_exception(sys.last_value)"
_SHELL = ("IPython.", "ipykernel.")


def short_traceback(error: BaseException) -> list[str]:
    """Returns the lines of an error: its message, and the calls that led into Quatrain."""
    calls = traceback.walk_tb(error.__traceback__)
    own = takewhile(lambda call: not _is_in(call[0], "quatrain."), calls)
    frames = [call for call in own if not _is_in(call[0], *_SHELL)]
    return [
        *f"{type(error).__name__}: {error}".splitlines(),
        "",
        *"".join(traceback.StackSummary.extract(iter(frames)).format()).splitlines(),
        f"The full traceback: {_FULL}",
    ]


def _is_in(frame: FrameType, *packages: str) -> bool:
    return f"{frame.f_globals.get('__name__')}.".startswith(packages)
