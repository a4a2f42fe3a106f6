"""Text for a terminal: what a table, a file's name or a message holds never moves its cursor."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from quatrain.components.wording import plain
from quatrain.terminal.colours import coloured, has_colours


class PlainStream:
    """A text stream that writes control characters out, and colours lines for a terminal.

    It has no `buffer`, so nobody can write past it, but for what is written to `unfiltered`.

    Args:
        stream: Receives the text.

    Attributes:
        last_write_s: The monotonic time of the last text.
        is_drawn_on: Whether someone has taken `unfiltered`, to draw on the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._is_coloured = stream, has_colours(stream)
        self.last_write_s, self.is_drawn_on = time.monotonic(), False

    @property
    def unfiltered(self) -> TextIO:
        """The stream itself."""
        self.is_drawn_on = True
        return self._stream

    def write(self, text: str) -> int:
        """Writes a text and returns its length."""
        self.last_write_s = time.monotonic()
        shown = plain(text)
        self._stream.write(coloured(shown) if self._is_coloured else shown)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        if name in ("buffer", "_stream"):
            raise AttributeError(name)
        return getattr(self._stream, name)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Lets all that this process prints pass through `plain`."""
    former: tuple[Any, Any] = sys.stdout, sys.stderr
    plain_ones: tuple[Any, Any] = PlainStream(sys.stdout), PlainStream(sys.stderr)
    sys.stdout, sys.stderr = plain_ones
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former
