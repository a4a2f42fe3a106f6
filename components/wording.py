"""Words of the error messages."""

import difflib
from collections.abc import Iterable


def near(word: object, allowed: Iterable[object]) -> str:
    """Returns `; did you mean 'x'?`, or the allowed words when none is close."""
    words = [str(a) for a in allowed]
    close = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; choose one of {', '.join(words)}" if words else ""
