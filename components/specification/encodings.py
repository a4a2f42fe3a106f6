"""Encodings of text: which of Python's codecs a source may name, and how their files are read."""

import codecs
from functools import cache

UTF_8 = "utf-8"
UNDECODABLE = "\udcff".encode("utf-8", "surrogatepass")
"""What stands for bytes that do not decode: no text in UTF-8 holds it."""
REPLACEMENT = "\ufffd".encode()
"""What a rejected row shows for them."""
_ESCAPES = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
"""Python's codecs that are no encodings of a file's text."""
_SAMPLE = "a,1\n"


def check_encoding(name: str) -> str:
    """Returns the name of an encoding, as it is.

    Raises:
        ValueError: Python has no codec of this name, or its codec does not encode text.
    """
    try:
        is_text = _SAMPLE.encode(name).decode(name).removeprefix("\ufeff") == _SAMPLE
        is_text &= codecs.lookup(name).name not in _ESCAPES
    except (LookupError, UnicodeError, ValueError):
        is_text = False
    if not is_text:
        raise ValueError(
            f"{name!r} is no encoding of text; write one that Python knows, such as utf-8, utf-16, "
            f"cp1252, latin-1, cp1250, shift_jis or gb18030"
        )
    return name


@cache
def is_utf8(name: str) -> bool:
    """Whether an encoding is UTF-8, whose bytes are read as they are."""
    return codecs.lookup(name).name in ("utf-8", "utf-8-sig")


@cache
def is_single_byte(name: str) -> bool:
    """Whether each byte is a character, and the bytes below 128 are those of ASCII.

    A file of such an encoding can be cut at any line end, as one of UTF-8 can.
    """
    return all(_is_a_character(byte, name) for byte in range(256))


def _is_a_character(byte: int, name: str) -> bool:
    """Whether a byte alone is a character, or undefined, and the same as in ASCII below 128."""
    decoder = codecs.getincrementaldecoder(name)()
    try:
        text = decoder.decode(bytes([byte]))  # empty if more bytes belong to the character
    except UnicodeDecodeError:
        return byte > 127
    return text == chr(byte) if byte < 128 else len(text) == 1 and ord(text) > 127
