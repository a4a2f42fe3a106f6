"""Words of the error messages."""

import difflib
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


def _shown(word: str) -> str:
    cut = word if len(word) <= SHOWN_CHARACTERS else word[:SHOWN_CHARACTERS] + "..."
    return cut if cut.isprintable() else repr(cut)
