"""Phrases that messages share."""

import difflib
import re
from collections.abc import Iterable

SHOWN_WORDS, SHOWN_CHARACTERS = 20, 60
"""How many words a message lists, and how much of each.

The header of a file that is not a CSV can be a megabyte of anything.
"""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and line feed, and those that reverse the direction of text."""
_SINGULAR = {"are": "is", "were": "was", "have": "has", "do": "does"}
"""The forms of verbs that follow one thing; others take an s."""


def counted(n: int, noun: str, verb: str = "") -> str:
    """Returns a number with its noun: `1 error`, `2,000 classes`.

    Args:
        n: The number.
        noun: The noun in the singular.
        verb: A verb in the plural that follows: `2 rows are`, and of one `1 row is`.
    """
    if n == 1:
        verb = _SINGULAR.get(verb, f"{verb}s" if verb else "")
    else:
        noun += "es" if noun.endswith(("s", "x", "tch")) else "s"
    return f"{n:,} {noun} {verb}".rstrip()


def a_or_an(words: str) -> str:
    """Returns words after their article: `an Arrow IPC file`, `a Unix time`."""
    an = re.match(r"[aeioAEIO]|u(?!ni)|[FHLMNRSX](?=[A-Z])", words)  # as spoken: an HTML page
    return f"{'an' if an else 'a'} {words}"


def near(word: object, allowed: Iterable[object]) -> str:
    """Returns `; did you mean 'x'?`, or the allowed words when none is close."""
    words = [str(a) for a in allowed]
    folded = {a.casefold(): a for a in reversed(words)}
    close = difflib.get_close_matches(str(word).casefold(), folded, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    if not words:
        return ""
    more = f", ... ({len(words):,} in all)" if len(words) > SHOWN_WORDS else ""
    return f"; choose one of {', '.join(map(_shown, words[:SHOWN_WORDS]))}{more}"


def plain(text: str) -> str:
    """Returns a text with its control characters written out, as ESC by its code."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def first_line(error: Exception) -> str:
    """Returns the first line of a library's error, or the name of its type if it has no text.

    An error of the system is its file and its reason, without the number that Python puts first.
    Arrow wraps the error of Google's C++ client in a line of the client's own names. In it, the
    server's message stands between "last message of" and "error_info=".
    """
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    line = (text.splitlines() or [type(error).__name__])[0]
    message = re.search(r"last message of (.*?)(?: error_info=|$)", line)
    return message[1] if message else line


def _shown(word: str) -> str:
    cut = word if len(word) <= SHOWN_CHARACTERS else word[:SHOWN_CHARACTERS] + "..."
    return cut if cut.isprintable() else repr(cut)
