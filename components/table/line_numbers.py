"""The line of a byte in a text file, as an editor counts lines."""

from __future__ import annotations

from collections.abc import Sequence

from quatrain.components.errors import SourceError
from quatrain.components.table.encoded_text import Stream, open_text

LINE_BYTES = 1 << 20
"""The number of bytes that are read at once to count lines."""


class LineNumbers:
    """Finds the line of a byte in a text file, for bytes in ascending order.

    Each count goes on from the previous byte, so a file with many bad rows is read only once.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._path, self._byte, self._line = "", 0, 1
        self._stream: Stream | None = None

    def at(self, path: str, positions: Sequence[int]) -> list[int | None]:
        """Returns the line of each byte of a file: one more than the line ends before it."""
        if self._stream is None or path != self._path:
            self.close()
            self._path, self._byte, self._line = path, 0, 1
            self._stream = open_text(path, self._encoding, LINE_BYTES)
        return [self._reach(self._stream, position) for position in positions]

    def close(self) -> None:
        """Closes the open file."""
        if self._stream is not None:
            self._stream.close()

    def _reach(self, stream: Stream, position: int) -> int:
        """Reads on to a byte, and returns its line."""
        while self._byte < position:
            data = stream.read(min(position - self._byte, LINE_BYTES))
            if not data:
                raise SourceError(
                    f"{self._path} became shorter while it was read; run again when it is at rest"
                )
            self._byte += len(data)
            self._line += data.count(b"\n")
        return self._line
