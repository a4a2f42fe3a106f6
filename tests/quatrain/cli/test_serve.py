"""The verb serve as a process: before, during and after a swap, and at its end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quatrain.components import history
from quatrain.components.artifacts import sha256_of
from tests.components.handmade import export_model, make_rows, write_examples

ROOT = Path(__file__).parents[3]
TOYS = ROOT / "tests/fixtures/root-0.1.0/root"
ROW = {"size": 1.5, "colour": "red"}
REQUESTS, CLIENTS = 10_000, 8


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Starts the verb at a free port; it may not be listening yet."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "quatrain", "serve", *words, "--port", str(port)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def statuses_until_ready(port: int) -> list[int]:
    """Returns the statuses of the health route, from the first answer to the first 200."""
    statuses: list[int] = []
    deadline = time.monotonic() + 120
    while not statuses or statuses[-1] != 200:
        assert time.monotonic() < deadline, statuses
        try:
            statuses.append(ask(port, "/health")[0])
        except ConnectionError:
            time.sleep(0.02)
    return statuses


def body_of(*instances: Any) -> bytes:
    return json.dumps({"instances": instances}).encode()


def samples(port: int) -> dict[str, float]:
    """Returns the value of each sample of the metrics, by its name and labels."""
    status, text = ask(port, "/metrics")
    assert status == 200
    families = text_string_to_metric_families(text.decode())
    return {
        " ".join([s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()))]): s.value
        for family in families
        for s in family.samples
    }


class Client(threading.Thread):
    """Sends one request after the other over one connection, and never connects again."""

    def __init__(self, port: int, body: bytes, go_on: Any) -> None:
        super().__init__(daemon=True)
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self.request, self.go_on = head.encode() + body, go_on
        self.answers: list[bytes] = []

    def run(self) -> None:
        with self.connection:
            while self.go_on():
                self.connection.sendall(self.request)
                self.answers.append(self.answer())

    def answer(self) -> bytes:
        data = b""
        while True:
            part = self.connection.recv(65536)
            assert part, "the connection was closed"
            data += part
            head, blank, rest = data.partition(b"\r\n\r\n")
            if blank:
                length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
                if len(rest) == length:
                    return head.split(b"\r\n")[0] + b" " + rest


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[Path, Any]:
    """Two runs of a small model whose answers differ, and a function that promotes one."""
    root = tmp_path / "root"
    examples = write_examples(tmp_path / "examples", {"train": make_rows(50)})
    for run, shift in (("first", 0.0), ("second", 1.0)):
        export_model(root / "hand-made" / run / "plan/model/model", shift=shift)

    def promote(run: str) -> None:
        model = root / "hand-made" / run / "plan/model"
        split = {"by": "hash", "keys": ["day"]}
        metadata = sha256_of(model / "model/metadata.json")
        history.record_run(
            *(str(root), "hand-made", run, "2026-12-01T00:00:00+00:00", examples),
            model=str(model),
            split=split,
            metadata=metadata,
        )

    return root, promote


def test_no_request_is_lost_while_the_champion_changes(two_runs: tuple[Path, Any]) -> None:
    root, promote = two_runs
    promote("first")
    words = (str(root / "hand-made"), "--root", str(root), "--poll", "0.1")
    with serving(*words) as (process, port):
        statuses_until_ready(port)
        swaps = 0

        def go_on() -> bool:
            return swaps < 2 or sum(len(c.answers) for c in clients) < REQUESTS

        clients: list[Client] = []
        body = body_of({"delay": 30.0, "carrier": "UA"})
        clients += [Client(port, body, go_on) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for n, run in ((2_000, "second"), (5_000, "first")):
            while sum(len(c.answers) for c in clients) < n and process.poll() is None:
                time.sleep(0.02)
            promote(run)
            deadline = time.monotonic() + 60
            while samples(port)["quatrain_model_swaps_total"] == swaps:
                assert time.monotonic() < deadline, samples(port)
                time.sleep(0.02)
            swaps += 1
        for client in clients:
            client.join(120)
        assert not any(client.is_alive() for client in clients)
        answers = [answer for client in clients for answer in client.answers]
        counts = samples(port)
    assert len(answers) >= REQUESTS
    assert {answer.split(b" {")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
    assert len(set(answers)) == 2  # each one's own answer, and no other
    assert counts["quatrain_requests_total code=200 route=predict"] == len(answers)
    assert counts["quatrain_rows_total"] == len(answers)
    for client in clients:  # first, second, first again
        changes = sum(a != b for a, b in zip(client.answers, client.answers[1:], strict=False))
        assert changes == 2


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[str], int, list[int]]]:
    with serving(str(TOYS / "toys"), "--root", str(TOYS)) as (process, port):
        yield process, port, statuses_until_ready(port)


def test_it_listens_before_it_has_loaded(server: Any) -> None:
    statuses = server[2]
    assert statuses[0] == 503
    assert statuses == [503] * (len(statuses) - 1) + [200]


def test_it_names_the_run_and_the_address(server: Any) -> None:
    line = server[0].stdout.readline()
    assert line == f"serving run 20261201T143511-251852 at http://127.0.0.1:{server[1]}/predict\n"


def test_arrays_are_answered_as_objects_are(server: Any) -> None:
    in_order = ask(server[1], "/predict", body_of([1.5, "red"], ["", None]))
    by_name = ask(server[1], "/predict", body_of(ROW, dict.fromkeys(ROW)))
    assert in_order == by_name and in_order[0] == 200
    status, answer = ask(server[1], "/predict", body_of([1.5]))
    assert status == 400 and b"send 2 values in the order of the inputs" in answer


def test_metrics_are_what_prometheus_reads(server: Any) -> None:
    port, before = server[1], samples(server[1])
    rows = [ROW, {"size": None, "colour": 'a "new" one'}, {"size": 2.0, "colour": ""}]
    assert ask(port, "/predict", body_of(*rows))[0] == 200
    assert ask(port, "/predict", b"{")[0] == 400
    assert ask(port, "/nowhere")[0] == 404
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.")
        while connection.recv(1 << 12):  # a request is counted once its answer is out
            pass
    after = samples(port)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert {name: n for name, n in grown.items() if n and "seconds" not in name} == {
        "quatrain_requests_total code=200 route=predict": 1,
        "quatrain_requests_total code=400 route=predict": 1,
        "quatrain_requests_total code=404 route=other": 1,
        "quatrain_requests_total code=400 route=other": 1,
        "quatrain_requests_total code=200 route=metrics": 1,
        "quatrain_rows_total": 3,
        "quatrain_missing_values_total input=size": 1,
        "quatrain_missing_values_total input=colour": 1,
        "quatrain_unseen_values_total input=colour": 1,
    }
    assert grown["quatrain_request_seconds_count"] == 2
    assert grown["quatrain_request_seconds_bucket le=+Inf"] == 2
    assert grown["quatrain_request_seconds_sum"] > 0
    (info,) = (name for name in after if name.startswith("quatrain_model_info "))
    model = TOYS / "toys/20261201T143511-251852/model"
    assert f"metadata_sha256={sha256_of(model / 'metadata.json')}" in info
    assert "run=20261201T143511-251852" in info


def test_sigterm_ends_it_once_its_requests_are_answered() -> None:
    with serving(str(TOYS / "toys"), "--root", str(TOYS)) as (process, port):
        statuses_until_ready(port)
        large = body_of(*[ROW] * 20_000)
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(ask, port, "/predict", large) for _ in range(4)]
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            assert [answer.result()[0] for answer in answers] == [200] * 4
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0 and output.endswith("stopped by SIGTERM\n")


def test_what_cannot_be_served_is_one_sentence(tmp_path: Path, server: Any) -> None:
    for words, sentence in (
        (
            (str(tmp_path),),
            "holds no runs; train a model by `quatrain run`, or name another folder",
        ),
        ((str(TOYS / "toys"), "--root", str(tmp_path)), "was evaluated by no run below"),
        ((str(TOYS / "toys"), "--port", str(server[1])), "choose another by --port or --host"),
    ):
        command = [sys.executable, "-P", "-m", "quatrain", "serve", "--port", "0", *words]
        ended = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 1 and "Traceback" not in ended.stderr
        assert ended.stderr.splitlines()[-1].startswith("error: ") and sentence in ended.stderr
