"""Text of any encoding as UTF-8: a stream of it, or one piece after another.

Bytes that do not decode become `UNDECODABLE`, so the row that has them is rejected.
"""

from __future__ import annotations

import codecs
from typing import Protocol, Self

import pyarrow as pa

from quatrain.components.errors import SourceError
from quatrain.components.specification.encodings import UNDECODABLE, is_single_byte, is_utf8
from quatrain.components.storage import compression_of, open_stream, readable

BOM = codecs.BOM_UTF8
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""The encoding of each byte-order mark; that of UTF-32 begins with that of UTF-16."""
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_CONTROLS = "\n\r\t\x01\x1e\x1f"
"""Control characters that text may have: line ends and delimiters."""
_CHUNK_BYTES = 1 << 20
_PEEK_BYTES = 2000
"""How much of a file without a mark is looked at for wide characters; a whole number of them."""


class Stream(Protocol):
    """Reads bytes in order: a file of pyarrow, or a `_Utf8Stream`."""

    def read(self, n_bytes: int) -> bytes:
        """Returns the next bytes; fewer than `n_bytes` only at the end."""

    def close(self) -> None:
        """Closes the file."""

    def __enter__(self) -> Self:
        """Returns the stream."""

    def __exit__(self, *_: object) -> None:
        """Closes the file."""


def is_cuttable(path: str, encoding: str) -> bool:
    """Whether the rows of a file can be read from the middle, and not from its start only."""
    return compression_of(path) is None and (is_utf8(encoding) or is_single_byte(encoding))


def open_text(path: str, encoding: str, buffer_bytes: int | None = None) -> Stream:
    """Opens a file of text, unpacked, from its start.

    Positions in a file count these bytes: those of the file, or those of UTF-8 where it has an
    encoding in which a character may be more than one byte. `to_utf8` decodes the others.
    """
    stream = open_stream(path, compression_of(path), buffer_bytes)
    if is_utf8(encoding) or is_single_byte(encoding):
        return stream
    return _Utf8Stream(stream, encoding, path)


def read_utf8_head(path: str, n_bytes: int, encoding: str) -> bytes:
    """Returns the first bytes of a file as `open_text` gives them.

    Raises:
        SourceError: The file cannot be read.
    """
    with readable(path), open_text(path, encoding) as stream:
        return bytes(stream.read(n_bytes))


def to_utf8(data: bytes, encoding: str) -> bytes:
    """Returns bytes of `open_text` as UTF-8: those of an encoding with one byte per character."""
    if is_utf8(encoding) or not is_single_byte(encoding) or data.isascii():
        return data
    return data.decode(encoding, _MARK).encode("utf-8", "surrogatepass")


def undecodable(what: str, encoding: str) -> str:
    """Returns the sentence about text that is not of its source's encoding, with the way out."""
    if is_utf8(encoding):
        way_out = "if the file has another encoding, set source.encoding, for example to cp1252"
        return f"{what} is not valid UTF-8; {way_out}"
    return f"{what} is not valid {encoding}; correct source.encoding"


def encoding_of(head: bytes) -> str | None:
    """Returns the encoding that the first bytes of a file tell; None: they may be ASCII or others.

    A mark tells it, or the zero bytes of wide characters where there is no mark.
    """
    if marked := next((name for mark, name in _MARKS.items() if head.startswith(mark)), None):
        return marked
    if b"\0" not in head[:_PEEK_BYTES]:
        return None
    texts = {name: text for name in _WIDE if (text := _wide_text(head[:_PEEK_BYTES], name))}
    return max(texts, key=lambda name: sum(map(str.isascii, texts[name])), default=None)


def _wide_text(head: bytes, encoding: str) -> str:
    """Returns bytes as text of an encoding with wide characters; empty if they are none.

    Nearly all characters can be printed, most bytes of line feeds are line feeds, and there are
    zero bytes in the first line: other rows of narrow text may have some, too.
    """
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    is_odd = sum(not c.isprintable() and c not in _CONTROLS for c in text)
    n_bad, n_lines = text.count("\ufffd") + 20 * is_odd, head.count(b"\n")
    is_wide = b"\0" in head.partition(b"\n")[0] and text.count("\n") >= 0.6 * n_lines
    return text if is_wide and n_bad <= len(text) / 10 else ""


class _Utf8Stream:
    """A stream of text of another encoding, as UTF-8."""

    def __init__(self, stream: pa.NativeFile, encoding: str, path: str) -> None:
        self._stream, self._encoding, self._path = stream, encoding, path
        self._decoder = codecs.getincrementaldecoder(encoding)(_MARK)
        self._rest, self._at, self._is_done = b"", 0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()

    def read(self, n_bytes: int) -> bytes:
        """Returns the next bytes of UTF-8; fewer than `n_bytes` only at the end."""
        parts, missing = [], n_bytes
        while missing and (self._at < len(self._rest) or self._fill()):
            part = self._rest[self._at : self._at + missing]
            parts.append(part)
            self._at += len(part)
            missing -= len(part)
        return b"".join(parts)

    def _fill(self) -> bool:
        """Decodes the next part of the file; returns whether there was more of it."""
        while not self._is_done:
            data = self._stream.read(_CHUNK_BYTES)
            self._is_done = not data
            try:
                text = self._decoder.decode(data, final=self._is_done)
            except UnicodeError as error:  # what does not decode is marked, except a lacking mark
                raise SourceError(
                    f"{self._path} has no byte-order mark, which source.encoding: {self._encoding} "
                    f"needs; set source.encoding: {self._encoding}-le, or {self._encoding}-be, "
                    f"or, if the other files have the mark, write this one so, too; "
                    f"`iconv -f utf-8 -t {self._encoding}` writes it from UTF-8"
                ) from error
            self._rest, self._at = text.encode("utf-8", "surrogatepass"), 0
            if self._rest:
                return True
        return False


_MARK = "quatrain.undecodable"


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Returns what stands for bytes that do not decode, and where to go on."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return UNDECODABLE.decode("utf-8", "surrogatepass"), error.end


codecs.register_error(_MARK, _mark)
