"""The log of requests that `quatrain serve` writes: the rows that an endpoint of Vertex AI logs."""

from __future__ import annotations

import datetime
import errno
import fcntl
import hashlib
import json
import os
import sys
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quatrain.components.errors import ServedError
from quatrain.components.serve.request_log import (
    ENDPOINT,
    ID,
    MODEL,
    REQUEST,
    RESPONSE,
    TIME,
    file_of,
    rotated,
)
from quatrain.components.wording import first_line

MAX_BYTES = 64 << 20
"""The size at which a file is set aside, and another one begun."""
KEPT = 4
"""How many files that were set aside are kept, so that all take at most 320 MB."""
_PRIVATE = 0o600
"""Requests may hold what a person would not tell others."""


@dataclass
class LogFile:
    """A file of JSON Lines, a request a line; threads and processes may write to it at once.

    Attributes:
        path: The file, or the folder that it is in.
        name: The name of the model, which each row has as its endpoint.
        sampling: The share of the requests that are logged. It follows from their ids.
    """

    path: str
    name: str
    sampling: float = 1.0
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _has_failed: bool = field(default=False, init=False)

    @property
    def file(self) -> Path:
        """The file."""
        return file_of(self.path)

    def check(self) -> None:
        """Makes the file, if it is not there.

        Raises:
            ServedError: It cannot be written.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            os.close(self._open())
        except OSError as error:
            raise ServedError(
                f"requests cannot be logged to {self.file} ({first_line(error)}); name another file"
            ) from error

    def write(self, deployed: str, body: bytes, answer: Mapping[str, Any]) -> None:
        """Appends a request, if it is sampled. A request is answered though this fails.

        Args:
            deployed: What the version that answered is called.
            body: The body of the request, which becomes its one payload.
            answer: The answer.
        """
        id_ = uuid.uuid4().int >> 67
        if not _is_sampled(id_, self.sampling):
            return
        row = {
            ENDPOINT: self.name,
            MODEL: deployed,
            TIME: datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
            ID: id_,
            REQUEST: [body.decode(errors="replace")],
            RESPONSE: [json.dumps(answer)],
        }
        try:
            with self._lock:
                self._append(json.dumps(row).encode() + b"\n")
                self._has_failed = False
        except OSError as error:
            if not self._has_failed:  # once, not for each request
                self._has_failed = True
                words = f"warning: requests are not logged to {self.file}: {first_line(error)}"
                print(words, file=sys.stderr, flush=True)

    def _open(self) -> int:
        return os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)

    def _append(self, line: bytes) -> None:
        """Appends a line by one call, so that no reader finds a line within another one."""
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed
                if not _is_at(descriptor, self.file):
                    continue  # another process has set it aside meanwhile
                size = os.fstat(descriptor).st_size
                if size and size + len(line) > MAX_BYTES:
                    self._set_aside()
                    continue
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = b"\n" + line  # a process was killed while it wrote
                if os.write(descriptor, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return
            finally:
                os.close(descriptor)

    def _set_aside(self) -> None:
        for number in range(KEPT - 1, -1, -1):
            with suppress(FileNotFoundError):
                rotated(self.file, number).replace(rotated(self.file, number + 1))


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_sampled(id_: int, share: float) -> bool:
    digest = hashlib.sha256(str(id_).encode()).digest()
    return int.from_bytes(digest[:7], "big") < share * 2**56
