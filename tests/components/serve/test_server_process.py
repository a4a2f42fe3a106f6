"""The server as a process: it answers idle, large and strange requests, and stops in order."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.errors import PortError
from quatrain.components.serve.online.service import MAX_BODY_BYTES
from quatrain.components.serve.server import port_of

ROOT = Path(__file__).parents[3]
MODEL = next(
    iter((ROOT / "tests/fixtures/root-0.1.0/root/toys").glob("2*351-*/*/*/plan/model/model"))
)
ROW = {"size": 1.5, "colour": "red"}


def start(port: int, *prefix: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "AIP_HTTP_PORT": str(port), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*prefix, sys.executable, "-P", "-m", "quatrain.components.serve.server", str(MODEL)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("serving on port"):
            return process
    raise AssertionError(f"the server ended with {process.wait()}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    process = start(port)
    yield process, port
    process.kill()
    process.wait()


def post(port: int, body: bytes, timeout: float = 30) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("POST", "/predict", body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def health(port: int, timeout: float = 3) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("GET", "/health")
        return connection.getresponse().status


def of(value: str, key: str = "size") -> bytes:
    return f'{{"instances": [{{"{key}": {value}, "colour": "red"}}]}}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 700_000,
        b'{"a": ' * 200_000,
        of("[" * 900 + "]" * 900),
        of("[" * 100_000 + "]" * 100_000),
        of("-Infinity"),
        of("1" + "0" * 401),
        of("1" * 5000),
        of("1e999"),
        of('"\\ud800"'),
        of("1", key="\\ud800"),
        of("1", key="k" * 1_000_000),
        of('1, "size": 2'),
        ("{" + ",".join(f'"{i}": 1' for i in range(100_000)) + ', "99999": 1}').encode(),
        of("true"),
        of("{}"),
        b"\xff\xfe",
        of("1").decode().encode("utf-16-be"),
        of("1").decode().encode("utf-32"),
        b"\x1f\x8b\x08\x00",
        b"",
        b"null",
        b'{"instances": {}}',
        b'{"instances": [null]}',
        b"x" * (MAX_BODY_BYTES + 1),
    ],
    ids=range(24),
)
def test_no_body_is_an_error_of_the_server(server: Any, body: bytes) -> None:
    start = time.monotonic()
    status, answer = post(server[1], body)
    assert status == 400 and answer["error"]
    assert time.monotonic() - start < 10


def test_a_thousand_bodies_of_a_fuzzer_get_no_5xx(server: Any) -> None:
    chance = random.Random(17)  # noqa: S311 - reproducible, not secret
    values = [
        "0",
        "-1",
        "1e400",
        "9" * 30,
        "null",
        "true",
        '""',
        '"\\u0000"',
        '"\\udfff"',
        "[]",
        "{}",
    ]
    values += ['"2014-05-12"', "0.1", "NaN", '"red"', "1.0", "-0.0", '"é"', "[[1]]", '{"size": 1}']
    with closing(http.client.HTTPConnection("127.0.0.1", server[1], timeout=30)) as connection:
        statuses = set()
        for _ in range(1000):
            pairs = [
                f'"{chance.choice(["size", "colour", "Size", "", "x"])}": {chance.choice(values)}'
                for _ in range(chance.randrange(4))
            ]
            body = bytearray(f'{{"instances": [{{{", ".join(pairs)}}}]}}'.encode())
            if chance.random() < 0.3:
                body[chance.randrange(len(body))] = chance.randrange(256)
            connection.request("POST", "/predict", bytes(body))
            answer = connection.getresponse()
            json.loads(answer.read())
            statuses.add(answer.status)
    assert statuses == {200, 400}


def test_a_transfer_encoding_that_nobody_knows_is_the_fault_of_the_client(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server[1]), timeout=10) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n{}")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "request_line",
    [
        b"POST /predict HTTP/1.1\r\nContent-Length: " + b"9" * 5000,
        b"POST http://[::1/predict HTTP/1.1",
        b"POST http://[x]/predict HTTP/1.1",
        b"POST http://\xe2\x84\x80/predict HTTP/1.1",
    ],
    ids=["length", "bracket", "address", "sign"],
)
def test_a_line_that_cannot_be_converted_is_the_fault_of_the_client(
    server: Any, request_line: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server[1]), timeout=10) as connection:
        connection.sendall(request_line + b"\r\nHost: x\r\n\r\n")
        assert connection.recv(100).startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


def listen_at(port: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "quatrain.components.serve.server", str(MODEL)],
        env={**os.environ, "AIP_HTTP_PORT": port, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("port", ["x", "", "-1", "65536", "8080.0", "\u0661", "9" * 5000])
def test_what_is_no_port_is_refused_in_a_sentence(port: str) -> None:
    with pytest.raises(PortError, match=r"^the variable AIP_HTTP_PORT is .*; set it to a port"):
        port_of(port)


def test_a_port_that_another_program_has_is_one_sentence(server: Any) -> None:
    ended = listen_at(str(server[1]))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"error: port {server[1]} cannot be listened at: Address already in use; set AIP_HTTP_PORT "
        f"to another port"
    )


def test_a_body_far_above_the_bound_is_cut_off(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server[1]), timeout=10) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_idle_connections_and_predictions_leave_the_health_route_free(server: Any) -> None:
    large = json.dumps({"instances": [ROW] * 30_000}).encode()
    idle = [socket.create_connection(("127.0.0.1", server[1])) for _ in range(700)]
    try:
        for n, connection in enumerate(idle):
            if n % 2:  # the others never send a byte
                connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Le")
        assert health(server[1]) == 200
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(post, server[1], large, 60) for _ in range(8)]
            time.sleep(0.5)
            assert health(server[1]) == 200
            assert {answer.result()[0] for answer in answers} == {200}
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can stop being root")
def test_the_server_is_root_no_more_once_it_listens(server: Any) -> None:
    status = Path(f"/proc/{server[0].pid}/status").read_text()
    ids = {line.split(":")[0]: line.split()[1:] for line in status.splitlines() if line}
    assert ids["Uid"] == ids["Gid"] == ["65534"] * 4
    assert ids["Groups"] == []
    for thread in Path(f"/proc/{server[0].pid}/task").iterdir():
        assert "Uid:\t65534\t65534" in (thread / "status").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_a_stopped_server_has_begun_is_answered(number: signal.Signals) -> None:
    port = free_port()
    process = start(port)
    large = json.dumps({"instances": [ROW] * 30_000}).encode()
    idle = socket.create_connection(("127.0.0.1", port))
    with idle, ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(post, port, large, 60) for _ in range(6)]
        time.sleep(0.3)
        process.send_signal(number)
        results = [answer.result() for answer in answers]
    assert [status for status, _ in results] == [200] * 6
    assert all(len(answer["predictions"]) == 30_000 for _, answer in results)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and output.endswith(f"stopped by {number.name}\n")
    with pytest.raises(ConnectionRefusedError):
        health(port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can stop being root")
def test_as_process_1_the_server_is_nobody_answers_and_stops_in_order() -> None:
    port, alone = free_port(), ("unshare", "--pid", "--fork", "--kill-child")
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the system gives no namespace of processes")
    outer = start(port, *alone)
    server = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
    status = Path(f"/proc/{server}/status").read_text()
    assert f"NSpid:\t{server}\t1\n" in status and "Uid:\t65534\t65534" in status
    large = json.dumps({"instances": [ROW] * 30_000}).encode()
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(post, port, large, 60) for _ in range(3)]
        time.sleep(0.3)
        os.kill(server, signal.SIGTERM)
        assert [answer.result()[0] for answer in answers] == [200] * 3
    output, _ = outer.communicate(timeout=20)
    assert outer.returncode == 0 and output.endswith("stopped by SIGTERM\n")
