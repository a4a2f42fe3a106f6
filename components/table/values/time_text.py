"""Times as people write them: by the format of their column, or else by ISO 8601."""

from __future__ import annotations

import contextlib
import re

import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.specification.time_format import DIRECTIVE, DIRECTIVES, ZONES
from quatrain.components.table.sql import run_query

ZONED = pa.timestamp("us", "UTC")
ZONE = r"[T ].*(?:Z|[+-]\d\d(?::?\d\d)?)\z"
"""Matches a timestamp that ends with its offset from UTC."""
_UTC = pa.timestamp("us")
"""The type of all times that are returned: in UTC, with no zone in their type."""

_DIALECT = (
    ("f", r"(\d{6})\d+", r"\1\2\3"),  # strptime reads microseconds, not nanoseconds
    ("z", "Z", r"\1+0000\2"),
    *(("Z", name, rf"\1{offset}\2") for name, offset in ZONES.items()),
)
"""What a directive takes and DuckDB's strptime does not, and how it is rewritten."""


def read_iso_times(text: pa.Array) -> pa.Array:
    """Reads timestamps with and without an offset; those without one are in UTC.

    Raises:
        pa.ArrowInvalid: A text is no such timestamp.
    """
    with contextlib.suppress(pa.ArrowInvalid):
        return text.cast(ZONED).cast(_UTC)
    zoned = pc.match_substring_regex(text, pattern=ZONE)
    if not pc.any(zoned).as_py():
        return text.cast(_UTC)
    plain = pc.if_else(zoned, None, text).cast(_UTC)
    offset = pc.if_else(zoned, text, None).cast(ZONED).cast(_UTC)
    return pc.coalesce(plain, offset)


def read_times(text: pa.Array, form: str) -> tuple[pa.Array, pa.Array]:
    """Returns times as strptime reads them, `[N] timestamp[us]`, and which texts are wrong.

    A text that leaves strptime to guess is wrong: `%Y` takes four digits here, for example, since
    strptime reads the 13 of 1/7/13 as the year 13.
    """
    text = pc.replace_substring_regex(text, pattern=" {2,}", replacement=" ")  # May  5, by ctime
    encoded = pc.ascii_trim(text, characters=" \t").dictionary_encode()
    form = re.sub(" {2,}", " ", form)
    distinct = encoded.dictionary
    fits = pc.match_substring_regex(distinct, pattern=_pattern(form))
    times = _strptime(pc.if_else(fits, distinct, None), form).take(encoded.indices)
    return times, pc.and_(pc.is_valid(text), pc.is_null(times))


def _pattern(form: str, directive: str = "", spelling: str = "") -> str:
    """Returns the pattern of a format of times.

    Args:
        form: The format.
        directive: One of its directives, to be matched as `spelling`: the text before it is group
            1 and the text after it the last group.
        spelling: The pattern of the directive.
    """
    pattern, at = r"\A(", 0
    for found in DIRECTIVE.finditer(form):
        pattern += _literal(form[at : found.start()])
        pattern += f"){spelling}(" if found[1] == directive else DIRECTIVES[found[1]]
        at = found.end()
    return pattern + _literal(form[at:]) + r")\z"


def _literal(text: str) -> str:
    """Returns the pattern of a literal text; RE2 rejects some escapes that re.escape writes."""
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def _strptime(text: pa.Array, form: str) -> pa.Array:
    """Returns `[N] timestamp[us]` in UTC, null where a text does not have the format."""
    for directive, spelling, replacement in _DIALECT:
        if directive in DIRECTIVE.findall(form):
            text = pc.replace_substring_regex(
                text, pattern=_pattern(form, directive, spelling), replacement=replacement
            )
    form = DIRECTIVE.sub(lambda found: "%z" if found[1] == "Z" else found[0], form)
    sql = "SELECT try_strptime(text, $1) AS time FROM batch"
    times = run_query(sql, pa.table({"text": text}), [form])
    return times.column("time").combine_chunks().cast(ZONED).cast(_UTC)
