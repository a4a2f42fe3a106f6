"""Loads a server of a model: `load_.py KIND CLIENTS ROWS CSV MODEL OUT`, plus a command for a peer.

KIND is `serve` (the verb), `bare` (calls of the SavedModel in this process, one thread a client) or
`peer` (the command that follows OUT, with a port at its end). Each client has one connection, sends
a request of ROWS rows, waits for the answer, and sends the next.
"""

from __future__ import annotations

import csv as csv_format
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import measured

WARM_S, LOAD_S, START_S = 1.0, 5.0, 180.0


def instances(csv: str, model: Path, n: int) -> list[dict[str, Any]]:
    """Returns the first rows of a CSV file as instances of a model."""
    inputs = {
        i["name"]: i["type"] for i in json.loads((model / "metadata.json").read_text())["inputs"]
    }
    with open(csv, newline="", encoding="utf-8") as file:
        rows = [row for _, row in zip(range(n), csv_format.DictReader(file), strict=False)]
    return [{name: _value(row[name], type_) for name, type_ in inputs.items()} for row in rows]


def _value(text: str, type_: str) -> Any:
    if text == "" or type_ == "string":
        return text or None
    return int(text) if type_ == "int" else float(text)


def free_port() -> int:
    """Returns a port that no program listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], port: int) -> Iterator[None]:
    """Starts a server, and waits until its health route answers 200."""
    process = subprocess.Popen([*command, str(port)])
    deadline = time.monotonic() + START_S
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


class Connection:
    """A client of its own: the answer that it waits for, and when it asked."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.data, self.asked_s = b"", 0.0

    def ask(self, request: bytes) -> None:
        """Sends a request."""
        self.data, self.asked_s = b"", time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Reads what has come, and returns whether the answer is whole."""
        part = self.socket.recv(1 << 20)
        if not part:
            raise ConnectionError("the server closed a connection")
        self.data += part
        head, blank, body = self.data.partition(b"\r\n\r\n")
        if not blank:
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(self.data[:500].decode(errors="replace"))
        (length,) = (
            line.split(b":")[1]
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        return len(body) == int(length)


def load(port: int, clients: int, body: bytes, seconds: float) -> list[float]:
    """Returns the seconds of each request that was answered in a time."""
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    taken_s: list[float] = []
    with selectors.DefaultSelector() as selector:
        connections = [Connection(port) for _ in range(clients)]
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask(request)
        end = time.perf_counter() + seconds
        waiting = clients
        while waiting:
            for key, _ in selector.select():
                connection = key.data
                if not connection.is_answered():
                    continue
                now = time.perf_counter()
                taken_s.append(now - connection.asked_s)
                if now < end:
                    connection.ask(request)
                else:
                    waiting -= 1
                    selector.unregister(connection.socket)
                    connection.socket.close()
    return taken_s


def bare(model: Path, clients: int, rows: list[dict[str, Any]], seconds: float) -> list[float]:
    """Returns the seconds of each call of the SavedModel, with one thread a client."""
    from quatrain.components.serve.online.instances import read_rows
    from quatrain.components.serve.served_model import ServedModel
    from quatrain.trainer.features import raw_inputs

    served = ServedModel.load(model)
    inputs = served.transform.inputs
    columns = raw_inputs(read_rows(rows, inputs, served.transform.text.columns), inputs)
    taken_s: list[float] = []

    def call(until: float) -> None:
        while (started := time.perf_counter()) < until:
            served.answer(columns)
            taken_s.append(time.perf_counter() - started)

    for duration in (WARM_S, seconds):
        taken_s.clear()
        until = time.perf_counter() + duration
        threads = [threading.Thread(target=call, args=[until]) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return taken_s


def main(kind: str, n_clients: str, n_rows: str, csv: str, model: str, *rest: str) -> None:
    """Measures a server, or the bare model."""
    clients, command = int(n_clients), list(rest[1:])
    load_before = os.getloadavg()[0]
    rows = instances(csv, Path(model), int(n_rows))
    body = json.dumps({"instances": rows}).encode()
    taken_s: list[float] = []
    if kind == "serve":
        command = [sys.executable, "-P", "-m", "quatrain", "serve", model, "--trust", "--port"]

    def work() -> None:
        if kind == "bare":
            taken_s.extend(bare(Path(model), clients, rows, LOAD_S))
        else:
            taken_s.extend(load(port, clients, body, LOAD_S))

    def outcome() -> dict[str, Any]:
        ordered = sorted(taken_s)
        return {
            "rows_a_second": len(ordered) * len(rows) / LOAD_S,
            "load_before": load_before,
            "p50_ms": 1000 * ordered[len(ordered) // 2],
            "p99_ms": 1000 * ordered[int(len(ordered) * 0.99)],
        }

    if kind == "bare":
        measured(work, outcome)
        return
    port = free_port()
    with serving(command, port):
        load(port, clients, body, WARM_S)
        measured(work, outcome)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main(*sys.argv[1:])
