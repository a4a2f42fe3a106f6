"""Words of the error messages."""

import difflib
import re
from collections.abc import Iterable

SHOWN_WORDS, SHOWN_CHARACTERS = 20, 60
"""The header of a file that is no CSV can be a megabyte of anything."""


def near(word: object, allowed: Iterable[object]) -> str:
    """Returns `; did you mean 'x'?`, or the allowed words when none is close."""
    words = [str(a) for a in allowed]
    close = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not words:
        return ""
    more = f", ... ({len(words):,} in all)" if len(words) > SHOWN_WORDS else ""
    return f"; choose one of {', '.join(map(_shown, words[:SHOWN_WORDS]))}{more}"


def first_line(error: Exception) -> str:
    """Returns the first line of a library's error; of one that has no text, its type's name.

    Arrow wraps the error of Google's C++ client in a line of the client's own names. The message of
    the server stands in it behind "last message of" and before "error_info=".
    """
    line = (str(error).splitlines() or [type(error).__name__])[0]
    message = re.search(r"last message of (.*?)(?: error_info=|$)", line)
    return message[1] if message else line


def _shown(word: str) -> str:
    cut = word if len(word) <= SHOWN_CHARACTERS else word[:SHOWN_CHARACTERS] + "..."
    return cut if cut.isprintable() else repr(cut)
