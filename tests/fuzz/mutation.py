"""Mutations of bytes and documents: a few edits of something valid, with interesting values."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

TOKENS = [
    *(b"\x00", b"\n", b"\r", b"\r\n", b'"', b'""', b"'", b",", b";", b"\t", b"|", b" ", b"\\"),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
    ),
    *(b"NA", b"nan", b"-inf", b"1e400", b"-0", b"0x1F", b"9007199254740993", b"9" * 40, b"+5"),
    *(b"true", b"null", b"{}", b"[", b"{", b"}", b"]", b":", b"\\u0000", b"\\ud800", b"#", b"%"),
    *(b"2013-02-29", b"0001-01-01", b"9999-12-31T23:59:59.999999999+14:00", b"1.", b".5", b"--"),
]
"""What upsets readers: separators, broken UTF-8, odd numbers and times, and escapes."""

VALUES: list[Any] = [
    *(None, True, 0, -1, 2**70, 1.5, float("inf"), float("nan"), "", "x", "\x85", " ", "a.b"),
    *([], [1], ["x", "x"], [None], [[]], {}, {"x": 1}, {"": None}, {"x": {"y": []}}),
    *(datetime.date(2014, 5, 1), "{{$", "9" * 500, "\U0001f600", "x" * 5000, -0.0, 1e300, "\x00"),
    *("../x", "/", "%", "%Y", "*", "[", "\ud800", "1e400", 2**63, -(2**63) - 1, "A" * 64, "\n"),
]
"""What may stand at a place of a document that wants something else."""


@st.composite
def mutated(
    draw: Draw, corpus: Sequence[bytes], tokens: Sequence[bytes] = TOKENS, most: int = 6
) -> bytes:
    """Returns one of a corpus after a few edits."""
    data: bytes = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(0, most))):
        data = draw(st.sampled_from(_EDITS))(draw, data, tokens)
    return data


def _insert(draw: Draw, data: bytes, tokens: Sequence[bytes]) -> bytes:
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from(tokens)) + data[at:]


def _overwrite(draw: Draw, data: bytes, tokens: Sequence[bytes]) -> bytes:
    at, token = draw(st.integers(0, len(data))), draw(st.sampled_from(tokens))
    return data[:at] + token + data[at + len(token) :]


def _flip(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    at, byte = draw(st.integers(0, len(data))), draw(st.integers(0, 255))
    return data[:at] + bytes([byte]) + data[at + 1 :]


def _delete(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    at, size = draw(st.integers(0, len(data))), draw(st.integers(1, 40))
    return data[:at] + data[at + size :]


def _repeat(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    at, size = draw(st.integers(0, len(data))), draw(st.integers(1, 40))
    return data[:at] + data[at : at + size] * draw(st.sampled_from([2, 3, 300])) + data[at + size :]


def _cut(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _move_line(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    line = lines.pop(draw(st.integers(0, len(lines) - 1)))
    lines.insert(draw(st.integers(0, len(lines))), line)
    return b"\n".join(lines)


_EDITS = [_insert, _insert, _overwrite, _flip, _delete, _repeat, _cut, _move_line]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the place of every value in a document, as keys and indices from its root."""
    yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


def changed(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Returns a document with another value at a place."""
    if not at:
        return value
    document = inner = copy.deepcopy(document)
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return document


@st.composite
def altered(draw: Draw, document: Any, values: Sequence[Any] = VALUES, most: int = 3) -> Any:
    """Returns a document after a few changes: of a value, of a key, or without one."""
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.sampled_from(list(places(document))))
        change = draw(st.sampled_from(["value", "value", "absent", "moved", "key"]))
        if change == "moved":
            other = draw(st.sampled_from(list(places(document))))
            value = document
            for key in other:
                value = value[key]
            document = changed(document, at, copy.deepcopy(value))
        elif change == "value" or not at or not isinstance(at[-1], str):
            document = changed(document, at, draw(st.sampled_from(values)))
        else:
            document = _without(
                document, at, draw(st.sampled_from(_KEYS)) if change == "key" else ""
            )
    return document


_KEYS = ["x", "Uri", "label", "from", "a.b", "__class__", "9", "\x85", "type"]


def _without(document: Any, at: tuple[Any, ...], other: str) -> Any:
    """Returns a document without a key, or with another name for it."""
    document = inner = copy.deepcopy(document)
    for key in at[:-1]:
        inner = inner[key]
    value = inner.pop(at[-1])
    if other:
        inner[other] = value
    return document
