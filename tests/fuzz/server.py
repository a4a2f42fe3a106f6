"""The server: 4xx to any wrong request, and the same answer to a good one before and after it."""

from __future__ import annotations

import atexit
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.documents import ROOT
from tests.fuzz.door import Door
from tests.fuzz.models import MODEL, ROW
from tests.fuzz.mutation import VALUES, altered, mutated
from tests.fuzz.tables import JSON_TOKENS

_GOOD = json.dumps({"instances": [ROW]}).encode()
_HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
_REQUESTS = [
    _HEAD % len(_GOOD) + _GOOD,
    b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(_GOOD), _GOOD),
    b"POST /predict HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
]
_HTTP_TOKENS = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"/",
        b"?",
        b"%00",
        b"%",
        b"%ff",
        b"\x00",
        b"\xff",
        b"HTTP/9.9",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: x\r\n",
        b"chunked",
        b"gzip",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: x\r\n",
        b"A" * 9000,
        b"X: y\r\n" * 900,
    ),
    *(
        b"PUT",
        b"HEAD",
        b"OPTIONS",
        b"TRACE",
        b"http://a/predict",
        b"//",
        b"Connection: close\r\n",
        b";",
    ),
    *(
        b"Expect: 100-continue\r\n",
        b"ffffffffff\r\n",
        b"-1\r\n",
        b"\r\n\r\n",
        b"{}",
        b'"',
        b"\xc3\xa9",
    ),
]


@st.composite
def _bodies(draw: Any) -> bytes:
    """Returns a whole request whose body is odd."""
    if draw(st.booleans()):
        body = draw(mutated([_GOOD], JSON_TOKENS, most=4))
    else:
        document = draw(altered({"instances": [ROW, dict(ROW)]}, [*VALUES, ROW, "red", 1e22]))
        body = json.dumps(document, default=str).encode()
    return _HEAD % len(body) + body


_CASES = st.tuples(_bodies() | mutated(_REQUESTS, _HTTP_TOKENS), st.integers(0, 400))


def _make_check(folder: Path) -> Callable[[tuple[bytes, int]], str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    environment = {**os.environ, "AIP_HTTP_PORT": str(port), "PYTHONPATH": str(ROOT)}
    (folder / "log").touch()
    log = (folder / "log").open(encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "quatrain.components.serve.server", str(MODEL)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=(folder / "log").open("w", encoding="utf-8"),
        text=True,
    )
    atexit.register(process.kill)
    assert process.stdout is not None
    started = any(line.startswith("serving on port") for line in process.stdout)
    assert started, "the server did not start"
    expected = _exchange(port, _REQUESTS[0], 0)
    assert _statuses(expected) == [200], expected

    def check(case: tuple[bytes, int]) -> str:
        request, cut = case
        statuses = _statuses(_exchange(port, request, cut))
        assert all(status < 500 for status in statuses), statuses
        again = _exchange(port, _REQUESTS[0], 0)
        assert _body(again) == _body(expected), again
        assert process.poll() is None
        assert _statuses(_exchange(port, _REQUESTS[1], 0)) == [200]
        logged = log.read()  # since the last case
        assert "Traceback" not in logged, logged
        return str(statuses[0]) if statuses else "no answer"

    return check


def _exchange(port: int, request: bytes, cut: int) -> bytes:
    """Sends a request, in two parts if it is cut, and returns all that comes back."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(request[:cut])
            connection.sendall(request[cut:])
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1 << 16):
                answer += data
        except OSError:
            pass  # the server has closed it before all was sent
    return answer


def _statuses(answer: bytes) -> list[int]:
    """Returns the status of each answer, without 100 Continue."""
    found = re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return [int(status) for status in found if status != b"100"]


def _body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


DOORS = (Door("server", _CASES, _make_check, 1000),)
