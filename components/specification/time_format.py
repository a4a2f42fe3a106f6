"""The format of a time: the directives that it may hold, as `strptime` has them."""

import re

DIRECTIVE = re.compile(r"%(.)?", re.DOTALL)
ZONES = {
    **dict.fromkeys(("UTC", "GMT", "UT", "Z", "WET"), "+0000"),
    "EST": "-0500",
    "EDT": "-0400",
    "CST": "-0600",
    "CDT": "-0500",
    "MST": "-0700",
    "MDT": "-0600",
    "PST": "-0800",
    "PDT": "-0700",
    "WEST": "+0100",
    "CET": "+0100",
    "CEST": "+0200",
    "EET": "+0200",
    "EEST": "+0300",
}
"""The names of zones that `%Z` reads: those of RFC 2822 and of Europe, with their offsets."""
DIRECTIVES = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    **dict.fromkeys("mdHIMS", "[0-9]{1,2}"),
    "f": "[0-9]{1,9}",
    "b": "[A-Za-z]{3}",
    "B": "[A-Za-z]{3,9}",
    "p": "[AaPp][Mm]",
    "a": "[A-Za-z]{3}",
    "A": "[A-Za-z]{6,9}",
    "z": r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)",
    "Z": f"(?:{'|'.join(ZONES)})",
    "%": "%",
}
"""The directives that a format of times may hold, and the characters that each matches."""


def format_problem(form: str | None) -> str | None:
    """Returns what is wrong with a format, or None.

    A format must name one day, and no part of the time twice.
    """
    if form is None:
        return None
    used = DIRECTIVE.findall(form)
    if unknown := [d for d in used if d not in DIRECTIVES]:
        known = ", ".join(f"%{d}" for d in DIRECTIVES)
        return f"holds %{unknown[0]}; it may hold {known}"
    parts = [_PART.get(d, d) for d in used if d != "%"]
    if twice := [p for p in parts if parts.count(p) > 1]:
        return f"says {twice[0]} twice"
    if not {"the year", "the month", "d"} <= set(parts):
        return "must name the day, by %Y or %y, %m or %b or %B, and %d"
    if ("I" in parts) != ("p" in parts):
        return "must hold both %I and %p, or neither; %H is the hour of 24"
    return None


_PART = {
    "Y": "the year",
    "y": "the year",
    "H": "the hour",
    "I": "I",
    **dict.fromkeys("mbB", "the month"),
    **dict.fromkeys("aA", "the weekday"),
    **dict.fromkeys("zZ", "the zone"),
}
